/*
 * Deploying a connector: its project is uploaded, becomes a version, gets an environment, and takes the place of the
 * version before (where all of it lies: deployed.c).
 *
 * A version is complete, and its environment built and on disk, before the pipeline file that names it takes the other
 * one's place by a rename: whatever fails before leaves everything as it was. A sync that runs keeps the version that
 * it started with, and so do environments that a version links to; the current version and the one before it are kept,
 * and all of them while a sync runs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/wherryd/builder.h"
#include "daemon/wherryd/deployed.h"
#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager-internal.h"
#include "lib/basics/base64.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/file.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"
#include "lib/system/paths.h"

#define UPLOADS_MAX 8
#define UPLOAD_STALE_MS (10 * 60 * 1000)
#define UPLOAD_BYTES_MAX (UINT64_C(200) << 20)
#define UPLOAD_FILES_MAX 20000
#define PATH_BYTES_MAX 1000
#define PATH_DEPTH_MAX 40
#define VERSIONS_KEPT 2
#define VERSIONS_MAX 64 /* that are looked at; more are there only while syncs go on for very long */

typedef struct Deploy Deploy;
struct Deploy {
    Manager *manager;
    char *name; /* of the connection */
    char id[UUID_TEXT_SIZE];
    char *folder; /* of the upload, then of the version */
    uint64_t bytes;
    size_t files;
    int64_t touched_ms;
    json_t *settings;      /* {"destination", "python", "naming", "frequency"}: those that are known */
    json_t *configuration; /* NULL: kept as it was */
    bool existed;
    Builder *builder;
    ManagerDeployEvents events;
    Deploy *next;
};

/* --- uploads --- */

static Deploy *deploy_free(Deploy *deploy)
{
    Manager *manager = deploy->manager;
    for (Deploy **at = &manager->deploys; *at; at = &(*at)->next)
        if (*at == deploy) {
            *at = deploy->next;
            break;
        }
    free(deploy->name);
    free(deploy->folder);
    json_decref(deploy->settings);
    json_decref(deploy->configuration);
    free(deploy);
    return NULL;
}

static void deploy_discard(Deploy *deploy)
{
    if (deploy->folder)
        deployed_remove_later(deploy->manager, take_ptr(deploy->folder));
    deploy_free(deploy);
}

static Deploy *find_upload(const Manager *manager, const char *id)
{
    for (Deploy *deploy = manager->deploys; deploy; deploy = deploy->next)
        if (!deploy->builder && strcmp(deploy->id, id) == 0)
            return deploy;
    return NULL;
}

static int make_room(Manager *manager, Error *error)
{
    size_t n = 0;
    int64_t now = clock_monotonic_ms();
    for (Deploy *deploy = manager->deploys, *next; deploy; deploy = next) {
        next = deploy->next;
        if (!deploy->builder && now - deploy->touched_ms > UPLOAD_STALE_MS)
            deploy_discard(deploy);
        else
            n++;
    }
    if (n < UPLOADS_MAX)
        return 0;
    return error_set(error, ERROR_TEMPORARY, "%d deploys are going on already: try again when one has ended",
                     UPLOADS_MAX);
}

/* Foreign, though from an operator: it must lead to a place inside, and nowhere else. */
static bool is_inside(const char *path)
{
    size_t n = strlen(path);
    unsigned depth = 0;
    if (n == 0 || n > PATH_BYTES_MAX || utf8_valid_length(path, n) != n)
        return false;
    for (const char *at = path; at; depth++) {
        size_t length = strcspn(at, "/");
        if (length == 0 || length > 255 || (length == 1 && at[0] == '.') ||
            (length == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)at[i] < ' ' || at[i] == 0x7f)
                return false;
        at = at[length] == '/' ? at + length + 1 : NULL;
    }
    return depth <= PATH_DEPTH_MAX;
}

/* The folder of PATH below FOLDER, made where it is not there; links are not followed, and there are none. */
static int open_parent(int folder, const char *path, Error *error)
{
    int at = fcntl(folder, F_DUPFD_CLOEXEC, 3);
    while (at >= 0 && strchr(path, '/')) {
        size_t n = strcspn(path, "/");
        _cleanup_(freep) char *name = xstrndup(path, n);
        (void)mkdirat(at, name, 0700);
        int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int errnum = errno;
        close_fd(at);
        errno = errnum;
        at = below;
        path += n + 1;
    }
    return at >= 0 ? at : error_set_errno(error, ERROR_TEMPORARY, errno, "a folder of the upload cannot be made");
}

