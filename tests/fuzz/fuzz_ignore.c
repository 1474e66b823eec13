/*
 * Rules of a .gitignore, and below the last empty line a path: whether the path is left out is what a slow matcher
 * says, which tries every way.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "daemon/wherryctl/ignore.h"
#include "lib/basics/buffer.h"

#define TEXT_MAX 64 /* the slow one's time grows with the product of both lengths */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* PATTERN has no brackets, and no "**" but whole folders. */
static bool slowly(const char *pattern, const char *text)
{
    bool met[TEXT_MAX + 2][TEXT_MAX + 2] = { { false } };
    size_t p = strlen(pattern), t = strlen(text);
    for (size_t i = p + 1; i-- > 0;)
        for (size_t j = t + 1; j-- > 0;) {
            const char *at = pattern + i, *c = text + j;
            bool folder = at[0] == '*' && at[1] == '*';
            if (!*at)
                met[i][j] = !*c;
            else if (folder && !at[2])
                met[i][j] = true;
            else if (folder)
                for (size_t k = j; k <= t && !met[i][j]; k++)
                    met[i][j] = (k == j || text[k - 1] == '/') && met[i + 3][k];
            else if (*at == '*')
                met[i][j] = met[i + 1][j] || (*c && *c != '/' && met[i][j + 1]);
            else if (*at == '\\')
                met[i][j] = at[1] && *c == at[1] && met[i + 2][j + 1];
            else
                met[i][j] = *c && (*at == '?' ? *c != '/' : *c == *at) && met[i + 1][j + 1];
        }
    return met[0][0];
}

/* One rule that the slow one can judge: nothing but a pattern. */
static bool is_plain(const char *rules)
{
    size_t n = strlen(rules);
    if (n == 0 || n > TEXT_MAX || strpbrk(rules, "[\n\r\t ") || strchr("!#/", rules[0]) || rules[n - 1] == '/')
        return false;
    for (const char *at = strstr(rules, "**"); at; at = strstr(at + 1, "**"))
        if ((at > rules && at[-1] != '/') || (at[2] && at[2] != '/'))
            return false;
    return strncmp(rules, "\\", 2) != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(freep) char *rules = xstrndup((const char *)data, size);
    char *path = strstr(rules, "\n\n");
    for (char *next = path; next && (next = strstr(next + 1, "\n\n"));)
        path = next;
    if (!path)
        return 0;
    *path = '\0';
    path += 2;
    Ignore *ignore = ignore_new(rules);
    bool file = ignore_matches(ignore, path, false), folder = ignore_matches(ignore, path, true);
    if (is_plain(rules)) {
        const char *slash = strrchr(path, '/');
        const char *text = strchr(rules, '/') || !slash ? path : slash + 1;
        assert(file == folder);
        if (strlen(text) <= TEXT_MAX)
            assert(file == slowly(rules, text));
    }
    ignore_free(ignore);
    return 0;
}
