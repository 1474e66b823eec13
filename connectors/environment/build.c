/*
 * Below FOLDER lie
 *
 *     lock                          held while one is built: the others wait
 *     environments/NAME/            one virtual environment
 *     environments/NAME.json        that it is whole, and what it was made from
 *     cache/                        the installer's, and a home and temporary files for it
 *
 * NAME begins with the digest of what it was made from: the requirements as the installer saw them, the interpreter,
 * and the project itself where requirements lie there. An environment is never changed once it has its record, and
 * never made in another's place: whoever runs in an older one is not disturbed. What has no record was left by a build
 * that was ended, and goes; so does what nobody keeps.
 *
 * The code of packages runs in a second process, which is locked down (install.c). What that prints is handed on, and
 * searched for the installer's own reason where it fails (words.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "connectors/environment/environment.h"
#include "connectors/environment/requirements.h"
#include "connectors/environment/words.h"
#include "connectors/worker/programs.h"
#include "lib/basics/clock.h"
#include "lib/basics/hash.h"
#include "lib/basics/path.h"
#include "lib/system/paths.h"
#include "lib/system/spawn.h"

#define FORMAT "wherry environment 1"
#define VARIABLES_MAX 128
#define WALK_DESCRIPTORS 32
#define LINKS_MAX 4 /* python → python3 → python3.12 → the interpreter */

typedef struct Build {
    const BuildOptions *options;
    char *environments, *cache; /* absolute */
    Requirements requirements;
    Interpreter interpreter;
    char *uv; /* NULL: pip */
    char digest[SHA256_TEXT_SIZE];
    char *name, *folder; /* of the new one */
    Words words;         /* the installer's */
} Build;

void built_clear(Built *built)
{
    free(built->folder);
    free(built->python);
    free(built->version);
    *built = (Built){ 0 };
}

static void build_clear(Build *build)
{
    free(build->environments);
    free(build->cache);
    requirements_clear(&build->requirements);
    interpreter_clear(&build->interpreter);
    free(build->uv);
    free(build->name);
    free(build->folder);
    words_clear(&build->words);
}

static const char *variable(const BuildOptions *options, const char *name)
{
    size_t n = strlen(name);
    for (char **entry = options->environment; *entry; entry++)
        if (strncmp(*entry, name, n) == 0 && (*entry)[n] == '=')
            return *entry + n + 1;
    return NULL;
}

/* --- what it is made from --- */

static Sha256 *walked; /* nftw() has no place for it */

static int hash_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    const char *base = path + where->base;
    if (type == FTW_D && (strcmp(base, ".git") == 0 || strcmp(base, "__pycache__") == 0) && where->level > 0)
        return FTW_SKIP_SUBTREE;
    if (type == FTW_D && where->level == 1 && strcmp(base, "files") == 0)
        return FTW_SKIP_SUBTREE;
    if (type != FTW_F)
        return FTW_CONTINUE;
    _cleanup_(freep) char *text = xasprintf("%s %lld %lld.%09ld\n", path, (long long)status->st_size,
                                            (long long)status->st_mtim.tv_sec, status->st_mtim.tv_nsec);
    sha256_update(walked, text, strlen(text));
    return FTW_CONTINUE;
}

static void make_digest(Build *build)
{
    uint8_t digest[SHA256_SIZE];
    _cleanup_(freep) char *head = xasprintf(FORMAT "\n%s %s\n%s\n", build->interpreter.path, build->interpreter.version,
                                            build->requirements.names_requests ? "" : "requests");
    walked = sha256_new();
    sha256_update(walked, head, strlen(head));
    sha256_update(walked, buffer_bytes(&build->requirements.text), buffer_length(&build->requirements.text));
    if (build->requirements.local)
        nftw(build->options->project, hash_entry, WALK_DESCRIPTORS, FTW_PHYS | FTW_ACTIONRETVAL);
    sha256_finish(walked, digest);
    sha256_text(digest, build->digest);
    walked = sha256_free(walked);
}