static int put_bytes(Deploy *deploy, int folder, const json_t *file, const void *data, size_t n, Error *error)
{
    const char *path = json_string_value(json_object_get(file, "path"));
    bool append = json_is_true(json_object_get(file, "append"));
    bool executable = json_is_true(json_object_get(file, "executable"));
    const char *slash = strrchr(path, '/');
    _cleanup_(close_fdp) int parent = open_parent(folder, path, error);
    if (parent < 0)
        return -1;
    _cleanup_(close_fdp) int fd =
        openat(parent, slash ? slash + 1 : path,
               O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (append ? O_APPEND : O_CREAT | O_EXCL), executable ? 0700 : 0600);
    if (fd < 0 || file_write_all(fd, data, n) < 0)
        return error_set_errno(error, errno == EEXIST || errno == ENOENT ? ERROR_CONFIGURATION : ERROR_TEMPORARY, errno,
                               "\"%s\" cannot be stored", path);
    deploy->files += !append;
    return 0;
}

static int put_file(Deploy *deploy, int folder, const json_t *file, Error *error)
{
    const char *path = json_string_value(json_object_get(file, "path"));
    const json_t *data = json_object_get(file, "data");
    if (!path || !json_is_string(data) || strlen(path) != json_string_length(json_object_get(file, "path")) ||
        !is_inside(path))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is no path of a project's file", path ? path : "");
    size_t length = json_string_length(data), n = 0;
    _cleanup_(freep) uint8_t *bytes = xmalloc(length / 4 * 3 + 3);
    if (!base64_decode(json_string_value(data), length, bytes, &n))
        return error_set(error, ERROR_CONFIGURATION, "the data of \"%s\" is not base64", path);
    deploy->bytes += n;
    if (deploy->bytes > UPLOAD_BYTES_MAX || deploy->files >= UPLOAD_FILES_MAX)
        return error_set(
            error, ERROR_CONFIGURATION,
            "the project is larger than %llu MiB or has more than %d files; leave out with .gitignore what "
            "the connector does not need",
            (unsigned long long)(UPLOAD_BYTES_MAX >> 20), UPLOAD_FILES_MAX);
    return put_bytes(deploy, folder, file, bytes, n, error);
}

static int put_files(Deploy *deploy, json_t *files, Error *error)
{
    _cleanup_(freep) char *path = path_join(deploy->folder, "project");
    _cleanup_(close_fdp) int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    size_t i;
    json_t *file;
    if (folder < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "the upload's folder \"%s\" is gone", path);
    json_array_foreach (files, i, file)
        if (put_file(deploy, folder, file, error) < 0)
            return -1;
    return 0;
}

/* --- what is asked for --- */

static int check_name(const Manager *manager, const char *name, Error *error)
{
    _cleanup_(freep) char *printable = text_escape_shortened(name, strlen(name), 100);
    if (!text_is_name(name))
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" cannot name a connection: a-z, 0-9 and _, beginning with a letter or _, at most 63",
                         printable);
    _cleanup_(freep) char *written = deployed_written_path(manager, name);
    if (!written)
        return 0;
    _cleanup_(freep) char *deployed = deployed_pipeline_path(manager, name);
    return error_set(error, ERROR_CONFIGURATION,
                     "\"%s\" is the connection of \"%s\" already, so that \"%s\" cannot have its name; deploy under "
                     "another name, or remove that file",
                     name, written, deployed);
}

static void set_text(json_t *settings, const char *key, const char *value)
{
    if (value)
        json_object_set_new(settings, key, json_string(value));
}

/* Which destination is meant where none was named. */
static int choose_destination(const Manager *manager, json_t *settings, Error *error)
{
    const json_t *destinations = manager->set->daemon.destinations;
    const char *wanted = json_string_value(json_object_get(settings, "destination")), *name;
    _cleanup_(buffer_clear) Buffer names = { 0 };
    json_t *value;
    json_object_foreach ((json_t *)destinations, name, value)
        buffer_printf(&names, "%s\"%s\"", buffer_length(&names) > 0 ? ", " : "", name);
    if (wanted && json_object_get(destinations, wanted))
        return 0;
    size_t n = json_object_size(destinations);
    if (n == 1 && !wanted) {
        json_object_set_new(settings, "destination",
                            json_string(json_object_iter_key(json_object_iter((json_t *)destinations))));
        return 0;
    }
    _cleanup_(freep) char *list = buffer_take_string(&names);
    if (n == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s/wherry.yaml\" has no destination to deploy to; add one, such as \"destinations: "
                         "{warehouse: {type: sqlite, path: /var/lib/wherry/warehouse.db}}\", and \"wherryctl reload\"",
                         manager->options.config_dir);
    if (wanted) {
        _cleanup_(freep) char *printable = text_escape_shortened(wanted, strlen(wanted), 100);
        return error_set(error, ERROR_CONFIGURATION, "wherry.yaml has no destination \"%s\"; there %s %s", printable,
                         n == 1 ? "is" : "are", list);
    }
    return error_set(error, ERROR_CONFIGURATION, "there are several destinations: %s; say which with --destination",
                     list);
}

