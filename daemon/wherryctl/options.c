/*
 * Reads the command line. An option may stand before or after the command, so that everything is gathered first and
 * only then held against what the command takes; "--" ends the options, a lone "-" is an argument (standard input).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/wherryctl/options.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

const OptionName OPTION_NAMES[] = {
    { "--json", OPTION_JSON, NULL, "print one JSON object" },
    { "--full", OPTION_FULL, NULL,
      "start from nothing: load everything again; rows that do not come again are marked deleted" },
    { "--tables", OPTION_TABLES, "T,…", "with --full: drop and make anew just these tables" },
    { "--wait", OPTION_WAIT, NULL, "wait for the end, and exit with 1 if the sync failed" },
    { "--follow", OPTION_FOLLOW, NULL, "wait, and show the progress meanwhile" },
    { "--failed", OPTION_FAILED, NULL, "only files that failed" },
    { "--all-failed", OPTION_ALL_FAILED, NULL, "every file that failed" },
    { "--quarantined", OPTION_QUARANTINED, NULL, "the corrected rows of files that had bad ones" },
    { "--dir", OPTION_DIR, "DIR", "the folder to read, for a file without \"source:\"" },
    { "--limit", OPTION_LIMIT, "N", "at most N, the newest (default 100)" },
    { "--manual", OPTION_MANUAL, NULL, "print the manual page of wherryctl, for man" },
    { "--connection", OPTION_CONNECTION, "NAME", "what the connection is called ($FIVETRAN_CONNECTION_NAME)" },
    { "--destination", OPTION_DESTINATION, "NAME", "a destination of wherry.yaml ($FIVETRAN_DESTINATION_NAME)" },
    { "--configuration", OPTION_CONFIGURATION, "FILE", "the configuration, JSON ($FIVETRAN_CONFIGURATION)" },
    { "--state", OPTION_STATE, "FILE", "the state to begin with, JSON ($FIVETRAN_STATE)" },
    { "--python-version", OPTION_PYTHON, "VERSION", "the Python that runs it, from 3.10 to 3.14" },
    { "--python", OPTION_PYTHON, "VERSION", "the same" },
    { "--naming", OPTION_NAMING, "WHICH", "FIVETRAN (normalised names) or SOURCE ($FIVETRAN_NAMING)" },
    { "--frequency", OPTION_FREQUENCY, "TIME", "how often it syncs, such as 15m (default 6h)" },
    { "--template", OPTION_TEMPLATE, "NAME", "what to begin with: hello (default) or cursor" },
    { "--force", OPTION_YES, NULL, "do it without asking" },
    { "-f", OPTION_YES, NULL, "the same" },
    { "--yes", OPTION_YES, NULL, "the same" },
    { "--non-interactive", OPTION_NON_INTERACTIVE, NULL, "ask nothing: what is done by default is, else it fails" },
    { "--api-key", OPTION_WITHOUT_MEANING, "KEY", "for Fivetran's service; not used here" },
    { "--hybrid-deployment-agent-id", OPTION_WITHOUT_MEANING, "ID", "the same" },
    { "--proxy-id", OPTION_WITHOUT_MEANING, "ID", "the same" },
    { "--proxy-host-config-key", OPTION_WITHOUT_MEANING, "KEY", "the same" },
    { "--package-id", OPTION_WITHOUT_MEANING, "ID", "the same" },
    { "--options-file", OPTION_WITHOUT_MEANING, "FILE", "the same" },
    { "--profile", OPTION_WITHOUT_MEANING, "NAME", "the same" },
    { "--test", OPTION_OF_FORM, NULL, "for Fivetran's forms; not used here" },
    { "--disable-encryption", OPTION_OF_FORM, NULL, "the same" },
    { "--config-dir", OPTION_CONFIG_DIR, "DIR", "where the configuration is" },
    { "--state-dir", OPTION_STATE_DIR, "DIR", "where the daemon keeps its state" },
    { "--runtime-dir", OPTION_RUNTIME_DIR, "DIR", "where the daemon's socket is" },
    { "--help", OPTION_HELP, NULL, "explain the command" },
    { "--version", OPTION_VERSION, NULL, "print the version" },
    { NULL },
};

void command_line_clear(CommandLine *line)
{
    paths_clear(&line->options.paths);
    free(line->arguments);
    free(line->options.names);
    *line = (CommandLine){ 0 };
}

static int unknown_option(const char *given, const Command *command, Error *error)
{
    const char *candidates[ELEMENTSOF(OPTION_NAMES)];
    size_t n = 0;

    for (const OptionName *option = OPTION_NAMES; option->name; option++)
        if (!command || ((command->options | OPTIONS_OF_ALL) & option->bit))
            candidates[n++] = option->name;
    candidates[n] = NULL;

    const char *nearest = text_suggest(given, candidates);
    if (nearest)
        return error_set(error, ERROR_CONFIGURATION, "unknown option \"%s\"; did you mean \"%s\"?", given, nearest);
    return error_set(error, ERROR_CONFIGURATION, "unknown option \"%s\"; see \"wherryctl help%s%s\"", given,
                     command ? " " : "", command ? command->name : "");
}

static int set_value(Options *options, OptionBit bit, const char *value, Error *error)
{
    char *end;

    switch (bit) {
    case OPTION_DIR:
        options->dir = value;
        break;
    case OPTION_TABLES:
        options->tables = value;
        break;
    case OPTION_CONFIG_DIR:
        options->config_dir = value;
        break;
    case OPTION_CONNECTION:
        options->connection = value;
        break;
    case OPTION_DESTINATION:
        options->destination = value;
        break;
    case OPTION_CONFIGURATION:
        options->configuration = value;
        break;
    case OPTION_STATE:
        options->state_file = value;
        break;
    case OPTION_PYTHON:
        options->python = value;
        break;
    case OPTION_NAMING:
        options->naming = value;
        break;
    case OPTION_FREQUENCY:
        options->frequency = value;
        break;
    case OPTION_TEMPLATE:
        options->template_name = value;
        break;
    case OPTION_STATE_DIR:
        options->state_dir = value;
        break;
    case OPTION_RUNTIME_DIR:
        options->runtime_dir = value;
        break;
    case OPTION_LIMIT:
        errno = 0;
        options->limit = strtoll(value, &end, 10);
        if (errno != 0 || end == value || *end != '\0' || options->limit < 1)
            return error_set(error, ERROR_CONFIGURATION, "\"--limit %s\" is not a number above 0", value);
        break;
    default:
        break;
    }
    return 0;
}

/* Takes the option at argv[*i], and its value behind "=" or in the next word. */
static int take_option(int argc, char **argv, int *i, const Command *command, Options *options, Error *error)
{
    const char *word = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
    const char *equals = strchr(word, '=');
    _cleanup_(freep) char *name = xstrndup(word, equals ? (size_t)(equals - word) : strlen(word));
    const OptionName *option = OPTION_NAMES;

    while (option->name && strcmp(option->name, name) != 0)
        option++;
    if (!option->name)
        return unknown_option(name, command, error);

    options->given |= option->bit;
    options->names[options->name_count++] = option;
    if (!option->value)
        return equals ? error_set(error, ERROR_CONFIGURATION, "option \"%s\" takes no value", name) : 0;
    if (!equals && *i + 1 >= argc)
        return error_set(error, ERROR_CONFIGURATION, "option \"%s\" needs a value: %s %s", name, name, option->value);
    return set_value(options, option->bit, equals ? equals + 1 : argv[++*i], error);
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

/* The command, for suggestions about options that stand before it: the first word that is the name of one. */
static const Command *peek_command(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!is_option(argv[i]) && command_find(argv[i]))
            return command_find(argv[i]);
    return NULL;
}