/* --- what is there --- */

static json_t *read_record(const Build *build, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s.json", build->environments, name);
    json_t *record = json_load_file(path, 0, NULL);
    if (json_is_object(record))
        return record;
    json_decref(record);
    return NULL;
}

/* bin/python leads to the interpreter, over links in bin/ alone: a package could have put another one there. */
static bool leads_to_interpreter(const Build *build, const char *folder)
{
    _cleanup_(freep) char *link = path_join(folder, "bin/python");
    for (int i = 0; i < LINKS_MAX; i++) {
        char target[4096];
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        if (n <= 0)
            return false;
        target[n] = '\0';
        if (target[0] == '/')
            return strcmp(target, build->interpreter.path) == 0 && access(target, X_OK) == 0;
        if (strchr(target, '/'))
            return false;
        free(link);
        link = xasprintf("%s/bin/%s", folder, target);
    }
    return false;
}

static void fill(const Build *build, const char *name, bool cached, Built *ret)
{
    *ret = (Built){ .folder = path_join(build->environments, name),
                    .version = xstrdup(build->interpreter.version),
                    .cached = cached };
    ret->python = path_join(ret->folder, "bin/python");
}

/* The name of the environment that RECORD_FILE ("NAME.json") is about; NULL: it is no record's name. */
static char *recorded_name(const char *record_file)
{
    size_t n = strlen(record_file);
    if (n <= 5 || strcmp(record_file + n - 5, ".json") != 0 || record_file[0] == '.')
        return NULL;
    return xstrndup(record_file, n - 5);
}

static bool find_whole(const Build *build, Built *ret)
{
    DIR *stream = opendir(build->environments);
    bool found = false;
    for (const struct dirent *entry; stream && !found && (entry = readdir(stream));) {
        _cleanup_(freep) char *name = recorded_name(entry->d_name);
        json_t *record = name ? read_record(build, name) : NULL;
        const char *digest = json_string_value(json_object_get(record, "digest"));
        _cleanup_(freep) char *folder = name ? path_join(build->environments, name) : NULL;
        found = digest && strcmp(digest, build->digest) == 0 && leads_to_interpreter(build, folder);
        if (found)
            fill(build, name, true, ret);
        json_decref(record);
    }
    if (stream)
        closedir(stream);
    return found;
}

static bool is_kept(const Build *build, const char *name, const char *used)
{
    if (used && strcmp(name, used) == 0)
        return true;
    for (const char *const *kept = build->options->keep; *kept; kept++) {
        const char *slash = strrchr(*kept, '/');
        if (strcmp(slash ? slash + 1 : *kept, name) == 0)
            return true;
    }
    return false;
}