/* What deploy was told before, and is told now. */
static int gather_settings(const Manager *manager, const ManagerDeployRequest *request, json_t **ret, Error *error)
{
    _cleanup_(freep) char *path = deployed_project_path(manager, request->connection, DEPLOYED_SETTINGS);
    json_t *settings = deployed_is(manager, request->connection) ? json_load_file(path, 0, NULL) : NULL;
    if (!json_is_object(settings)) {
        json_decref(settings);
        settings = json_object();
    }
    set_text(settings, "destination", request->destination);
    set_text(settings, "python", request->python);
    set_text(settings, "naming", request->naming);
    set_text(settings, "frequency", request->frequency);
    if (choose_destination(manager, settings, error) < 0) {
        json_decref(settings);
        return -1;
    }
    *ret = settings;
    return 0;
}

static int begin(Manager *manager, const ManagerDeployRequest *request, json_t *settings /* taken over */, Deploy **ret,
                 Error *error)
{
    if (make_room(manager, error) < 0) {
        json_decref(settings);
        return -1;
    }
    Deploy *deploy = xcalloc(1, sizeof(*deploy));
    deploy->manager = manager;
    deploy->name = xstrdup(request->connection);
    deploy->settings = settings;
    uuid7(deploy->id);
    deploy->next = manager->deploys;
    manager->deploys = deploy;
    _cleanup_(freep) char *uploads = deployed_path(manager, "uploads");
    deploy->folder = path_join(uploads, deploy->id);
    _cleanup_(freep) char *deployed = path_folder(uploads);
    _cleanup_(freep) char *project = path_join(deploy->folder, "project");
    if (paths_make(deployed, 0700, error) < 0 || paths_make(project, 0700, error) < 0) {
        deploy_discard(deploy);
        return -1;
    }
    *ret = deploy;
    return 0;
}

/* --- versions --- */

/* The versions of PROJECT's folder FOLDER, newest first: their names sort by time. */
static size_t list_versions(const char *folder, char *ret[static VERSIONS_MAX])
{
    DIR *stream = opendir(folder);
    size_t n = 0;
    for (const struct dirent *entry; stream && n < VERSIONS_MAX && (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        size_t i = n++;
        for (; i > 0 && strcmp(ret[i - 1], entry->d_name) < 0; i--)
            ret[i] = ret[i - 1];
        ret[i] = xstrdup(entry->d_name);
    }
    if (stream)
        closedir(stream);
    return n;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
}

static void sweep_versions(const Deploy *deploy)
{
    const Connection *connection = manager_find(deploy->manager, deploy->name);
    char *versions[VERSIONS_MAX];
    if (connection && connection->run)
        return; /* it may run in any of them */
    _cleanup_(freep) char *folder = deployed_project_path(deploy->manager, deploy->name, "versions");
    size_t n = list_versions(folder, versions);
    for (size_t i = VERSIONS_KEPT; i < n; i++)
        deployed_remove_later(deploy->manager, path_join(folder, versions[i]));
    free_names(versions, n);
}

/* The environments that other versions run in; ends with NULL, all owned. */
static char **environments_in_use(const Deploy *deploy)
{
    char *versions[VERSIONS_MAX];
    _cleanup_(freep) char *folder = deployed_project_path(deploy->manager, deploy->name, "versions");
    size_t n = list_versions(folder, versions), used = 0;
    char **environments = xcalloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        char target[4096];
        _cleanup_(freep) char *link = xasprintf("%s/%s/environment", folder, versions[i]);
        ssize_t length = readlink(link, target, sizeof(target));
        if (length > 0 && (size_t)length < sizeof(target))
            environments[used++] = xstrndup(target, (size_t)length);
    }
    free_names(versions, n);
    return environments;
}

