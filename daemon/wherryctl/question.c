/* The answer is a line of standard input, which may be a pipe: `yes | wherryctl reset` works. */
#include "daemon/wherryctl/question.h"

#include <stdio.h>
#include <string.h>

#include "lib/basics/buffer.h"

int ask(const Options *options, const char *text, bool unsure)
{
    _cleanup_(freep) char *line = NULL;
    size_t room = 0;
    if (options->given & OPTION_YES)
        return 0;
    if ((options->given & OPTION_NON_INTERACTIVE) && !unsure)
        return 0;
    if (options->given & OPTION_NON_INTERACTIVE) {
        fprintf(stderr, "wherryctl: %s Answer with --yes\n", text);
        return EXIT_WRONG_USE;
    }
    printf("%s (%s): ", text, unsure ? "y/N" : "Y/n");
    fflush(stdout);
    ssize_t n = getline(&line, &room, stdin);
    if (n < 0) {
        fputs("\nwherryctl: nobody answers; --yes does\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (n > 0 && line[n - 1] == '\n')
        line[n - 1] = '\0';
    bool yes = strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0 || (*line == '\0' && !unsure);
    if (yes)
        return 0;
    puts("nothing was changed");
    return EXIT_FAILED;
}
