/*
 * wherryd: parse → set up → run.
 *
 * The daemon and `--once` are the same machinery; the latter has no control socket and no schedule, and ends when its
 * runs have. `--answer` is the third use: it runs nothing, and answers control calls about what `--once --file` did.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <uv.h>

#include "daemon/wherryd/check.h"
#include "daemon/wherryd/config.h"
#include "daemon/wherryd/control.h"
#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager.h"
#include "daemon/wherryd/notify.h"
#include "daemon/wherryd/store.h"
#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/system/paths.h"
#include "wherry-build.h"

enum { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_WRONG_USE = 2 };

static enum {
    ACTION_RUN,
    ACTION_ONCE,
    ACTION_ANSWER,
    ACTION_CHECK,
    ACTION_SCHEMA,
    ACTION_MANUAL,
    ACTION_VERSION,
    ACTION_HELP
} arg_action = ACTION_RUN;
static Paths arg_paths;
static const char *arg_libexec_dir;
static const char *arg_file;
static const char *arg_dir;
static const char *arg_debug_state; /* a file */
static bool arg_json;
static bool arg_unrun;               /* FILE need not have been run */
static char *arg_passing_dir;        /* the state folder for that, which nobody misses; NULL: none was made */
static const char *const *arg_names; /* what stands after the options; ends with NULL */
static size_t arg_name_count;
static char *arg_asked_as; /* with arg_file: how wherryctl is told of it */

static const int signal_numbers[] = { SIGTERM, SIGINT, SIGHUP };

typedef struct Daemon {
    uv_loop_t loop;
    uv_signal_t signals[ELEMENTSOF(signal_numbers)];
    Manager *manager;
    Control *control;
    Notify *notify;
    bool stopping;
} Daemon;

static void print_help(void)
{
    puts("Usage: wherryd [OPTION…]                        run as a daemon\n"
         "       wherryd --once [OPTION…] [CONNECTION…]   run the named connections (none: all) once\n"
         "       wherryd --once --file FILE [--dir DIR]   run one pipeline file once\n"
         "       wherryd --answer --file FILE             answer Varlink calls on stdin about FILE's runs\n"
         "       wherryd --check [FILE…]                  only check the configuration\n"
         "\n"
         "Keeps tables in step with their sources.\n"
         "\n"
         "      --config-dir DIR    wherry.yaml and pipelines.d (default: /etc/wherry)\n"
         "      --state-dir DIR     state.db ($STATE_DIRECTORY or /var/lib/wherry)\n"
         "      --runtime-dir DIR   the control socket ($RUNTIME_DIRECTORY or /run/wherry)\n"
         "      --libexec-dir DIR   the source and destination programs\n"
         "      --once              run once, then end: 0 all good, 1 something failed, 2 wrong use or configuration\n"
         "      --answer            what wherryctl uses where it is given a FILE in place of a connection\n"
         "      --unrun             with --answer: FILE need not have been run\n"
         "      --file FILE         with --once: a pipeline file that is not in pipelines.d\n"
         "      --dir DIR           with --file: the folder of a pipeline without \"source:\"\n"
         "      --debug-state FILE  with --file: begin with this state and tell more; what wherryctl debug uses\n"
         "      --json              with --once: print the runs as JSON\n"
         "      --check             check the configuration, or FILEs\n"
         "      --schema            print the JSON schema of a pipeline file\n"
         "      --manual            print the manual page of a pipeline file, for man(1)\n"
         "      --version           print the version\n"
         "  -h, --help              print this\n"
         "\n"
         "An ordinary user without a system install has the XDG folders instead. See also wherryctl --help.");
}