static void add_line(Buffer *yaml, const char *key, const char *tag, const char *value)
{
    if (!value)
        return;
    json_t *text = json_string(value);
    char *json = json_dumps(text, JSON_ENCODE_ANY);
    buffer_printf(yaml, "%s: %s%s\n", key, tag, json);
    free(json);
    json_decref(text);
}

/* The pipeline file of this version. JSON's texts are YAML's. */
static char *pipeline_text(const Deploy *deploy, const char *project, const char *environment)
{
    Buffer yaml = { 0 };
    const json_t *settings = deploy->settings;
    _cleanup_(freep) char *configuration = deployed_project_path(deploy->manager, deploy->name, DEPLOYED_CONFIGURATION);
    buffer_append_string(&yaml, "# written by \"wherryctl deploy\", and again by the next one\n"
                                "paused: true # until \"wherryctl resume\"\n");
    add_line(&yaml, "frequency", "", json_string_value(json_object_get(settings, "frequency")));
    add_line(&yaml, "naming", "", json_string_value(json_object_get(settings, "naming")));
    add_line(&yaml, "destination", "", json_string_value(json_object_get(settings, "destination")));
    buffer_append_string(&yaml, "source:\n  type: fivetran\n");
    add_line(&yaml, "  project", "", project);
    add_line(&yaml, "  environment", "", environment);
    add_line(&yaml, "  configuration", "!json ", configuration);
    return buffer_take_string(&yaml);
}

/* What the daemon will read must be good before it takes the other one's place. */
static int check_pipeline(const Deploy *deploy, const char *path, Error *error)
{
    _cleanup_(config_set_freep) ConfigSet *set = NULL;
    const ManagerOptions *options = &deploy->manager->options;
    if (config_load_file(options->config_dir, options->state_dir, path, NULL, &set, error) < 0)
        return -1;
    return set->problem_count > 0 ? error_set(error, ERROR_CONFIGURATION, "%s", set->problems[0].message) : 0;
}

static int put_in_place(Deploy *deploy, const json_t *result, Error *error)
{
    const Manager *manager = deploy->manager;
    const char *environment = json_string_value(json_object_get(result, "environment"));
    _cleanup_(freep) char *environments = deployed_project_path(manager, deploy->name, "environments");
    _cleanup_(freep) char *project = path_join(deploy->folder, "project");
    _cleanup_(freep) char *link = path_join(deploy->folder, "environment");
    _cleanup_(freep) char *candidate = xasprintf("%s/%s.yaml", deploy->folder, deploy->name);
    _cleanup_(freep) char *pipeline = deployed_pipeline_path(manager, deploy->name);
    _cleanup_(freep) char *settings = deployed_project_path(manager, deploy->name, DEPLOYED_SETTINGS);
    _cleanup_(freep) char *configuration = deployed_project_path(manager, deploy->name, DEPLOYED_CONFIGURATION);
    _cleanup_(freep) char *pipelines = path_folder(pipeline);
    if (!path_is_below(environment, environments))
        return error_set(error, ERROR_INTERNAL, "build-environment named a folder that is not its own");
    if (symlink(environment, link) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be made", link);
    _cleanup_(freep) char *text = pipeline_text(deploy, project, environment);
    if (deployed_replace_file(candidate, text, error) < 0 || check_pipeline(deploy, candidate, error) < 0 ||
        check_name(manager, deploy->name, error) < 0 || paths_make(pipelines, 0700, error) < 0)
        return -1;
    if (deploy->configuration || access(configuration, F_OK) < 0) {
        json_t *values = deploy->configuration ? json_incref(deploy->configuration) : json_object();
        int r = deployed_replace_json(configuration, values, error);
        json_decref(values);
        if (r < 0)
            return -1;
    }
    if (deployed_replace_json(settings, deploy->settings, error) < 0)
        return -1;
    deployed_unmark(manager, deploy->name);
    if (rename(candidate, pipeline) < 0 || file_sync_folder_of(pipeline) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be put in place", pipeline);
    return 0;
}

static json_t *describe(const Deploy *deploy, const json_t *result)
{
    const Connection *connection = manager_find(deploy->manager, deploy->name);
    _cleanup_(freep) char *pipeline = deployed_pipeline_path(deploy->manager, deploy->name);
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:O, s:O, s:s}", "connection", deploy->name, "version", deploy->id,
                     "files", (json_int_t)deploy->files, "created", !deploy->existed, "paused",
                     connection && connection->schedule.paused, "destination",
                     json_object_get(deploy->settings, "destination"), "python", json_object_get(result, "version"),
                     "pipeline", pipeline);
}

