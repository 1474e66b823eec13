#pragma once
/* A private folder for a test of configuration files, which is where the test then stands. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "daemon/wherryd/config.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"

#define FREQUENCY "frequency: 15m\n"
#define SOURCE "source: {type: files, dir: in}\n"
#define FORMAT "format: csv\n"
#define TABLE "dest_table: t\n"
#define COLUMNS "columns: [{source: a, type: string}]\n"
#define DESTINATION "destination: {type: sqlite, path: x.db}\n"
#define ALL FREQUENCY SOURCE FORMAT TABLE COLUMNS DESTINATION

static char folder[64];

static inline int enter_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/wherry-config-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    char real[256]; /* TMPDIR may be a link */
    assert_non_null(getcwd(real, sizeof(real)));
    assert_string_equal(real, folder);
    return 0;
}

static inline int leave_folder(void **state)
{
    assert_int_equal(chdir("/"), 0);
    path_remove_tree(AT_FDCWD, folder);
    return access(folder, F_OK) == 0 ? -1 : 0;
}

/* The same, with etc/pipelines.d in it. */
static inline int enter_pipelines(void **state)
{
    enter_folder(state);
    assert_int_equal(mkdir("etc", 0700), 0);
    assert_int_equal(mkdir("etc/pipelines.d", 0700), 0);
    return 0;
}

#define in_pipelines(function) cmocka_unit_test_setup_teardown(function, enter_pipelines, leave_folder)

static inline void write_bytes(const char *path, const void *data, size_t n)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* TEXT with "@" in place of the private folder's name; the caller frees. */
static inline char *relative(const char *text)
{
    _cleanup_(buffer_clear) Buffer result = { 0 };
    while (*text) {
        bool here = strncmp(text, folder, strlen(folder)) == 0;
        buffer_append(&result, here ? "@" : text, 1);
        text += here ? strlen(folder) : 1;
    }
    return buffer_take_string(&result);
}

/* All that loading PATH has to say: problems, then warnings, joined by "\n". The caller frees. */
static inline char *said_of_set(const ConfigSet *set)
{
    _cleanup_(buffer_clear) Buffer said = { 0 };
    for (size_t i = 0; i < set->problem_count; i++)
        buffer_printf(&said, "%s%s", buffer_length(&said) > 0 ? "\n" : "", set->problems[i].message);
    for (size_t i = 0; i < set->warning_count; i++)
        buffer_printf(&said, "%s%s", buffer_length(&said) > 0 ? "\n" : "", set->warnings[i]);
    _cleanup_(freep) char *text = buffer_take_string(&said);
    return relative(text ? text : "");
}

static inline ConfigSet *load_file(const char *path, const char *lend_dir)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load_file("etc", "state", path, lend_dir, &set, &error), 0);
    assert_int_equal(error.kind, ERROR_NONE);
    return set;
}

/* What etc/ holds; PREVIOUS as of config_load(). */
static inline ConfigSet *load_all(const ConfigSet *previous)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    int r = config_load("etc", "state", previous, &set, &error);
    if (r < 0)
        print_error("%s\n", error.message);
    assert_int_equal(r, 0);
    return set;
}

static inline void expect_said(const ConfigSet *set, const char *expected)
{
    _cleanup_(freep) char *said = said_of_set(set);
    assert_string_equal(said, expected);
}