static const struct option options[] = { { "config-dir", required_argument, NULL, 'c' },
                                         { "state-dir", required_argument, NULL, 's' },
                                         { "runtime-dir", required_argument, NULL, 'r' },
                                         { "libexec-dir", required_argument, NULL, 'l' },
                                         { "once", no_argument, NULL, 'o' },
                                         { "answer", no_argument, NULL, 'a' },
                                         { "unrun", no_argument, NULL, 'u' },
                                         { "file", required_argument, NULL, 'f' },
                                         { "dir", required_argument, NULL, 'd' },
                                         { "debug-state", required_argument, NULL, 'g' },
                                         { "json", no_argument, NULL, 'j' },
                                         { "check", no_argument, NULL, 'k' },
                                         { "schema", no_argument, NULL, 'm' },
                                         { "manual", no_argument, NULL, 'M' },
                                         { "version", no_argument, NULL, 'V' },
                                         { "help", no_argument, NULL, 'h' },
                                         {} };

static int wrong_use(const char *format, ...) _public_printf_(1, 2);
static int wrong_use(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("wherryd: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\nTry \"wherryd --help\".\n", stderr);
    va_end(arguments);
    return EXIT_WRONG_USE;
}

static int unknown_option(const char *given)
{
    const char *names[ELEMENTSOF(options)] = {};
    for (size_t i = 0; options[i].name; i++)
        names[i] = options[i].name;
    _cleanup_(freep) char *word =
        strncmp(given, "--", 2) == 0 ? xstrndup(given + 2, strcspn(given + 2, "=")) : xstrdup(given);
    const char *suggestion = text_suggest(word, names);
    if (suggestion)
        return wrong_use("unknown option \"%s\"; did you mean \"--%s\"?", given, suggestion);
    return wrong_use("unknown option \"%s\"", given);
}

static int take_option(int option, char *argv[])
{
    switch (option) {
    case 'c':
        free(arg_paths.config_dir);
        arg_paths.config_dir = xstrdup(optarg);
        return 0;
    case 's':
        free(arg_paths.state_dir);
        arg_paths.state_dir = xstrdup(optarg);
        return 0;
    case 'r':
        free(arg_paths.runtime_dir);
        arg_paths.runtime_dir = xstrdup(optarg);
        return 0;
    case 'l':
        arg_libexec_dir = optarg;
        return 0;
    case 'o':
        arg_action = ACTION_ONCE;
        return 0;
    case 'a':
        arg_action = ACTION_ANSWER;
        return 0;
    case 'u':
        arg_unrun = true;
        return 0;
    case 'f':
        arg_file = optarg;
        return 0;
    case 'd':
        arg_dir = optarg;
        return 0;
    case 'g':
        arg_debug_state = optarg;
        return 0;
    case 'j':
        arg_json = true;
        return 0;
    case 'k':
        arg_action = ACTION_CHECK;
        return 0;
    case 'm':
        arg_action = ACTION_SCHEMA;
        return 0;
    case 'M':
        arg_action = ACTION_MANUAL;
        return 0;
    case 'V':
        arg_action = ACTION_VERSION;
        return 0;
    case 'h':
        arg_action = ACTION_HELP;
        return 0;
    case ':':
        return wrong_use("option \"%s\" needs a value", argv[optind - 1]);
    default:
        return unknown_option(argv[optind - 1]);
    }
}

/* 0, or the exit status. */
static int parse(int argc, char *argv[])
{
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) >= 0;) {
        int r = take_option(option, argv);
        if (r != 0)
            return r;
    }
    arg_names = (const char *const *)argv + optind;
    arg_name_count = (size_t)(argc - optind);
    if (arg_name_count > 0 && arg_action == ACTION_RUN)
        return wrong_use("\"%s\" is not an option; to run a connection once: wherryd --once %s", arg_names[0],
                         arg_names[0]);
    if (arg_file && arg_action != ACTION_ONCE && arg_action != ACTION_ANSWER)
        return wrong_use("\"--file\" needs \"--once\"");
    if (!arg_file && arg_action == ACTION_ANSWER)
        return wrong_use("\"--answer\" needs \"--file FILE\"");
    if (arg_file && arg_name_count > 0)
        return wrong_use("with \"--file\" no connection can be named: \"%s\"", arg_names[0]);
    if (arg_dir && !arg_file)
        return wrong_use("\"--dir\" needs \"--once --file FILE\"");
    if (arg_debug_state && (!arg_file || arg_action != ACTION_ONCE))
        return wrong_use("\"--debug-state\" needs \"--once --file FILE\"");
    if (arg_unrun && arg_action != ACTION_ANSWER)
        return wrong_use("\"--unrun\" needs \"--answer --file FILE\"");
    if (arg_json && arg_action != ACTION_ONCE)
        return wrong_use("\"--json\" needs \"--once\"");
    return 0;
}

