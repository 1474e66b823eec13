/*
 * Which files there are, and which of them are as they were. Loading reads wherry.yaml, then pipelines.d in the order
 * of names; a file that has not changed since the set before (inode, size, both times) is taken over without opening
 * the YAML parser, so that a reload among ten thousand costs a few milliseconds. A file that was modified a moment ago
 * is not trusted to show its next change in its times, as with git's index, and is read again.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/wherryd/config-internal.h"
#include "daemon/wherryd/secret.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"

#define PIPELINES_MAX 100000
/* The kernel stamps files with the time of its last tick: two writes within one look alike. */
#define STAMP_TRUSTED_AFTER_NS (INT64_C(50) * 1000 * 1000)
/* Loading leaves holes behind that malloc would keep; worth giving back after this many parsed files. */
#define TRIM_AFTER_FILES 256
#define THREADS_MAX 8
#define FILES_PER_THREAD 64 /* fewer are not worth another thread */

/* A file, and what came of it. */
typedef struct Job {
    const char *file_name;
    char *name;               /* of the connection, or what would be */
    bool ready;               /* nothing to parse: it is as it was, or its name is wrong */
    ConnectionConfig *config; /* NULL: BAD says why */
    char *bad, *warnings;
} Job;

typedef struct Load {
    LoadContext context;
    YamlFile daemon_file;
    char *config_dir; /* absolute */
    char *daemon_name, *state_dir, *state_folder;
    ConfigSet *set;
    const ConfigSet *previous;
    PathCache paths;
    size_t parsed;
    bool deployed;        /* the files of pipelines.d are through */
    size_t written_count; /* of their connections */
} Load;

/* --- lifetimes --- */

ConnectionConfig *connection_config_ref(ConnectionConfig *config)
{
    config->references++;
    return config;
}

ConnectionConfig *connection_config_free(ConnectionConfig *config)
{
    if (!config || --config->references > 0)
        return NULL;
    free(config->name);
    free(config->path);
    free(config->identity);
    free(config->watch_dir);
    free(config->quarantine_dir);
    free(config->json);
    free(config->warnings);
    free(config);
    return NULL;
}

ConfigSet *config_set_free(ConfigSet *set)
{
    if (!set)
        return NULL;
    for (size_t i = 0; i < set->connection_count; i++)
        connection_config_free(set->connections[i]);
    for (size_t i = 0; i < set->problem_count; i++) {
        free(set->problems[i].name);
        free(set->problems[i].message);
    }
    for (size_t i = 0; i < set->warning_count; i++)
        free(set->warnings[i]);
    free(set->connections);
    free(set->problems);
    free(set->warnings);
    json_decref(set->daemon.destinations);
    json_decref(set->daemon.defaults);
    free(set);
    return NULL;
}

static int compare_connections(const void *a, const void *b)
{
    return strcmp((*(ConnectionConfig *const *)a)->name, (*(ConnectionConfig *const *)b)->name);
}

ConnectionConfig *config_set_find(const ConfigSet *set, const char *name)
{
    const ConnectionConfig key = { .name = (char *)name }, *pointer = &key;
    if (!set || set->connection_count == 0)
        return NULL;
    ConnectionConfig **found =
        bsearch(&pointer, set->connections, set->connection_count, sizeof(pointer), compare_connections);
    return found ? *found : NULL;
}

static void add_problem(ConfigSet *set, const char *name, char *message)
{
    set->problems = xrealloc(set->problems, (set->problem_count + 1) * sizeof(ConfigProblem));
    set->problems[set->problem_count++] = (ConfigProblem){ .name = xstrdup(name), .message = message };
}

/* One for each line of TEXT. */
static void add_warnings(ConfigSet *set, const char *text)
{
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        set->warnings = xrealloc(set->warnings, (set->warning_count + 1) * sizeof(char *));
        set->warnings[set->warning_count++] = xstrndup(text, n);
        text += n + (text[n] == '\n');
    }
}

