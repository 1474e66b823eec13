/*
 * Checking is loading without running: the same code reads the same files, and what it found is printed as a compiler
 * prints it, one line each, so that editors jump to the place.
 */
#include "daemon/wherryd/check.h"

#include <stdbool.h>
#include <string.h>

#include "daemon/wherryd/config.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

typedef struct Tally {
    size_t good, broken, warnings;
    bool failed; /* as a whole */
} Tally;

static void print_set(const ConfigSet *set, Tally *tally, FILE *out)
{
    for (size_t i = 0; i < set->problem_count; i++)
        fprintf(out, "%s\n", set->problems[i].message);
    for (size_t i = 0; i < set->warning_count; i++)
        fprintf(out, "%s\n", set->warnings[i]);
    tally->good += set->connection_count;
    tally->broken += set->problem_count;
    tally->warnings += set->warning_count;
}

static void print_failure(const Error *error, Tally *tally, FILE *out)
{
    _cleanup_(freep) char *text = error_format(error);
    fprintf(out, "%s\n", text);
    tally->failed = true;
}

/* What a file is called matters only in pipelines.d, so it is a warning here. */
static void check_name(const char *path, Tally *tally, FILE *out)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t n = strlen(base);
    bool yaml = n > 5 && strcmp(base + n - 5, ".yaml") == 0;
    _cleanup_(freep) char *stem = xstrndup(base, yaml ? n - 5 : n);
    _cleanup_(freep) char *printable = text_escape(path, strlen(path));
    if (yaml && text_is_name(stem))
        return;
    fprintf(out, "%s: warning: in pipelines.d the file must be called NAME.yaml, NAME of a-z, 0-9 and _\n", printable);
    tally->warnings++;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static void print_summary(const Tally *tally, FILE *out)
{
    size_t n = tally->good + tally->broken;
    if (tally->failed && n == 0)
        return;
    fprintf(out, "%zu connection%s", n, plural(n));
    if (tally->broken == 0 && !tally->failed)
        fprintf(out, "%s", n > 0 ? ", all good" : "");
    else
        fprintf(out, ", %zu good, %zu broken", tally->good, tally->broken);
    if (tally->warnings > 0)
        fprintf(out, ", %zu warning%s", tally->warnings, plural(tally->warnings));
    fprintf(out, "\n");
}

int config_check(const char *config_dir, const char *state_dir, const char *const *files, size_t file_count, FILE *out)
{
    Tally tally = { 0 };
    for (size_t i = 0; i < MAX_OF(file_count, (size_t)1) && !tally.failed; i++) {
        _cleanup_(config_set_freep) ConfigSet *set = NULL;
        _cleanup_(error_clear) Error error = { 0 };
        int r = file_count == 0 ? config_load(config_dir, state_dir, NULL, &set, &error)
                                : config_load_file(config_dir, state_dir, files[i], NULL, &set, &error);
        if (r < 0) {
            print_failure(&error, &tally, out);
            continue;
        }
        print_set(set, &tally, out);
        if (file_count > 0)
            check_name(files[i], &tally, out);
    }
    print_summary(&tally, out);
    return tally.failed || tally.broken > 0 ? 2 : 0;
}