static int fail(const Error *error, int status)
{
    _cleanup_(freep) char *text = error_format(error);
    if (arg_action != ACTION_RUN) {
        log_verbatim(LOG_ERR, NULL, text);
        return status;
    }
    /* A configuration has several problems at once, each with its own place. */
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        log_text(LOG_ERR, NULL, line, n);
        line += n + (line[n] == '\n');
    }
    return status;
}

/* Runs of different files may go on at the same time, and a state folder is one daemon's: each file has its own below
 * the user's. */
static int choose_once_state_dir(Error *error)
{
    _cleanup_(freep) char *base = NULL;
    if (paths_once_state_dir(&base, error) < 0)
        return -1;
    _cleanup_(freep) char *real = realpath(arg_file, NULL);
    const char *name = real ? real : arg_file;
    arg_paths.state_dir = xasprintf("%s/%016llx", base, (unsigned long long)fnv1a64(name, strlen(name)));
    return 0;
}

/* How wherryctl is told of what `--once --file` did. */
static char *asked_as(const char *state_dir_given)
{
    size_t n = strlen(arg_file);
    bool clear = strchr(arg_file, '/') || (*arg_file != '-' && n > 5 && strcmp(arg_file + n - 5, ".yaml") == 0);
    _cleanup_(freep) char *path = xasprintf("%s%s", clear ? "" : "./", arg_file);
    _cleanup_(freep) char *file = text_shell_word(path);
    _cleanup_(freep) char *folder = state_dir_given ? text_shell_word(state_dir_given) : NULL;
    return folder ? xasprintf("%s --state-dir %s", file, folder) : take_ptr(file);
}

/* For a file that was never run: where the ledger would be that there is not, until the answer is given. */
static int make_passing_dir(Error *error)
{
    const char *folder = getenv("TMPDIR");
    _cleanup_(freep) char *path = xasprintf("%s/wherry-plan-XXXXXX", folder && *folder == '/' ? folder : "/tmp");
    if (!mkdtemp(path))
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no folder \"%s\" can be made", path);
    free(arg_paths.state_dir);
    arg_paths.state_dir = xstrdup(path);
    arg_passing_dir = take_ptr(path);
    return 0;
}

static void remove_passing_dir(void)
{
    if (!arg_passing_dir)
        return;
    _cleanup_(freep) char *folder = path_folder(arg_passing_dir);
    _cleanup_(close_fdp) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        path_remove_tree(fd, strrchr(arg_passing_dir, '/') + 1);
    free(take_ptr(arg_passing_dir));
}

