/*
 * A rule that has a "/" before its end is held against the whole path, any other against the last name alone. The last
 * rule that matches decides; one that begins with "!" lets in again.
 */
#include "daemon/wherryctl/ignore.h"

#include <string.h>
#include <wctype.h>

#include "lib/basics/buffer.h"

typedef struct Rule {
    char *pattern;
    bool negated, folders_only, whole;
} Rule;

struct Ignore {
    Rule *rules;
    size_t count;
};

/* --- patterns --- */

/* Whether C is of the class at AT, "[:alpha:]" or another of POSIX's; *RET_END: behind it. NULL there: it is none. */
static bool in_class(const char *at, unsigned char c, const char **ret_end)
{
    char name[16];
    const char *end = strstr(at, ":]");
    size_t n = end ? (size_t)(end - at - 2) : sizeof(name);
    *ret_end = NULL;
    if (n >= sizeof(name))
        return false;
    memcpy(name, at + 2, n);
    name[n] = '\0';
    wctype_t class = wctype(name);
    *ret_end = class ? end + 2 : NULL;
    return class && c < 0x80 && iswctype(c, class);
}

/* What [...] at PATTERN says of C; *RET_END: behind it. NULL there: it has no end, and nothing is of it. */
static bool in_set(const char *pattern, char c, const char **ret_end)
{
    const char *at = pattern + 1;
    unsigned char byte = (unsigned char)c;
    bool negated = *at == '!' || *at == '^', found = false;
    at += negated;
    for (const char *begin = at; *at && (*at != ']' || at == begin);) {
        const char *end = NULL;
        bool of_class = at[0] == '[' && at[1] == ':' && in_class(at, byte, &end);
        if (end) {
            found |= of_class;
            at = end;
            continue;
        }
        at += at[0] == '\\' && at[1];
        unsigned char low = (unsigned char)*at++, high = low;
        if (at[0] == '-' && at[1] && at[1] != ']') {
            at += 1 + (at[1] == '\\' && at[2]);
            high = (unsigned char)*at++;
        }
        found |= low <= byte && byte <= high;
    }
    *ret_end = *at ? at + 1 : NULL;
    return *at && found != negated;
}

/* Whether the pattern's next element, which is no asterisk, is C; it is passed then. */
static bool take_element(const char **pattern, char c)
{
    const char *at = *pattern, *end = at + 1;
    bool taken;
    if (!*at || !c)
        return false;
    if (*at == '?') {
        taken = c != '/';
    } else if (*at == '[') {
        taken = in_set(at, c, &end) && c != '/';
    } else {
        if (*at == '\\')
            at++; /* one at the end is nothing that could be met */
        taken = *at == c;
        end = at + 1;
    }
    if (taken)
        *pattern = end;
    return taken;
}

/* "**" as a whole folder of the pattern that begins at BEGIN. */
static bool is_deep(const char *begin, const char *at)
{
    return at[0] == '*' && at[1] == '*' && (at == begin || at[-1] == '/') && (!at[2] || at[2] == '/');
}

/* Where the text does not go on as the pattern does, the last "*" takes one character more, or the last "**" one folder
 * more: none before them needs another try, so that the time is bounded by the product of both lengths. */
static bool matches(const char *begin, const char *text)
{
    const char *pattern = begin, *star = NULL, *star_text = NULL, *deep = NULL, *deep_text = NULL;
    while (*pattern || *text) {
        if (is_deep(begin, pattern)) {
            if (!pattern[2])
                return true;
            deep = pattern += 3;
            deep_text = text;
            star = NULL;
        } else if (*pattern == '*') {
            star = ++pattern;
            star_text = text;
        } else if (take_element(&pattern, *text)) {
            text++;
        } else if (star && *star_text && *star_text != '/') {
            text = ++star_text;
            pattern = star;
        } else {
            const char *slash = deep ? strchr(deep_text, '/') : NULL;
            if (!slash)
                return false;
            text = deep_text = slash + 1;
            pattern = deep;
            star = NULL;
        }
    }
    return true;
}

/* --- rules --- */

static void add_rule(Ignore *ignore, const char *line, size_t n)
{
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r') &&
           !(n > 1 && line[n - 2] == '\\'))
        n--;
    if (n == 0 || line[0] == '#')
        return;
    Rule rule = { .negated = line[0] == '!' };
    line += rule.negated;
    n -= rule.negated;
    rule.folders_only = n > 0 && line[n - 1] == '/';
    n -= rule.folders_only;
    rule.whole = n > 0 && memchr(line, '/', n);
    if (n > 0 && line[0] == '/') {
        line++;
        n--;
    }
    if (n == 0)
        return;
    rule.pattern = xstrndup(line, n);
    ignore->rules = xrealloc(ignore->rules, (ignore->count + 1) * sizeof(Rule));
    ignore->rules[ignore->count++] = rule;
}

Ignore *ignore_new(const char *rules)
{
    Ignore *ignore = xcalloc(1, sizeof(*ignore));
    while (*rules) {
        size_t n = strcspn(rules, "\n");
        add_rule(ignore, rules, n);
        rules += n + (rules[n] == '\n');
    }
    return ignore;
}

Ignore *ignore_free(Ignore *ignore)
{
    if (!ignore)
        return NULL;
    for (size_t i = 0; i < ignore->count; i++)
        free(ignore->rules[i].pattern);
    free(ignore->rules);
    free(ignore);
    return NULL;
}

bool ignore_matches(const Ignore *ignore, const char *path, bool is_folder)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = ignore->count; i > 0; i--) {
        const Rule *rule = &ignore->rules[i - 1];
        if ((is_folder || !rule->folders_only) && matches(rule->pattern, rule->whole ? path : name))
            return !rule->negated;
    }
    return false;
}
