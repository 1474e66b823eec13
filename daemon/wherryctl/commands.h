#pragma once
/*
 * The commands of wherryctl: one table says what each is called, takes and does; help, the checks of a command line
 * and the suggestions are made from it. A handler prints what a person or a program wants to know and returns the exit
 * status.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/system/paths.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,    /* the sync, or a file in it, failed; or the daemon could not do it */
    EXIT_WRONG_USE = 2, /* or a wrong configuration */
    EXIT_NO_DAEMON = 3, /* none is there, or it does not talk to us */
    EXIT_INTERRUPTED = 130,
    EXIT_EXISTS = 64, /* between commands and client.c only: Deploy without overwrite */
};

/* Which options a command takes; the folders, --help and --version belong to all. */
typedef enum OptionBit {
    OPTION_JSON = 1 << 0,
    OPTION_FULL = 1 << 1,
    OPTION_WAIT = 1 << 2,
    OPTION_FOLLOW = 1 << 3,
    OPTION_FAILED = 1 << 4,
    OPTION_ALL_FAILED = 1 << 5,
    OPTION_DIR = 1 << 6,
    OPTION_LIMIT = 1 << 7,
    OPTION_CONFIG_DIR = 1 << 8,
    OPTION_STATE_DIR = 1 << 9,
    OPTION_RUNTIME_DIR = 1 << 10,
    OPTION_HELP = 1 << 11,
    OPTION_VERSION = 1 << 12,
    OPTION_QUARANTINED = 1 << 13,
    OPTION_TABLES = 1 << 14,
    OPTION_CONNECTION = 1 << 15,
    OPTION_DESTINATION = 1 << 16,
    OPTION_CONFIGURATION = 1 << 17,
    OPTION_STATE = 1 << 18,
    OPTION_YES = 1 << 19, /* --force, too */
    OPTION_NON_INTERACTIVE = 1 << 20,
    OPTION_TEMPLATE = 1 << 21,
    OPTION_PYTHON = 1 << 22,
    OPTION_MANUAL = 1 << 23,
    OPTION_NAMING = 1 << 25,
    OPTION_FREQUENCY = 1 << 26,
    OPTION_WITHOUT_MEANING = 1 << 27, /* to Fivetran's service only */
    OPTION_OF_FORM = 1 << 29,         /* the same */
    TAKES_UNRUN_FILE = 1 << 28,       /* with TAKES_FILE: also one that was never run */
    TAKES_FILE = 1 << 24,             /* not an option: its connection may be a pipeline file */
} OptionBit;
#define OPTIONS_OF_ALL (OPTION_CONFIG_DIR | OPTION_STATE_DIR | OPTION_RUNTIME_DIR | OPTION_HELP | OPTION_VERSION)

typedef struct Options {
    unsigned given; /* OptionBit */
    const char *dir;
    const char *tables; /* joined by "," */
    int64_t limit;
    const char *connection, *destination, *configuration, *state_file, *template_name, *python, *naming, *frequency;
    const struct OptionName **names; /* owned: each as it was given, without its value; from OPTION_NAMES */
    size_t name_count;
    const char *file; /* a pipeline file in place of a connection: what `run` keeps of it is meant; NULL: the daemon */
    bool unrun;       /* it need not have been run */
    const char *config_dir, *state_dir, *runtime_dir; /* as given; NULL: not */
    Paths paths;                                      /* as they apply */
} Options;

typedef struct Command {
    const char *name;
    const char *arguments; /* as help shows them */
    unsigned minimum, maximum;
    unsigned options; /* OptionBit, besides OPTIONS_OF_ALL */
    const char *summary;
    const char *details; /* NULL: the summary says it all */
    int (*run)(const Options *options, char *const *arguments, size_t count);
} Command;

const Command *commands_all(void); /* ends with one without a name */
const Command *command_find(const char *name);
const char *command_suggest(const char *name); /* NULL: nothing is near */
void commands_print_help(const Command *command /* NULL: all */);

/* The handlers, by file. */
int command_status(const Options *options, char *const *arguments, size_t count); /* connections.c */
int command_cancel(const Options *options, char *const *arguments, size_t count);
int command_pause(const Options *options, char *const *arguments, size_t count);
int command_resume(const Options *options, char *const *arguments, size_t count);
int command_reload(const Options *options, char *const *arguments, size_t count);
int command_sync(const Options *options, char *const *arguments, size_t count); /* sync.c */
int command_runs(const Options *options, char *const *arguments, size_t count); /* history.c */
int command_files(const Options *options, char *const *arguments, size_t count);
int command_requeue(const Options *options, char *const *arguments, size_t count);
int command_state(const Options *options, char *const *arguments, size_t count); /* state.c */
int command_plan(const Options *options, char *const *arguments, size_t count);  /* plan.c */
int command_check(const Options *options, char *const *arguments, size_t count); /* local.c */
int command_draft(const Options *options, char *const *arguments, size_t count); /* draft.c */
int command_run(const Options *options, char *const *arguments, size_t count);
int command_init(const Options *options, char *const *arguments, size_t count); /* connector.c */
int command_package(const Options *options, char *const *arguments, size_t count);
int command_reset(const Options *options, char *const *arguments, size_t count);
int command_debug(const Options *options, char *const *arguments, size_t count);  /* debug.c */
int command_deploy(const Options *options, char *const *arguments, size_t count); /* deploy.c */
int command_undeploy(const Options *options, char *const *arguments, size_t count);
int command_configuration(const Options *options, char *const *arguments, size_t count);
int command_help(const Options *options, char *const *arguments, size_t count); /* commands.c */
int command_version(const Options *options, char *const *arguments, size_t count);
