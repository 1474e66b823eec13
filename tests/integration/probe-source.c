/*
 * A hostile source: the installed worker for files, with the same sandbox, whose reading is the attempts that
 * sandbox-attempts.c lists. The daemon starts it as "source-files" where --libexec-dir leads to it.
 *
 * It tells each result as a log line "probe: NAME: RESULT". What to aim at stands in the file "targets" of the
 * connection's own folder, a "key=value" per line; the key "try" names single attempts, else all are made that do not
 * end the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "connectors/sources/files/files.h"
#include "lib/basics/buffer.h"
#include "tests/integration/sandbox-attempts.h"

#define NAMES_MAX 64

typedef struct Probe {
    void *files; /* of the true source */
    char *folder;
} Probe;

typedef struct Plan {
    Target target;
    const char *names[NAMES_MAX];
    size_t name_count;
} Plan;

static int probe_open(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    void *files = NULL;
    if (source_files.open(&files, configuration, policy, error) < 0)
        return -1;
    Probe *probe = xcalloc(1, sizeof *probe);
    probe->files = files;
    probe->folder = xstrdup(json_string_value(json_object_get(json_object_get(configuration, "source"), "dir")));
    *ret = probe;
    return 0;
}

static int probe_check(void *source, Error *error)
{
    return 0;
}

static void probe_close(void *source)
{
    Probe *probe = source;
    source_files.close(probe->files);
    free(probe->folder);
    free(probe);
}

static void plan_add(Plan *plan, const char *key, char *value)
{
    if (strcmp(key, "outside") == 0)
        plan->target.outside = value;
    else if (strcmp(key, "socket") == 0)
        plan->target.socket = value;
    else if (strcmp(key, "datagram") == 0)
        plan->target.datagram = value;
    else if (strcmp(key, "abstract") == 0)
        plan->target.abstract = value;
    else if (strcmp(key, "port") == 0)
        plan->target.port = atoi(value);
    else if (strcmp(key, "try") == 0 && plan->name_count < NAMES_MAX)
        plan->names[plan->name_count++] = value;
}

/* The lines live as long as the process. */
static int plan_read(Plan *plan, const char *folder, Error *error)
{
    _cleanup_(freep) char *path = xasprintf("%s/targets", folder);
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, ERROR_DATA, "there is no \"%s\"", path);
    char line[4096];
    while (fgets(line, sizeof line, file)) {
        char *equals = strchr(line, '=');
        line[strcspn(line, "\n")] = '\0';
        if (!equals)
            continue;
        *equals = '\0';
        plan_add(plan, line, xstrdup(equals + 1));
    }
    fclose(file);
    plan->target.inside = folder;
    plan->target.victim = getppid();
    plan->target.setuid = "/nonexistent";
    return 0;
}

static void report(Worker *worker, const Attempt *attempt, const Target *target)
{
    char line[1024];
    attempt_report(attempt, target, line, sizeof line);
    worker_log(worker, LOG_NOTICE, "probe: %s", line);
}

static int probe_read(void *source, Worker *worker, Error *error)
{
    Probe *probe = source;
    Plan plan = { 0 };
    if (plan_read(&plan, probe->folder, error) < 0)
        return -1;
    for (size_t i = 0; i < plan.name_count; i++) {
        const Attempt *attempt = attempt_find(plan.names[i]);
        if (!attempt)
            return error_set(error, ERROR_DATA, "there is no attempt \"%s\"", plan.names[i]);
        report(worker, attempt, &plan.target);
    }
    for (const Attempt *attempt = attempt_first(); plan.name_count == 0 && attempt; attempt = attempt_next(attempt)) {
        if (!attempt->ends)
            report(worker, attempt, &plan.target);
    }
    return 0;
}

int main(int argc, char *argv[])
{
    static const Source source_probe = {
        .program = "source-files", .open = probe_open, .check = probe_check, .read = probe_read, .close = probe_close
    };
    return worker_main(argc, argv, &source_probe);
}
