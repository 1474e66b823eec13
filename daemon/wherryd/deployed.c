/*
 * What is deployed lies in the state folder, so that deploying needs no root:
 *
 *     deployed/uploads/ID/project/…           files as they come, until they are committed
 *     deployed/projects/NAME/versions/ID/     one version: project/, and `environment`, a link to the one it runs in
 *     deployed/projects/NAME/environments/    what build-environment keeps, with cache/ and lock
 *     deployed/projects/NAME/configuration.json   the values: 0600, read when a sync starts, nowhere else
 *     deployed/projects/NAME/deployed.json    what deploy was told, for the next one
 *     deployed/projects/NAME/undeployed       a mark: all of this goes once no sync runs in it
 *     deployed/pipelines.d/NAME.yaml          the pipeline file, read beside those of the configuration folder
 *
 * The pipeline file makes the connection: it comes last, and goes first. What a sync still runs in cannot go with it,
 * and goes when that sync has ended, or, should the daemon end before, when it starts again; the mark tells this from a
 * pipeline file that somebody took away for a while.
 */
#include "daemon/wherryd/deployed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager-internal.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/file.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/system/paths.h"

#define UNDEPLOYED "undeployed"

/* --- places --- */

char *deployed_path(const Manager *manager, const char *below)
{
    return xasprintf("%s/deployed/%s", manager->options.state_dir, below);
}

char *deployed_project_path(const Manager *manager, const char *name, const char *below)
{
    return xasprintf("%s/deployed/projects/%s/%s", manager->options.state_dir, name, below);
}

char *deployed_pipeline_path(const Manager *manager, const char *name)
{
    return xasprintf("%s/" DEPLOYED_FOLDER "/%s.yaml", manager->options.state_dir, name);
}

typedef struct Removal {
    uv_work_t work;
    char *path;
} Removal;

static void remove_path(uv_work_t *work)
{
    Removal *removal = (Removal *)work;
    path_remove_tree(AT_FDCWD, removal->path);
}

static void removed(uv_work_t *work, int status)
{
    Removal *removal = (Removal *)work;
    free(removal->path);
    free(removal);
}

void deployed_remove_later(const Manager *manager, char *path /* taken over */)
{
    Removal *removal = xcalloc(1, sizeof(*removal));
    removal->path = path;
    if (uv_queue_work(manager->loop, &removal->work, remove_path, removed) < 0)
        removed(&removal->work, 0);
}

int deployed_replace_file(const char *path, const char *content, Error *error)
{
    _cleanup_(freep) char *folder = path_folder(path);
    _cleanup_(freep) char *temporary = xasprintf("%s/.%s.new", folder, strrchr(path, '/') + 1);
    unlink(temporary);
    _cleanup_(close_fdp) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && file_write_all(fd, content, strlen(content)) == 0 && fsync(fd) == 0 &&
        rename(temporary, path) == 0 && file_sync_folder_of(path) == 0)
        return 0;
    error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", path);
    unlink(temporary);
    return -1;
}

int deployed_replace_json(const char *path, const json_t *object, Error *error)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);
    int r = text ? deployed_replace_file(path, text, error)
                 : error_set(error, ERROR_INTERNAL, "\"%s\" cannot be put into JSON", path);
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    return r;
}

bool deployed_is(const Manager *manager, const char *name)
{
    _cleanup_(freep) char *path = deployed_pipeline_path(manager, name);
    return access(path, F_OK) == 0;
}