/* Takes CONFIG over. The array doubles: COUNT is a power of two whenever it is full. */
static void add_connection(ConfigSet *set, ConnectionConfig *config)
{
    size_t n = set->connection_count;
    if ((n & (n - 1)) == 0)
        set->connections = xrealloc(set->connections, (n > 0 ? 2 * n : 1) * sizeof(ConnectionConfig *));
    set->connections[set->connection_count++] = config;
    add_warnings(set, config->warnings);
}

/* --- reading files --- */

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static ConfigStamp make_stamp(const struct stat *status)
{
    ConfigStamp stamp = { .inode = status->st_ino,
                          .size = status->st_size,
                          .modified_ns = nanoseconds(status->st_mtim),
                          .changed_ns = nanoseconds(status->st_ctim) };
    int64_t age = clock_wall_us() * 1000 - MAX_OF(stamp.modified_ns, stamp.changed_ns);
    return age >= 0 && age < STAMP_TRUSTED_AFTER_NS ? (ConfigStamp){ 0 } : stamp;
}

static bool same_stamp(const ConfigStamp *a, const ConfigStamp *b)
{
    return a->inode != 0 && a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns &&
           a->changed_ns == b->changed_ns;
}

/* An open file worth reading, or -1 after a problem. */
static int open_file(int folder, const char *path, const char *shown, struct stat *ret_status, Problems *problems)
{
    _cleanup_(close_fdp) int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, ret_status) < 0) {
        bool dangling = errno == ENOENT && faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        if (dangling)
            problems_add(problems, false, shown, 0, 0, "a symbolic link to nothing; mend or remove it");
        else
            problems_add(problems, false, shown, 0, 0, "cannot be read: %s", error_errno_text(errno));
        return -1;
    }
    if (S_ISREG(ret_status->st_mode))
        return take_fd(&fd);
    problems_add(problems, false, shown, 0, 0, "%s, not a file",
                 S_ISDIR(ret_status->st_mode) ? "a folder" : "a pipe, socket or device");
    return -1;
}

/* Reads all of FD, one byte past YAML's bound at most, which the YAML reader then complains about. */
static bool read_content(int fd, const char *shown, size_t expected, Buffer *content, Problems *problems)
{
    for (;;) {
        size_t room = buffer_length(content) == 0 ? MIN_OF(expected, (size_t)YAML_BYTES_MAX) + 1 : 65536;
        ssize_t n = read(fd, buffer_reserve(content, room), room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            problems_add(problems, false, shown, 0, 0, "cannot be read: %s", error_errno_text(errno));
        if (n <= 0)
            return n == 0;
        buffer_added(content, (size_t)n);
        if (buffer_length(content) > YAML_BYTES_MAX)
            return true;
    }
}

static void parse_fd(int fd, size_t expected, YamlFile *file, Problems *problems)
{
    _cleanup_(buffer_clear) Buffer content = { 0 };
    if (read_content(fd, file->name, expected, &content, problems))
        yaml_parse(file, buffer_length(&content) > 0 ? (const char *)buffer_bytes(&content) : "",
                   buffer_length(&content), problems);
}

/* --- wherry.yaml --- */

static char *absolute(const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    _cleanup_(freep) char *here = getcwd(NULL, 0);
    return path_join(here ? here : "/", path);
}

static int load_daemon_config(Load *load, Error *error)
{
    _cleanup_(problems_clear) Problems problems = { 0 };
    _cleanup_(freep) char *path = path_join(load->config_dir, "wherry.yaml");
    load->daemon_file = (YamlFile){ .name = "wherry.yaml", .folder = load->config_dir };
    daemon_config_defaults(&load->set->daemon);
    load->context.destinations = load->set->daemon.destinations;
    if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR) &&
        faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    struct stat status;
    _cleanup_(close_fdp) int fd = open_file(AT_FDCWD, path, "wherry.yaml", &status, &problems);
    if (fd >= 0) {
        parse_fd(fd, (size_t)status.st_size, &load->daemon_file, &problems);
        if (problems.errors == 0)
            daemon_check(&load->context, &load->daemon_file, &load->set->daemon, &problems);
    }
    _cleanup_(freep) char *bad = problems_text(&problems, false), *warnings = problems_text(&problems, true);
    if (bad)
        return error_set(error, ERROR_CONFIGURATION, "%s", bad);
    add_warnings(load->set, warnings);
    return 0;
}