/* Removes what was left half made and, where USED is given, whatever nobody else keeps. */
static void sweep(const Build *build, const char *used)
{
    DIR *stream = opendir(build->environments);
    for (const struct dirent *entry; stream && (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_(freep) char *recorded = recorded_name(entry->d_name);
        const char *name = recorded ? recorded : entry->d_name;
        json_t *record = read_record(build, name);
        if (!record || (used && !is_kept(build, name, used)))
            path_remove_tree(dirfd(stream), entry->d_name);
        json_decref(record);
    }
    if (stream)
        closedir(stream);
}

static int write_record(const Build *build, Error *error)
{
    char now[64];
    snprintf(now, sizeof(now), "%lld", (long long)(clock_wall_ms() / 1000));
    _cleanup_(freep) char *path = xasprintf("%s/%s.json", build->environments, build->name);
    _cleanup_(freep) char *temporary = xasprintf("%s/.%s.json", build->environments, build->name);
    json_t *record = json_pack("{s:s, s:s, s:s, s:s}", "digest", build->digest, "interpreter", build->interpreter.path,
                               "version", build->interpreter.version, "built_at", now);
    int r = json_dump_file(record, temporary, JSON_INDENT(2));
    json_decref(record);
    if (r == 0)
        r = rename(temporary, path);
    return r < 0 ? error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", path) : 0;
}

/* --- the installer --- */

static bool is_picked(const char *entry)
{
    static const char *const prefixes[] = {
        "PIP_",           "UV_",           "HTTP_PROXY=",  "HTTPS_PROXY=",    "ALL_PROXY=",
        "NO_PROXY=",      "http_proxy=",   "https_proxy=", "all_proxy=",      "no_proxy=",
        "SSL_CERT_FILE=", "SSL_CERT_DIR=", "NETRC=",       "CURL_CA_BUNDLE=", "REQUESTS_CA_BUNDLE="
    };
    /* Where things go is ours to say. */
    static const char *const refused[] = {
        "PIP_TARGET=",      "PIP_PREFIX=", "PIP_ROOT=",         "PIP_USER=",  "PIP_PYTHON=",
        "PIP_REQUIREMENT=", "UV_PYTHON=",  "UV_SYSTEM_PYTHON=", "UV_TARGET=", "UV_PROJECT_ENVIRONMENT="
    };
    for (size_t i = 0; i < ELEMENTSOF(refused); i++)
        if (strncmp(entry, refused[i], strlen(refused[i])) == 0)
            return false;
    for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* The user's own settings of pip, where no variable names others. */
static char *user_settings(const BuildOptions *options)
{
    const char *home = variable(options, "HOME");
    static const char *const names[] = { ".config/pip/pip.conf", ".pip/pip.conf" };
    for (size_t i = 0; home && home[0] == '/' && i < ELEMENTSOF(names) && !variable(options, "PIP_CONFIG_FILE"); i++) {
        char *path = path_join(home, names[i]);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* The installer's environment: ours is not handed on but for what is meant for it. Ends with NULL; all owned. */
static char **make_variables(const Build *build)
{
    char **variables = xcalloc(VARIABLES_MAX, sizeof(char *));
    size_t n = 0;
    _cleanup_(freep) char *settings = user_settings(build->options);
    const char *cache = build->cache;
    for (char **entry = build->options->environment; *entry && n < VARIABLES_MAX - 16; entry++)
        if (is_picked(*entry) && strncmp(*entry, "PIP_CACHE_DIR=", 14) != 0 &&
            strncmp(*entry, "UV_CACHE_DIR=", 13) != 0)
            variables[n++] = xstrdup(*entry);
    variables[n++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    variables[n++] = xstrdup("LANG=C.UTF-8");
    variables[n++] = xstrdup("TZ=UTC");
    variables[n++] = xasprintf("HOME=%s/home", cache);
    variables[n++] = xasprintf("TMPDIR=%s/tmp", cache);
    variables[n++] = xasprintf("PIP_CACHE_DIR=%s/pip", cache);
    variables[n++] = xasprintf("UV_CACHE_DIR=%s/uv", cache);
    variables[n++] = xstrdup("PIP_DISABLE_PIP_VERSION_CHECK=1");
    variables[n++] = xstrdup("PIP_ROOT_USER_ACTION=ignore");
    variables[n++] = xstrdup("UV_PYTHON_DOWNLOADS=never");
    if (settings)
        variables[n++] = xasprintf("PIP_CONFIG_FILE=%s", settings);
    return variables;
}

static void take_output(Build *build, int fd)
{
    char bytes[8192];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            words_take(&build->words, bytes, (size_t)n, stderr);
    words_end(&build->words, stderr);
}

static int write_requirements(const Build *build, char **ret, Error *error)
{
    *ret = path_join(build->cache, "requirements.txt");
    unlink(*ret);
    FILE *file = fopen(*ret, "wxe");
    size_t n = buffer_length(&build->requirements.text);
    bool written = file && fwrite(buffer_bytes(&build->requirements.text), 1, n, file) == n;
    if (!file || (fclose(file) != 0) || !written)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", *ret);
    return 0;
}

/* Runs ourselves as the installer; 0: it succeeded, 1: it failed, negative: it could not be run. */
static int run_installer(Build *build, bool with_requests, Error *error)
{
    _cleanup_(freep) char *requirements = NULL;
    if (write_requirements(build, &requirements, error) < 0)
        return -1;
    const char *words[20] = { "build-environment", "--install",  "--environment", build->folder,
                              "--cache",           build->cache, "--project",     build->options->project,
                              "--requirements",    requirements, "--interpreter", build->interpreter.path };
    size_t n = 12;
    if (build->uv) {
        words[n++] = "--uv";
        words[n++] = build->uv;
    } else if (!build->interpreter.has_pip) {
        words[n++] = "--ensurepip";
    }
    if (with_requests)
        words[n++] = "--requests";
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no pipe can be made");
    const int descriptors[] = { -1, ends[1], ends[1] };
    char **variables = make_variables(build);
    const SpawnOptions options = { .path = "/proc/self/exe",
                                   .argv = words,
                                   .environment = (const char *const *)variables,
                                   .descriptors = descriptors,
                                   .descriptor_count = ELEMENTSOF(descriptors),
                                   .cgroup = -1,
                                   .same_group = true };
    Process process;
    int r = spawn(&options, &process, error);
    close_fd(ends[1]);
    for (char **entry = variables; *entry; entry++)
        free(*entry);
    free(variables);
    if (r == 0) {
        siginfo_t end = { 0 };
        take_output(build, ends[0]);
        while (waitid(P_PIDFD, (id_t)process.pidfd, &end, WEXITED) < 0 && errno == EINTR) {
        }
        close_fd(process.pidfd);
        r = end.si_code != CLD_EXITED || end.si_status != 0;
    }
    close_fd(ends[0]);
    return r;
}

/* --- afterwards --- */

/* What the installer believed to have made executable: programs in bin/, and files that begin like one. */
static int set_mode(const char *path, const struct stat *status, int type, struct FTW *where)
{
    if (type != FTW_F || (status->st_mode & 0100))
        return 0;
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    char magic[4] = { 0 };
    if (fd < 0 || read(fd, magic, sizeof(magic)) < 2)
        return 0;
    if (memcmp(magic, "#!", 2) == 0 || memcmp(magic, "\177ELF", 4) == 0)
        (void)fchmod(fd, 0700);
    return 0;
}

static int finish(Build *build, Built *ret, Error *error)
{
    nftw(build->folder, set_mode, WALK_DESCRIPTORS, FTW_PHYS);
    if (!leads_to_interpreter(build, build->folder))
        return error_set(error, ERROR_CONFIGURATION,
                         "a package has replaced the interpreter of the environment; it is not used");
    fill(build, build->name, false, ret);
    return write_record(build, error);
}

static int make_folder(Build *build, Error *error)
{
    static const char *const below[] = { "home", "tmp" };
    for (size_t i = 0; i < ELEMENTSOF(below); i++) {
        _cleanup_(freep) char *path = path_join(build->cache, below[i]);
        if (paths_make(path, 0700, error) < 0)
            return -1;
    }
    build->name = xasprintf("%.16s-%llx", build->digest, (unsigned long long)clock_wall_us());
    build->folder = path_join(build->environments, build->name);
    return paths_make(build->folder, 0700, error);
}

static int failed(Build *build, Error *error)
{
    _cleanup_(freep) char *text = words_reason(&build->words);
    const char *what = build->requirements.count > 0 ? "requirements.txt" : "\"requests\"";
    return error_set(error, ERROR_CONFIGURATION, "%s cannot be installed: %s", what,
                     *text ? text : "the installer did not say why");
}

/* A project that asks for nothing runs on a machine without a network, too; the next build tries again. */
static int make_without_requests(Build *build, Error *error)
{
    _cleanup_(error_clear) Error why = { 0 };
    failed(build, &why);
    fprintf(stderr, "warning: %s; the connector runs without it\n", why.message);
    build->digest[0] = '\0';
    words_clear(&build->words);
    build->words = (Words){ 0 };
    return run_installer(build, false, error);
}

static int make(Build *build, Built *ret, Error *error)
{
    if (make_folder(build, error) < 0)
        return -1;
    fprintf(stderr, "building the environment: Python %s, %s, %zu requirement%s\n", build->interpreter.version,
            build->uv ? "uv" : "pip", build->requirements.count, build->requirements.count == 1 ? "" : "s");
    if (build->requirements.left_out)
        fprintf(stderr, "\"%s\" is left out: Wherry's own module serves\n", build->requirements.left_out);
    int r = run_installer(build, !build->requirements.names_requests, error);
    if (r > 0 && build->requirements.count == 0)
        r = make_without_requests(build, error);
    if (r > 0)
        r = failed(build, error);
    if (r == 0)
        r = finish(build, ret, error);
    if (r < 0)
        sweep(build, NULL); /* it has no record */
    return r;
}

static int prepare(Build *build, int *ret_lock, Error *error)
{
    const BuildOptions *options = build->options;
    build->environments = path_join(options->folder, "environments");
    build->cache = path_join(options->folder, "cache");
    if (paths_make(build->environments, 0700, error) < 0 || paths_make(build->cache, 0700, error) < 0)
        return -1;
    _cleanup_(freep) char *path = path_join(options->folder, "lock");
    _cleanup_(close_fdp) int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be made", path);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        fprintf(stderr, "waiting for another build of this environment\n");
        while (flock(lock, LOCK_EX) < 0)
            if (errno != EINTR)
                return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be locked", path);
    }
    *ret_lock = take_fd(&lock);
    return 0;
}

/* uv, where it is installed: on the path, or below the home. */
static char *find_uv(const BuildOptions *options)
{
    char *uv = program_find("uv");
    const char *home = variable(options, "HOME");
    static const char *const places[] = { ".local/bin/uv", ".cargo/bin/uv" };
    for (size_t i = 0; !uv && home && i < ELEMENTSOF(places); i++) {
        char *path = path_join(home, places[i]);
        if (access(path, X_OK) == 0)
            uv = take_ptr(path);
        free(path);
    }
    return uv;
}

static int build_in(Build *build, Built *ret, Error *error)
{
    const BuildOptions *options = build->options;
    _cleanup_(close_fdp) int lock = -1;
    if (prepare(build, &lock, error) < 0 || requirements_read(options->project, &build->requirements, error) < 0 ||
        interpreter_find(options->python, variable(options, "PATH"), variable(options, "HOME"), &build->interpreter,
                         error) < 0)
        return -1;
    build->uv = find_uv(options);
    if (!build->uv && !build->interpreter.has_pip && !build->interpreter.has_ensurepip)
        return error_set(
            error, ERROR_CONFIGURATION,
            "Python %s (%s) cannot install packages: it has neither pip nor ensurepip, and there is no uv; "
            "install python3-pip or python3-venv, or uv",
            build->interpreter.version, build->interpreter.path);
    make_digest(build);
    sweep(build, NULL);
    if (!find_whole(build, ret) && make(build, ret, error) < 0)
        return -1;
    const char *slash = strrchr(ret->folder, '/');
    sweep(build, slash + 1);
    if (!ret->cached && syncfs(lock) < 0) /* who relies on it may be told so after this */
        return error_set_errno(error, ERROR_TEMPORARY, errno, "the environment cannot be written to disk");
    return 0;
}

int environment_build(const BuildOptions *options, Built *ret, Error *error)
{
    Build build = { .options = options };
    int r = build_in(&build, ret, error);
    build_clear(&build);
    return r;
}