static void give_up(Deploy *deploy)
{
    const Manager *manager = deploy->manager;
    _cleanup_(freep) char *name = xstrdup(deploy->name);
    deploy_discard(deploy);
    deployed_sweep(manager, name); /* what went while this was going on */
}

static void built(const json_t *result, const Error *failed, void *userdata)
{
    Deploy *deploy = userdata;
    Manager *manager = deploy->manager;
    ManagerDeployEvents events = deploy->events;
    _cleanup_(error_clear) Error error = { 0 };
    json_t *deployed = NULL;
    if (!events.wanted(events.userdata)) {
        log_message(LOG_NOTICE, &(LogContext){ .connection = deploy->name },
                    "not deployed: whoever asked for it has gone; all is as it was");
        events.done(NULL, &error, events.userdata);
        give_up(deploy);
        return;
    }
    if (!result || put_in_place(deploy, result, &error) < 0) {
        events.done(NULL, result ? &error : failed, events.userdata);
        give_up(deploy);
        return;
    }
    if (manager_reload(manager, NULL, NULL, &error) == 0) {
        log_message(LOG_NOTICE, &(LogContext){ .connection = deploy->name }, "deployed: %zu file%s, version %s",
                    deploy->files, deploy->files == 1 ? "" : "s", deploy->id);
        deployed = describe(deploy, result);
    }
    sweep_versions(deploy);
    events.done(deployed, &error, events.userdata);
    json_decref(deployed);
    deploy_free(deploy);
}

static void built_line(const char *text, size_t n, void *userdata)
{
    const Deploy *deploy = userdata;
    deploy->events.line(text, n, deploy->events.userdata);
}

/* The upload becomes a version, under the name that it keeps: an environment may refer to it. */
static int make_version(Deploy *deploy, Error *error)
{
    _cleanup_(freep) char *connector = path_join(deploy->folder, "project/connector.py");
    _cleanup_(freep) char *versions = deployed_project_path(deploy->manager, deploy->name, "versions");
    if (access(connector, F_OK) < 0)
        return error_set(error, ERROR_CONFIGURATION, "the project has no connector.py");
    if (paths_make(versions, 0700, error) < 0)
        return -1;
    char *version = path_join(versions, deploy->id);
    if (rename(deploy->folder, version) < 0) {
        error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be made", version);
        free(version);
        return -1;
    }
    free(deploy->folder);
    deploy->folder = version;
    return 0;
}

static int build(Deploy *deploy, Error *error)
{
    const ManagerOptions *options = &deploy->manager->options;
    char **keep = environments_in_use(deploy); /* before this version is one of them */
    _cleanup_(freep) char *environments = deployed_project_path(deploy->manager, deploy->name, "environments");
    _cleanup_(freep) char *folder = path_folder(environments);
    int r = make_version(deploy, error);
    _cleanup_(freep) char *project = path_join(deploy->folder, "project");
    const BuilderOptions builder = { .loop = deploy->manager->loop,
                                     .trees = deploy->manager->trees,
                                     .libexec_dir = options->libexec_dir,
                                     .folder = folder,
                                     .project = project,
                                     .python = json_string_value(json_object_get(deploy->settings, "python")),
                                     .keep = (const char *const *)keep,
                                     .line = built_line,
                                     .done = built,
                                     .userdata = deploy };
    if (r == 0)
        r = builder_start(&builder, &deploy->builder, error);
    for (char **at = keep; *at; at++)
        free(*at);
    free(keep);
    return r;
}

bool manager_deploys_build(const Manager *manager, const char *name)
{
    for (const Deploy *deploy = manager->deploys; deploy; deploy = deploy->next)
        if (deploy->builder && strcmp(deploy->name, name) == 0)
            return true;
    return false;
}

static int commit(Deploy *deploy, const ManagerDeployRequest *request, const ManagerDeployEvents *events, Error *error)
{
    if (request->configuration && configuration_check(request->configuration, error) < 0)
        return -1;
    if (manager_deploys_build(deploy->manager, deploy->name))
        return error_set(error, ERROR_TEMPORARY, "another deploy of \"%s\" is going on: try again when it has ended",
                         deploy->name);
    deploy->configuration = request->configuration ? json_deep_copy(request->configuration) : NULL;
    deploy->existed = deployed_is(deploy->manager, deploy->name);
    deploy->events = *events;
    return build(deploy, error);
}