/* Asking must not make folders. */
static int require_ledger(Error *error)
{
    _cleanup_(freep) char *path = xasprintf("%s/daemon/state.db", arg_paths.state_dir);
    if (access(path, F_OK) == 0)
        return 0;
    if (access(arg_file, R_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "wherryctl: \"%s\" cannot be read", arg_file);
    if (arg_unrun)
        return make_passing_dir(error);
    _cleanup_(freep) char *file = text_shell_word(arg_file);
    return error_set(error, ERROR_CONFIGURATION,
                     "\"%s\" has not been run yet: there is nothing in \"%s\"; run it with \"wherryctl run %s\", or "
                     "name the --state-dir that it was run with",
                     arg_file, arg_paths.state_dir, file);
}

/* --- what the loop calls --- */

static void on_stopped(void *userdata)
{
    Daemon *daemon = userdata;
    uv_stop(&daemon->loop);
}

static void on_signal(uv_signal_t *signal, int number)
{
    Daemon *daemon = signal->data;
    if (number == SIGHUP && arg_action == ACTION_RUN) {
        _cleanup_(error_clear) Error error = {};
        if (manager_reload(daemon->manager, NULL, NULL, &error) < 0) {
            fail(&error, 0);
            log_error("the configuration was not reloaded; the one before stays");
        }
        return;
    }
    /* A person who presses Ctrl-C again does not want to wait; a service manager has a bound of its own. */
    if (daemon->stopping && (number == SIGINT || arg_action != ACTION_RUN))
        manager_stop_at_once(daemon->manager);
    daemon->stopping = true;
    manager_stop(daemon->manager, on_stopped, daemon);
}

static void on_once_run(const char *connection, const char *summary, void *userdata)
{
    if (!arg_json) {
        printf("%s: %s\n", connection, summary);
        fflush(stdout);
    }
}

static void print_once_runs(const Manager *manager)
{
    json_t *runs = manager_once_runs(manager);
    size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(12);
    if (json_array_size(runs) == 1) {
        json_dumpf(json_array_get(runs, 0), stdout, flags);
    } else {
        json_t *object = json_pack("{s:O}", "runs", runs);
        json_dumpf(object, stdout, flags);
        json_decref(object);
    }
    putchar('\n');
}

/* --- set up, run, tear down --- */

static int listen_descriptor(void)
{
    int count = sd_listen_fds(1);
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++)
        if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
            return fd;
    return -1;
}

static void start_signals(Daemon *daemon)
{
    for (size_t i = 0; i < ELEMENTSOF(signal_numbers); i++) {
        uv_signal_init(&daemon->loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, signal_numbers[i]);
    }
}

static int start(Daemon *daemon, Error *error)
{
    if (arg_action == ACTION_ONCE)
        return manager_start(daemon->manager, error);
    if (arg_action == ACTION_ANSWER)
        return manager_start(daemon->manager, error) < 0 ? -1
                                                         : control_new_for(&daemon->loop, daemon->manager, STDIN_FILENO,
                                                                           on_stopped, daemon, &daemon->control, error);
    /* The socket first: where another wherryd listens, nothing must have been started. Nobody is answered before the
     * loop runs. */
    if (paths_make(arg_paths.runtime_dir, 0755, error) < 0 ||
        control_new(&daemon->loop, daemon->manager, arg_paths.runtime_dir, listen_descriptor(), &daemon->control,
                    error) < 0 ||
        manager_start(daemon->manager, error) < 0)
        return -1;
    notify_ready(daemon->notify);
    return 0;
}

