/* The commands that need no daemon: wherryd itself does them, in wherryctl's place. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/wherryctl/commands.h"
#include "lib/basics/buffer.h"

typedef struct Arguments {
    const char **words;
    size_t count;
} Arguments;

static void add(Arguments *arguments, const char *word)
{
    arguments->words = xrealloc(arguments->words, (arguments->count + 2) * sizeof(char *));
    arguments->words[arguments->count++] = word;
    arguments->words[arguments->count] = NULL;
}

static void add_value(Arguments *arguments, const char *option, const char *value)
{
    if (value) {
        add(arguments, option);
        add(arguments, value);
    }
}

/* A file's name must not be taken for an option. */
static void add_file(Arguments *arguments, const char *file)
{
    add(arguments, file[0] == '-' ? xasprintf("./%s", file) : file);
}

static int become_wherryd(const Options *options, Arguments *arguments)
{
    char *wherryd = paths_wherryd();
    add_value(arguments, "--config-dir", options->config_dir);
    add_value(arguments, "--state-dir", options->state_dir);
    arguments->words[0] = wherryd;
    fflush(stdout);
    execv(wherryd, (char *const *)arguments->words);
    fprintf(stderr, "wherryctl: \"%s\" cannot be started: %s\n", wherryd, error_errno_text(errno));
    free(wherryd);
    free(arguments->words);
    return EXIT_FAILED;
}

int command_check(const Options *options, char *const *names, size_t count)
{
    Arguments arguments = { 0 };
    add(&arguments, "");
    add(&arguments, "--check");
    for (size_t i = 0; i < count; i++)
        add_file(&arguments, names[i]);
    return become_wherryd(options, &arguments);
}

int command_run(const Options *options, char *const *names, size_t count)
{
    Arguments arguments = { 0 };
    add(&arguments, "");
    add(&arguments, "--once");
    add(&arguments, "--file");
    add_file(&arguments, names[0]);
    add_value(&arguments, "--dir", options->dir);
    if (options->given & OPTION_JSON)
        add(&arguments, "--json");
    return become_wherryd(options, &arguments);
}