static int set_command(CommandLine *line, const char *name, Error *error)
{
    line->command = command_find(name);
    if (line->command)
        return 0;
    const char *nearest = command_suggest(name);
    if (nearest)
        return error_set(error, ERROR_CONFIGURATION, "unknown command \"%s\"; did you mean \"%s\"?", name, nearest);
    return error_set(error, ERROR_CONFIGURATION, "unknown command \"%s\"; see \"wherryctl help\"", name);
}

static int check(const CommandLine *line, Error *error)
{
    const Command *command = line->command;

    if (line->options.given & (OPTION_HELP | OPTION_VERSION))
        return 0;
    for (size_t i = 0; i < line->options.name_count; i++)
        if (!(line->options.names[i]->bit & (command->options | OPTIONS_OF_ALL)))
            return error_set(error, ERROR_CONFIGURATION,
                             "\"wherryctl %s\" has no option \"%s\"; see \"wherryctl help %s\"", command->name,
                             line->options.names[i]->name, command->name);
    if (line->count < command->minimum)
        return error_set(error, ERROR_CONFIGURATION, "\"wherryctl %s\" needs more: wherryctl %s %s", command->name,
                         command->name, command->arguments);
    if (line->count > command->maximum)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is too much: wherryctl %s%s%s",
                         line->arguments[command->maximum], command->name, *command->arguments ? " " : "",
                         command->arguments);
    return 0;
}

/* No connection is called so: their names have neither. */
static bool is_file(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 5 && strcmp(word + n - 5, ".yaml") == 0) ||
           (n > 4 && strcmp(word + n - 4, ".yml") == 0);
}

int command_line_parse(int argc, char **argv, CommandLine *ret, Error *error)
{
    _cleanup_(command_line_clear) CommandLine line = { 0 };
    const Command *peeked = peek_command(argc, argv);
    bool options_ended = false;

    line.arguments = xcalloc((size_t)argc + 1, sizeof(char *));
    line.options.names = xcalloc((size_t)argc + 1, sizeof(*line.options.names));
    for (int i = 1; i < argc; i++) {
        if (!options_ended && strcmp(argv[i], "--") == 0) {
            options_ended = true;
        } else if (!options_ended && is_option(argv[i])) {
            if (take_option(argc, argv, &i, peeked, &line.options, error) < 0)
                return -1;
        } else if (!line.command) {
            if (set_command(&line, argv[i], error) < 0)
                return -1;
        } else {
            line.arguments[line.count++] = argv[i];
        }
    }
    if (line.command && check(&line, error) < 0)
        return -1;

    line.options.paths = (Paths){ .config_dir = xstrdup(line.options.config_dir),
                                  .state_dir = xstrdup(line.options.state_dir),
                                  .runtime_dir = xstrdup(line.options.runtime_dir) };
    if (paths_resolve(&line.options.paths, error) < 0)
        return -1;
    if (line.command && (line.command->options & TAKES_FILE) && line.count > 0 && is_file(line.arguments[0]))
        line.options.file = line.arguments[0];
    line.options.unrun = line.command && (line.command->options & TAKES_UNRUN_FILE);
    *ret = line;
    line = (CommandLine){ 0 };
    return 0;
}
