/*
 * wherryctl, the operator's command: parse, dispatch, exit. It talks to the daemon over its control socket and keeps
 * neither state nor secrets; what needs no daemon is handed to wherryd itself.
 */
#include <locale.h>
#include <stdio.h>

#include "daemon/wherryctl/options.h"

/* Their values may be secrets: none is shown. */
static void say_without_meaning(const Options *options)
{
    for (size_t i = 0; i < options->name_count; i++)
        if (options->names[i]->bit & (OPTION_WITHOUT_MEANING | OPTION_OF_FORM))
            fprintf(stderr, "wherryctl: note: \"%s\" has no meaning here and is not used\n", options->names[i]->name);
}

static int run(const CommandLine *line)
{
    if (line->options.given & OPTION_VERSION)
        return command_version(&line->options, NULL, 0);
    if (line->options.given & OPTION_HELP) {
        commands_print_help(line->command);
        return EXIT_DONE;
    }
    if (!line->command) {
        fputs("wherryctl: no command; see \"wherryctl help\"\n", stderr);
        return EXIT_WRONG_USE;
    }
    say_without_meaning(&line->options);
    return line->command->run(&line->options, line->arguments, line->count);
}

int main(int argc, char **argv)
{
    _cleanup_(command_line_clear) CommandLine line = { 0 };
    _cleanup_(error_clear) Error error = { 0 };

    setlocale(LC_CTYPE, "C.UTF-8"); /* what is printed is UTF-8 whatever the terminal claims; for wcwidth() */
    if (command_line_parse(argc, argv, &line, &error) < 0) {
        _cleanup_(freep) char *text = error_format(&error);
        fprintf(stderr, "wherryctl: %s\n", text);
        return EXIT_WRONG_USE;
    }
    int status = run(&line);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("wherryctl: the output cannot be written");
        return status == EXIT_DONE ? EXIT_FAILED : status;
    }
    return status;
}
