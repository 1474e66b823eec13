/*
 * A rule that has a "/" before its end is held against the whole path, any other against the last name alone. The last
 * rule that matches decides; one that begins with "!" lets in again.
 */
#include "daemon/wherryctl/ignore.h"

#include <string.h>

#include "lib/basics/buffer.h"

typedef struct Rule {
    char *pattern;
    bool negated, folders_only, whole;
} Rule;

struct Ignore {
    Rule *rules;
    size_t count;
};

/* What [...] at PATTERN says of C; *RET_END: behind it. NULL there: it has no end, and is no set. */
static bool in_set(const char *pattern, char c, const char **ret_end)
{
    const char *at = pattern + 1;
    bool negated = *at == '!' || *at == '^', found = false;
    at += negated;
    for (const char *begin = at; *at && (*at != ']' || at == begin); at++) {
        if (at[1] == '-' && at[2] && at[2] != ']') {
            found |= *at <= c && c <= at[2];
            at += 2;
        } else {
            found |= *at == c;
        }
    }
    *ret_end = *at ? at + 1 : NULL;
    return found != negated;
}

static bool matches(const char *pattern, const char *text);

/* Behind "**": any number of whole folders. */
static bool matches_deep(const char *pattern, const char *text)
{
    if (*pattern == '\0')
        return true;
    if (*pattern == '/')
        pattern++;
    for (;;) {
        if (matches(pattern, text))
            return true;
        text = strchr(text, '/');
        if (!text)
            return false;
        text++;
    }
}

static bool matches(const char *pattern, const char *text)
{
    for (; *pattern; pattern++) {
        const char *end = NULL;
        if (strncmp(pattern, "**", 2) == 0)
            return matches_deep(pattern + 2, text);
        if (*pattern == '*') {
            for (;; text++) {
                if (matches(pattern + 1, text))
                    return true;
                if (!*text || *text == '/')
                    return false;
            }
        }
        if (!*text)
            return false;
        if (*pattern == '[') {
            bool in = in_set(pattern, *text, &end);
            if (end && (!in || *text == '/'))
                return false;
            if (end) {
                pattern = end - 1;
                text++;
                continue;
            }
        }
        if (*pattern == '?' ? *text == '/' : (pattern += *pattern == '\\' && pattern[1], *pattern != *text))
            return false;
        text++;
    }
    return !*text;
}

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
