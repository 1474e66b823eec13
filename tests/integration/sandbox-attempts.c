/* All attempts, one table after the other, and what each came to in a word. */
#include "tests/integration/sandbox-attempts.h"

#include <string.h>

#include "lib/basics/buffer.h"

/* What a program is comes first, before others leave descriptors behind; and last what does not return where it
 * succeeds. */
static const Attempt *const tables[] = { honest_attempts, file_attempts,   process_attempts,
                                         socket_attempts, kernel_attempts, program_attempts };

const Attempt *attempt_first(void)
{
    return tables[0];
}

const Attempt *attempt_next(const Attempt *attempt)
{
    if ((++attempt)->name)
        return attempt;
    for (size_t i = 0; i + 1 < ELEMENTSOF(tables); i++) {
        const Attempt *end = tables[i];
        while (end->name)
            end++;
        if (end == attempt)
            return tables[i + 1];
    }
    return NULL;
}

const Attempt *attempt_find(const char *name)
{
    for (const Attempt *attempt = attempt_first(); attempt; attempt = attempt_next(attempt)) {
        if (strcmp(attempt->name, name) == 0)
            return attempt;
    }
    return NULL;
}

void attempt_report(const Attempt *attempt, const Target *target, char *ret, size_t size)
{
    char word[512] = "";
    int r = attempt->try(target, word, sizeof word);
    const char *said = r == 0 ? (word[0] ? word : "done") : strerrorname_np(r);
    snprintf(ret, size, "%s: %s", attempt->name, said ? said : "?");
}