static int read_debug_state(char **ret, Error *error)
{
    json_error_t problem;
    json_t *state = json_load_file(arg_debug_state, JSON_REJECT_DUPLICATES, &problem);
    *ret = json_is_object(state) ? json_dumps(state, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(state);
    return *ret ? 0 : error_set(error, ERROR_CONFIGURATION, "the state \"%s\" is not a JSON object", arg_debug_state);
}

static int run(Daemon *daemon)
{
    _cleanup_(error_clear) Error error = {};
    _cleanup_(freep) char *libexec = paths_libexec(arg_libexec_dir);
    bool once = arg_action == ACTION_ONCE;
    _cleanup_(freep) char *debug_state = NULL;
    if (arg_debug_state && read_debug_state(&debug_state, &error) < 0)
        return fail(&error, EXIT_WRONG_USE);
    daemon->notify = arg_action == ACTION_RUN ? notify_new(&daemon->loop) : NULL;
    ManagerOptions manager_options = { .config_dir = arg_paths.config_dir,
                                       .state_dir = arg_paths.state_dir,
                                       .runtime_dir = arg_paths.runtime_dir,
                                       .libexec_dir = libexec,
                                       .once = once || arg_action == ACTION_ANSWER,
                                       .once_names = once ? arg_names : NULL,
                                       .once_file = arg_file,
                                       .once_dir = arg_dir,
                                       .once_debug_state = debug_state,
                                       .once_asked_as = arg_asked_as,
                                       .once_run = once ? on_once_run : NULL,
                                       .once_done = once ? on_stopped : NULL,
                                       .userdata = daemon,
                                       .notify = daemon->notify };
    int r = manager_new(&daemon->loop, &manager_options, &daemon->manager, &error);
    if (r != 0) {
        notify_free(daemon->notify);
        uv_run(&daemon->loop, UV_RUN_DEFAULT); /* closes what is closing */
        return fail(&error, r == STORE_E_LOCKED || error.kind == ERROR_CONFIGURATION ? EXIT_WRONG_USE : EXIT_FAILED);
    }
    start_signals(daemon);
    int status = EXIT_GOOD;
    if (start(daemon, &error) < 0) {
        status = fail(&error, error.kind == ERROR_CONFIGURATION ? EXIT_WRONG_USE : EXIT_FAILED);
    } else {
        uv_run(&daemon->loop, UV_RUN_DEFAULT);
        if (arg_action == ACTION_ONCE) {
            status = manager_once_exit_status(daemon->manager);
            if (arg_json)
                print_once_runs(daemon->manager);
        }
    }
    /* The handlers go with the loop; one more SIGTERM must not make a clean end look like a crash. */
    sigset_t ending;
    sigemptyset(&ending);
    for (size_t i = 0; i < ELEMENTSOF(signal_numbers); i++)
        sigaddset(&ending, signal_numbers[i]);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    daemon->control = control_free(daemon->control);
    daemon->manager = manager_free(daemon->manager);
    daemon->notify = notify_free(daemon->notify);
    for (size_t i = 0; i < ELEMENTSOF(daemon->signals); i++)
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    uv_run(&daemon->loop, UV_RUN_DEFAULT); /* closes what is closing */
    return status;
}

static int run_loop(void)
{
    _cleanup_(error_clear) Error error = {};
    if (arg_file)
        arg_asked_as = asked_as(arg_paths.state_dir);
    if (arg_file && !arg_paths.state_dir && choose_once_state_dir(&error) < 0)
        return fail(&error, EXIT_WRONG_USE);
    if (paths_resolve(&arg_paths, &error) < 0 || (arg_action == ACTION_ANSWER && require_ledger(&error) < 0))
        return fail(&error, EXIT_WRONG_USE);
    signal(SIGPIPE, SIG_IGN);
    Daemon daemon = {};
    int r = uv_loop_init(&daemon.loop);
    if (r < 0) {
        error_set(&error, ERROR_TEMPORARY, "no event loop can be made: %s", uv_strerror(r));
        return fail(&error, EXIT_FAILED);
    }
    int status = run(&daemon);
    uv_loop_close(&daemon.loop);
    return status;
}

static int check(void)
{
    _cleanup_(error_clear) Error error = {};
    if (paths_resolve(&arg_paths, &error) < 0)
        return fail(&error, EXIT_WRONG_USE);
    return config_check(arg_paths.config_dir, arg_paths.state_dir, arg_names, arg_name_count, stdout);
}

static int print_schema(void)
{
    json_t *schema = config_schema();
    json_dumpf(schema, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(schema);
    return EXIT_GOOD;
}

static int print_manual(void)
{
    _cleanup_(freep) char *page = config_manual(WHERRY_VERSION);
    fputs(page, stdout);
    return EXIT_GOOD;
}

static int act(void)
{
    switch (arg_action) {
    case ACTION_HELP:
        print_help();
        return EXIT_GOOD;
    case ACTION_VERSION:
        puts("wherryd " WHERRY_VERSION);
        return EXIT_GOOD;
    case ACTION_SCHEMA:
        return print_schema();
    case ACTION_MANUAL:
        return print_manual();
    case ACTION_CHECK:
        return check();
    case ACTION_RUN:
    case ACTION_ONCE:
    case ACTION_ANSWER:
        break;
    }
    return run_loop();
}

int main(int argc, char *argv[])
{
    log_open();
    int status = parse(argc, argv);
    if (status == 0)
        status = act();
    remove_passing_dir();
    paths_clear(&arg_paths);
    free(arg_asked_as);
    return status;
}