char *deployed_written_path(const Manager *manager, const char *name)
{
    char *path = xasprintf("%s/pipelines.d/%s.yaml", manager->options.config_dir, name);
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

char *deployed_destination(const Manager *manager, const char *name)
{
    _cleanup_(freep) char *path = deployed_project_path(manager, name, DEPLOYED_SETTINGS);
    json_t *settings = json_load_file(path, 0, NULL);
    const char *destination = json_string_value(json_object_get(settings, "destination"));
    char *found = destination ? xstrdup(destination) : NULL;
    json_decref(settings);
    return found;
}

/* --- going --- */

void deployed_unmark(const Manager *manager, const char *name)
{
    _cleanup_(freep) char *mark = deployed_project_path(manager, name, UNDEPLOYED);
    unlink(mark);
}

static bool runs_in_it(const Manager *manager, const char *name)
{
    for (const Run *run = manager->runs; run; run = run->next)
        if (strcmp(run->connection->name, name) == 0)
            return true;
    return false;
}

void deployed_sweep(const Manager *manager, const char *name)
{
    char id[UUID_TEXT_SIZE];
    _cleanup_(freep) char *mark = deployed_project_path(manager, name, UNDEPLOYED);
    if (access(mark, F_OK) < 0 || deployed_is(manager, name) || manager_deploys_build(manager, name) ||
        runs_in_it(manager, name))
        return;
    /* under another name at once: the next deploy of this one must not meet what is still being deleted */
    uuid7(id);
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(freep) char *project = path_folder(mark);
    _cleanup_(freep) char *uploads = deployed_path(manager, "uploads");
    char *away = path_join(uploads, id);
    if (paths_make(uploads, 0700, &error) == 0 && rename(project, away) == 0) {
        deployed_remove_later(manager, away);
        return;
    }
    free(away);
    log_message(LOG_WARNING, &(LogContext){ .connection = name }, "what was deployed cannot be removed from \"%s\"",
                project);
}

void deployed_sweep_all(const Manager *manager)
{
    _cleanup_(freep) char *projects = deployed_path(manager, "projects");
    DIR *stream = opendir(projects);
    for (const struct dirent *entry; stream && (entry = readdir(stream));)
        if (text_is_name(entry->d_name))
            deployed_sweep(manager, entry->d_name);
    if (stream)
        closedir(stream);
}

/* The values go at once: whatever runs has read them. */
static int take_away(const Manager *manager, const char *name, Error *error)
{
    _cleanup_(freep) char *mark = deployed_project_path(manager, name, UNDEPLOYED);
    _cleanup_(freep) char *pipeline = deployed_pipeline_path(manager, name);
    _cleanup_(freep) char *configuration = deployed_project_path(manager, name, DEPLOYED_CONFIGURATION);
    if (deployed_replace_file(mark, "", error) < 0)
        return -1;
    if (unlink(pipeline) < 0 || file_sync_folder_of(pipeline) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be removed", pipeline);
    unlink(configuration);
    return 0;
}

static int not_deployed(const Manager *manager, const char *name, Error *error)
{
    _cleanup_(freep) char *written = text_is_name(name) ? deployed_written_path(manager, name) : NULL;
    if (!manager_find(manager, name))
        return MANAGER_E_NO_SUCH_CONNECTION;
    return error_set(error, ERROR_CONFIGURATION,
                     "\"%s\" was not deployed: it is defined in \"%s\"; remove that file, then \"wherryctl reload\"",
                     name, written ? written : "its pipeline file");
}

int manager_undeploy(Manager *manager, const char *name, bool commit, json_t **ret, Error *error)
{
    Connection *connection = manager_find(manager, name);
    if (manager->stopping)
        return MANAGER_E_STOPPING;
    if (!text_is_name(name) || !deployed_is(manager, name))
        return not_deployed(manager, name, error);
    if (manager_deploys_build(manager, name))
        return error_set(error, ERROR_TEMPORARY, "a deploy of \"%s\" is going on: try again when it has ended", name);
    _cleanup_(freep) char *destination = deployed_destination(manager, name);
    bool syncing = connection && connection->run && connection->run->task == SYNC_LOAD && connection->run->sync;
    if (commit) {
        _cleanup_(freep) char *written = deployed_written_path(manager, name);
        if (take_away(manager, name, error) < 0)
            return -1;
        if (connection && !written)
            connection->paused_known = false; /* deployed again it is new, and paused */
        log_message(LOG_NOTICE, &(LogContext){ .connection = name }, "undeployed");
        if (manager_reload(manager, NULL, NULL, error) < 0)
            return -1;
        deployed_sweep(manager, name);
    }
    *ret = json_pack("{s:s?, s:b}", "destination", destination, "syncing", syncing);
    return 0;
}