static int load_begin(Load *load, const char *config_dir, const char *state_dir, Error *error)
{
    load->config_dir = absolute(config_dir);
    load->set = xcalloc(1, sizeof(*load->set));
    load->context.paths = &load->paths;
    if (state_dir) {
        load->state_dir = absolute(state_dir);
        _cleanup_(freep) char *folder = path_join(load->state_dir, "daemon");
        load->context.state_folder = load->state_folder = path_canonical(folder);
    }
    return load_daemon_config(load, error);
}

static void load_clear(Load *load)
{
    yaml_clear(&load->daemon_file);
    path_cache_clear(&load->paths);
    config_set_free(load->set);
    free(load->config_dir);
    free(load->state_dir);
    free(load->state_folder);
}

/* --- pipelines --- */

/* Reads and checks FILE (its name is the job's to know) inside FOLDER. Touches nothing but JOB: threads run this. */
static void run_job(const LoadContext *context, Job *job, int folder, YamlFile *file)
{
    _cleanup_(problems_clear) Problems problems = { 0 };
    struct stat status;
    _cleanup_(close_fdp) int fd = open_file(folder, job->file_name, file->name, &status, &problems);
    if (fd >= 0) {
        parse_fd(fd, (size_t)status.st_size, file, &problems);
        if (file->root || problems.errors == 0)
            job->config = connection_check(context, job->name, file, &problems);
        yaml_clear(file);
    }
    job->bad = problems_text(&problems, false);
    job->warnings = problems_text(&problems, true);
    if (job->config) {
        job->config->path = path_join(file->folder, file->name);
        job->config->stamp = make_stamp(&status);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Two files of one name, one of them deployed: neither is run, since nobody can say which was meant. */
static bool refuse_second(Load *load, Job *job)
{
    ConfigSet *set = load->set;
    size_t first = set->connection_count;
    for (size_t i = 0; load->deployed && i < load->written_count && first == set->connection_count; i++)
        if (strcmp(set->connections[i]->name, job->name) == 0)
            first = i;
    for (size_t i = 0; load->deployed && i < set->problem_count; i++)
        if (set->problems[i].name && strcmp(set->problems[i].name, job->name) == 0)
            return true; /* its own problem is said */
    if (first == set->connection_count)
        return false;
    add_problem(set, job->name,
                xasprintf("%s: \"%s\" was deployed, too: \"%s/" DEPLOYED_FOLDER "/%s\"; remove one of the two files",
                          set->connections[first]->path, job->name, load->state_dir, job->file_name));
    connection_config_free(set->connections[first]);
    memmove(&set->connections[first], &set->connections[first + 1],
            (--set->connection_count - first) * sizeof(ConnectionConfig *));
    load->written_count--;
    return true;
}

/* Whatever came of JOB goes into the set. A file that was rewritten and still says the same keeps its connection. */
static void take_result(Load *load, Job *job)
{
    ConnectionConfig *config = job->config, *before = config_set_find(load->previous, job->name);
    load->parsed += !job->ready;
    if (refuse_second(load, job)) {
        connection_config_free(config);
        free(job->bad);
        free(job->warnings);
        return;
    }
    if (!config) {
        if (job->bad)
            add_problem(load->set, job->name, job->bad);
        add_warnings(load->set, job->warnings);
        free(job->warnings);
        return;
    }
    if (!job->ready)
        config->warnings = job->warnings;
    if (before && before != config && same_text(before->json, config->json) && same_text(before->path, config->path) &&
        same_text(before->warnings, config->warnings) && same_text(before->identity, config->identity)) {
        before->stamp = config->stamp;
        connection_config_free(config);
        config = connection_config_ref(before);
    }
    add_connection(load->set, config);
}

typedef struct Work {
    const Load *load;
    int folder;
    const char *folder_path;
    Job *jobs;
    size_t count, unready;
    atomic_size_t next;
} Work;

static void *run_jobs(void *argument)
{
    Work *work = argument;
    PathCache paths = { 0 };
    LoadContext context = work->load->context;
    context.paths = &paths;
    for (size_t i; (i = atomic_fetch_add(&work->next, 1)) < work->count;) {
        Job *job = &work->jobs[i];
        YamlFile file = { .name = job->file_name, .folder = work->folder_path };
        if (!job->ready)
            run_job(&context, job, work->folder, &file);
    }
    path_cache_clear(&paths);
    return NULL;
}

/* Runs all of WORK, on this thread and as many others as there is work and cores for. */
static void share_work(Work *work)
{
    pthread_t threads[THREADS_MAX];
    size_t useful = MIN_OF((size_t)daemon_cores(), work->unready / FILES_PER_THREAD + 1);
    size_t n = MIN_OF(useful, (size_t)THREADS_MAX), started = 0;
    sigset_t all, before;
    sigfillset(&all); /* signals are for the thread that runs the loop */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started + 1 < n && pthread_create(&threads[started], NULL, run_jobs, work) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    run_jobs(work);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* The connection in FILE_NAME as it was, where the file is as it was; otherwise NULL. */
static ConnectionConfig *unchanged(const Load *load, int folder, const char *file_name, const char *name)
{
    ConnectionConfig *before = config_set_find(load->previous, name);
    struct stat status;
    if (!before || fstatat(folder, file_name, &status, 0) < 0)
        return NULL;
    ConfigStamp stamp = make_stamp(&status);
    return same_stamp(&before->stamp, &stamp) ? before : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* What editors, package managers and people who switch a file off leave behind. */
static bool is_ignored(const char *name)
{
    static const char *const ends[] = { "~",         ".bak",     ".orig",     ".rej",      ".swp",       ".tmp",
                                        ".disabled", ".off",     ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".rpmnew",
                                        ".rpmsave",  ".rpmorig", ".ucf-dist", ".ucf-new",  ".ucf-old" };
    for (size_t i = 0; i < ELEMENTSOF(ends); i++)
        if (ends_with(name, ends[i]))
            return true;
    return name[0] == '.' || name[0] == '#';
}

/* What the file's name alone tells of JOB. */
static void judge_name(Job *job)
{
    const char *file_name = job->file_name;
    bool yml = ends_with(file_name, ".yml"), yaml = ends_with(file_name, ".yaml");
    _cleanup_(freep) char *stem = xstrndup(file_name, strlen(file_name) - (yml ? 4 : yaml ? 5 : 0));
    bool good = text_is_name(stem);
    if (good && yaml && strcmp(file_name + strlen(stem), ".yaml") == 0) {
        job->name = take_ptr(stem);
        return;
    }
    _cleanup_(freep) char *printable = text_escape_shortened(file_name, strlen(file_name), 255);
    _cleanup_(problems_clear) Problems problems = { 0 };
    if (!yml && !yaml)
        problems_add(&problems, true, printable, 0, 0, "ignored: a pipeline file is called NAME.yaml");
    else if (good)
        problems_add(&problems, false, printable, 0, 0, "must end in .yaml; rename it to \"%s.yaml\"", stem);
    else
        problems_add(&problems, false, printable, 0, 0,
                     "cannot name a connection; rename it: a-z, 0-9 and _, beginning with a letter or _, at most 63, "
                     "then .yaml");
    job->name = text_escape(stem, strlen(stem));
    job->ready = true;
    job->bad = problems_text(&problems, false);
    job->warnings = problems_text(&problems, true);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in FOLDER worth a look, sorted; NULL-terminated. */
static int list_folder(int folder, const char *path, char ***ret, Error *error)
{
    int copy = fcntl(folder, F_DUPFD_CLOEXEC, 3);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
    if (!stream) {
        close_fd(copy);
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot read the folder \"%s\"", path);
    }
    char **names = xcalloc(1, sizeof(char *));
    size_t n = 0;
    const struct dirent *entry;
    int r = 0;
    while (errno = 0, (entry = readdir(stream))) {
        if (is_ignored(entry->d_name))
            continue;
        if (n == PIPELINES_MAX) {
            r = error_set(error, ERROR_CONFIGURATION, "more than %d files in \"%s\"", PIPELINES_MAX, path);
            break;
        }
        if ((n & (n + 1)) == 0)
            names = xrealloc(names, 2 * (n + 1) * sizeof(char *));
        names[n++] = xstrdup(entry->d_name);
        names[n] = NULL;
    }
    if (!entry && errno != 0)
        r = error_set_errno(error, ERROR_TEMPORARY, errno, "cannot read the folder \"%s\"", path);
    closedir(stream);
    qsort(names, n, sizeof(char *), compare_names);
    *ret = names;
    return r;
}

static bool same_daemon_config(const ConfigSet *a, const ConfigSet *b)
{
    return a && json_equal(a->daemon.destinations, b->daemon.destinations) &&
           json_equal(a->daemon.defaults, b->daemon.defaults);
}

static void load_names(Load *load, int folder, const char *path, char *const *names)
{
    assert(names);
    size_t n = 0;
    while (names[n])
        n++;
    Work work = { .load = load, .folder = folder, .folder_path = path, .jobs = xcalloc(n + 1, sizeof(Job)) };
    bool same = same_daemon_config(load->previous, load->set);
    for (size_t i = 0; i < n; i++) {
        Job *job = &work.jobs[work.count++];
        job->file_name = names[i];
        judge_name(job);
        ConnectionConfig *before = job->ready || !same ? NULL : unchanged(load, folder, names[i], job->name);
        if (before) {
            job->config = connection_config_ref(before);
            job->ready = true;
        }
        work.unready += !job->ready;
    }
    share_work(&work);
    for (size_t i = 0; i < work.count; i++) {
        take_result(load, &work.jobs[i]);
        free(work.jobs[i].name);
    }
    free(work.jobs);
    if (load->set->connection_count > 1)
        qsort(load->set->connections, load->set->connection_count, sizeof(ConnectionConfig *), compare_connections);
}

static int load_files(Load *load, int folder, const char *path, Error *error)
{
    char **names = NULL;
    int r = list_folder(folder, path, &names, error);
    if (r == 0)
        load_names(load, folder, path, names);
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
    return r;
}

/* DEPLOYED_FOLDER of the state folder: what `wherryctl deploy` wrote. */
static int load_deployed(Load *load, Error *error)
{
    if (!load->state_dir)
        return 0;
    _cleanup_(freep) char *path = path_join(load->state_dir, DEPLOYED_FOLDER);
    _cleanup_(close_fdp) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
        return 0; /* nothing was; or somebody checks who may not know */
    if (folder < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot read the folder \"%s\"", path);
    load->deployed = true;
    load->written_count = load->set->connection_count;
    return load_files(load, folder, path, error);
}

static int load_folder(Load *load, Error *error)
{
    _cleanup_(freep) char *path = path_join(load->config_dir, "pipelines.d");
    _cleanup_(close_fdp) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 && errno == ENOENT && access(load->config_dir, F_OK) == 0) {
        _cleanup_(freep) char *warning = xasprintf("%s: warning: no such folder: pipeline files belong there", path);
        add_warnings(load->set, warning);
        return 0;
    }
    if (folder < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno,
                               "cannot read the configuration folder \"%s\" (see --config-dir)",
                               errno == ENOENT ? load->config_dir : path);
    return load_files(load, folder, path, error);
}

int config_load(const char *config_dir, const char *state_dir, const ConfigSet *previous, ConfigSet **ret, Error *error)
{
    Load load = { .previous = previous };
    int r = load_begin(&load, config_dir, state_dir, error);
    if (r == 0)
        r = load_folder(&load, error);
    if (r == 0)
        r = load_deployed(&load, error);
    if (r == 0)
        *ret = take_ptr(load.set);
    load_clear(&load);
#ifdef __GLIBC__
    if (load.parsed >= TRIM_AFTER_FILES)
        malloc_trim(0);
#endif
    return r;
}

/* "My-Orders.v2.yaml" → "my_orders_v2" */
static char *name_for_file(const char *path)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t n = strlen(base);
    if (ends_with(base, ".yaml") || ends_with(base, ".yml"))
        n -= ends_with(base, ".yaml") ? 5 : 4;
    char *name = xasprintf("%s%.*s", n == 0 || (base[0] >= '0' && base[0] <= '9') ? "_" : "", (int)MIN_OF(n, 62), base);
    for (char *c = name; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
        else if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
            *c = '_';
    }
    return name;
}

int config_load_file(const char *config_dir, const char *state_dir, const char *path, const char *lend_dir,
                     ConfigSet **ret, Error *error)
{
    Load load = { 0 };
    _cleanup_(freep) char *lent = lend_dir ? absolute(lend_dir) : NULL;
    load.context.lend_dir = lent;
    load.context.lendable = true;
    int r = load_begin(&load, config_dir, state_dir, error);
    if (r == 0) {
        _cleanup_(freep) char *where = absolute(path);
        _cleanup_(freep) char *folder = path_folder(where);
        _cleanup_(freep) char *name = name_for_file(path);
        _cleanup_(freep) char *printable = text_escape(path, strlen(path));
        YamlFile file = { .name = printable, .folder = folder };
        Job job = { .file_name = path, .name = name };
        run_job(&load.context, &job, AT_FDCWD, &file);
        if (job.config) {
            free(job.config->path);
            job.config->path = take_ptr(where);
        }
        take_result(&load, &job);
        *ret = take_ptr(load.set);
    }
    load_clear(&load);
    return r;
}

/* --- what a sync gets --- */

static void copy_key(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value)
        json_object_set(to, key, value);
}

static json_t *writer_part(const ConnectionConfig *config, json_t *connection)
{
    static const char *const keys[] = {
        "write_mode", "dest_table", "commit_interval",  "max_value_size", "sandbox",
        "strip_nul",  "history",    "on_schema_change", "log_table",      "destination"
    };
    json_t *writer = json_object();
    json_object_set_new(writer, "files", json_boolean(strcmp(config->source, "files") == 0));
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        copy_key(writer, connection, keys[i]);
    json_object_del(connection, "destination");
    json_object_del(connection, "name");
    return writer;
}

static void add_run(json_t *part, const ConnectionConfig *config, const char *run_id, bool full)
{
    json_object_set_new(part, "connection", json_string(config->name));
    json_object_set_new(part, "run_id", json_string(run_id));
    json_object_set_new(part, "full", json_boolean(full));
}

/* The writer's part, which shares the map, goes without: what a destination needs is not the source's to bound. */
static void add_memory(json_t *worker, const ConnectionConfig *config)
{
    const ConnectorKeys *keys = connector_keys(ROLE_SOURCE, config->source);
    const json_t *sandbox = json_object_get(worker, "sandbox");
    if (!keys || keys->memory == 0 || json_object_get(sandbox, "memory"))
        return;
    json_t *own = json_is_object(sandbox) ? json_copy((json_t *)(uintptr_t)sandbox) : json_object();
    json_object_set_new(own, "memory", json_integer((json_int_t)keys->memory));
    json_object_set_new(worker, "sandbox", own);
}

/* What a connector's own configuration has in the clear, under a name that says what it is. */
static void mask_written_out(const json_t *worker, Mask *mask)
{
    json_t *configuration = json_object_get(json_object_get(worker, "source"), "configuration"), *value;
    const char *key;
    json_object_foreach (configuration, key, value)
        if (json_is_string(value) && configuration_names_secret(key))
            mask_add(mask, json_string_value(value));
}

int config_resolve(const ConnectionConfig *config, const char *run_id, bool full, Mask *mask, json_t **ret_worker,
                   json_t **ret_writer, Error *error)
{
    json_t *worker = json_loads(config->json, 0, NULL);
    if (!worker)
        abort(); /* we wrote it */
    json_t *writer = writer_part(config, worker);
    add_run(worker, config, run_id, full);
    add_run(writer, config, run_id, full);
    add_memory(worker, config);
    if (secret_resolve(worker, mask, error) < 0 || secret_resolve(writer, mask, error) < 0) {
        json_decref(worker);
        json_decref(writer);
        return -1;
    }
    mask_written_out(worker, mask);
    *ret_worker = worker;
    *ret_writer = writer;
    return 0;
}