int manager_deploy(Manager *manager, const ManagerDeployRequest *request, const ManagerDeployEvents *events,
                   char ret_upload[static 37], Error *error)
{
    Deploy *deploy = NULL;
    json_t *settings;
    if (manager->stopping)
        return MANAGER_E_STOPPING;
    if (manager->options.once)
        return error_set(error, ERROR_CONFIGURATION, "only a daemon can be deployed to");
    if (check_name(manager, request->connection, error) < 0)
        return -1;
    if (!request->overwrite && deployed_is(manager, request->connection))
        return MANAGER_E_EXISTS;
    if (request->upload)
        deploy = find_upload(manager, request->upload);
    if (request->upload && (!deploy || strcmp(deploy->name, request->connection) != 0))
        return error_set(error, ERROR_CONFIGURATION, "there is no such upload any more: deploy again");
    if (gather_settings(manager, request, &settings, error) < 0)
        return -1;
    if (!deploy && begin(manager, request, settings, &deploy, error) < 0)
        return -1;
    if (deploy->settings != settings)
        json_object_update_new(deploy->settings, settings);
    deploy->touched_ms = clock_monotonic_ms();
    memcpy(ret_upload, deploy->id, sizeof(deploy->id));
    int r = put_files(deploy, request->files, error);
    if (r == 0 && request->commit)
        r = commit(deploy, request, events, error);
    if (r < 0)
        deploy_discard(deploy);
    return r;
}

/* --- configuration --- */

static int read_values(const char *path, json_t **ret, Error *error)
{
    json_error_t problem;
    *ret = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (json_is_object(*ret))
        return 0;
    json_decref(*ret);
    return error_set(error, ERROR_CONFIGURATION, "\"%s\" cannot be read as JSON: line %d, column %d", path,
                     problem.line, problem.column);
}

static int change_values(json_t *values, json_t *set, json_t *unset, const char *name, Error *error)
{
    size_t i;
    json_t *key;
    json_array_foreach (unset, i, key)
        if (json_object_del(values, json_string_value(key)) < 0) {
            _cleanup_(freep) char *printable = text_escape(json_string_value(key), json_string_length(key));
            return error_set(
                error, ERROR_CONFIGURATION,
                "the configuration of \"%s\" has no \"%s\"; \"wherryctl configuration %s\" lists what it has", name,
                printable, name);
        }
    if (set)
        json_object_update(values, set);
    return configuration_check(values, error);
}

static json_t *names_of(const json_t *values)
{
    json_t *names = json_array(), *value;
    const char *key;
    json_object_foreach ((json_t *)values, key, value)
        json_array_append_new(names, json_string(key));
    return names;
}

int manager_configure(Manager *manager, const char *name, json_t *set, json_t *unset, json_t **ret_names, Error *error)
{
    const Connection *connection = manager_find(manager, name);
    bool changes = json_object_size(set) > 0 || json_array_size(unset) > 0;
    json_t *values = NULL;
    if (!connection)
        return MANAGER_E_NO_SUCH_CONNECTION;
    if (manager->stopping)
        return MANAGER_E_STOPPING;
    _cleanup_(freep) char *written = deployed_written_path(manager, name);
    if (written || !deployed_is(manager, name))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" was not deployed: its configuration stands in \"%s\"",
                         name, written ? written : "its pipeline file");
    _cleanup_(freep) char *path = deployed_project_path(manager, name, DEPLOYED_CONFIGURATION);
    int r = read_values(path, &values, error);
    if (r == 0 && changes)
        r = change_values(values, set, unset, name, error);
    if (r == 0 && changes)
        r = deployed_replace_json(path, values, error);
    if (r == 0)
        *ret_names = names_of(values);
    json_decref(values);
    /* a connection that waits for another configuration has it now */
    return r == 0 && changes ? manager_reload(manager, NULL, NULL, error) : r;
}

/* --- the daemon's life --- */

void manager_deploys_begin(Manager *manager)
{
    char *path = deployed_path(manager, "uploads");
    path_remove_tree(AT_FDCWD, path);
    free(path);
    deployed_sweep_all(manager);
}

void manager_deploys_end(Manager *manager)
{
    for (Deploy *deploy = manager->deploys, *next; deploy; deploy = next) {
        next = deploy->next;
        if (deploy->builder)
            builder_abandon(deploy->builder);
        if (deploy->folder)
            path_remove_tree(AT_FDCWD, deploy->folder);
        deploy_free(deploy);
    }
}
