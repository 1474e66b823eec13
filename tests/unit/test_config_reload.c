/* Reloads: they open only what changed, see all that did, and come to what a fresh start would. */
#include "tests/unit/config-files.h"

#include <sys/inotify.h>
#include <syslog.h>

#define SETTLED_US 60000 /* after this a file's times are trusted */

/* A reload after PREVIOUS, and which file it opened (the last one; "" for none). */
static ConfigSet *load_watched(const ConfigSet *previous, char ret_opened[static 64])
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, "etc/pipelines.d", IN_OPEN) >= 0);
    ConfigSet *set = load_all(previous);
    char events[4096] __attribute__((aligned(8)));
    ssize_t n;
    ret_opened[0] = '\0';
    while ((n = read(watch, events, sizeof(events))) > 0)
        for (char *at = events; at < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            if (event->len > 0) /* 0: the folder itself */
                snprintf(ret_opened, 64, "%s", event->name);
            at += sizeof(*event) + event->len;
        }
    close(watch);
    return set;
}

static void test_reload_opens_nothing_unchanged(void **state)
{
    for (int i = 0; i < 20; i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/c%d.yaml", i);
        write_text(path, i == 7 ? ALL "batch_size: 1\n" : ALL);
    }
    usleep(SETTLED_US);
    char opened[64];
    _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
    assert_int_equal(utimensat(AT_FDCWD, "etc/pipelines.d/c5.yaml", NULL, 0), 0);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *touched = load_watched(first, opened);
    assert_string_equal(opened, "c5.yaml");
    _cleanup_(config_set_freep) ConfigSet *second = load_watched(touched, opened);
    assert_string_equal(opened, "");
    assert_int_equal(second->connection_count, 20);
    for (size_t i = 0; i < 20; i++)
        assert_ptr_equal(first->connections[i], second->connections[i]);
    expect_said(second, "c7.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction");
    /* a connection outlives the set that it came from */
    ConnectionConfig *kept = connection_config_ref(second->connections[3]);
    first = config_set_free(first);
    second = config_set_free(second);
    assert_string_equal(kept->name, "c11");
    connection_config_free(kept);
}

static void test_reload_sees_changes(void **state)
{
    write_text("etc/pipelines.d/a.yaml", ALL);
    write_text("etc/pipelines.d/b.yaml", ALL);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
    write_text("etc/pipelines.d/a.yaml", ALL "paused: true\n");
    write_text("etc/pipelines.d/b.yaml", ALL "# the same in other words\n");
    _cleanup_(config_set_freep) ConfigSet *second = load_all(first);
    assert_ptr_not_equal(first->connections[0], second->connections[0]);
    assert_true(second->connections[0]->paused);
    assert_ptr_equal(first->connections[1], second->connections[1]);
    /* the same size, at once, with the modification time put back: the change time tells */
    struct stat before;
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *third = load_all(second);
    assert_int_equal(stat("etc/pipelines.d/a.yaml", &before), 0);
    write_text("etc/pipelines.d/a.yaml", ALL "paused: fals\n");
    assert_int_equal(
        utimensat(AT_FDCWD, "etc/pipelines.d/a.yaml", (struct timespec[]){ before.st_atim, before.st_mtim }, 0), 0);
    usleep(SETTLED_US);
    _cleanup_(config_set_freep) ConfigSet *fourth = load_all(third);
    expect_said(fourth, "a.yaml:7:9: \"paused\" must be true or false, not \"fals\"");
    /* new defaults concern everybody */
    write_text("etc/wherry.yaml", "defaults: {log_level: debug}\n");
    _cleanup_(config_set_freep) ConfigSet *fifth = load_all(fourth);
    assert_int_equal(config_set_find(fifth, "b")->log_level, LOG_DEBUG);
}

/* Two edits within one tick of the kernel's clock leave the same times behind. */
static void test_reload_sees_quick_changes(void **state)
{
    for (int i = 0; i < 100; i++) {
        write_text("etc/pipelines.d/a.yaml", ALL "retry_cap: 1\n");
        _cleanup_(config_set_freep) ConfigSet *first = load_all(NULL);
        write_text("etc/pipelines.d/a.yaml", ALL "retry_cap: 2\n");
        _cleanup_(config_set_freep) ConfigSet *second = load_all(first);
        assert_int_equal(second->connections[0]->retry_cap, 2);
    }
}

static bool same_sets(const ConfigSet *a, const ConfigSet *b)
{
    bool same = a->connection_count == b->connection_count && a->problem_count == b->problem_count &&
                a->warning_count == b->warning_count;
    for (size_t i = 0; same && i < a->connection_count; i++)
        same = strcmp(a->connections[i]->name, b->connections[i]->name) == 0 &&
               strcmp(a->connections[i]->json, b->connections[i]->json) == 0;
    for (size_t i = 0; same && i < a->problem_count; i++)
        same = strcmp(a->problems[i].message, b->problems[i].message) == 0;
    for (size_t i = 0; same && i < a->warning_count; i++)
        same = strcmp(a->warnings[i], b->warnings[i]) == 0;
    return same;
}

/* Whatever is done to the files, a reload comes to what a fresh start would. */
static void test_reload_property(void **state)
{
    static const char *const contents[] = { ALL, ALL "paused: true\n", ALL "batch_size: 1\n", ALL "zzzz: 1\n",
                                            "[", ALL "retry_cap: 1\n", ALL "retry_cap: 2\n" };
    unsigned seed = 20240229;
    _cleanup_(config_set_freep) ConfigSet *current = load_all(NULL);
    for (int step = 0; step < 300; step++) {
        for (int edits = rand_r(&seed) % 4; edits > 0; edits--) {
            char path[64], other[64];
            snprintf(path, sizeof(path), "etc/pipelines.d/c%d.yaml", rand_r(&seed) % 6);
            snprintf(other, sizeof(other), "etc/pipelines.d/c%d.yaml", rand_r(&seed) % 6);
            switch (rand_r(&seed) % 4) {
            case 0:
                unlink(path);
                break;
            case 1:
                rename(path, other);
                break;
            default:
                write_text(path, contents[(size_t)rand_r(&seed) % ELEMENTSOF(contents)]);
            }
        }
        if (rand_r(&seed) % 20 == 0)
            write_text("etc/wherry.yaml", rand_r(&seed) % 2 ? "defaults: {max_value_size: 1M}\n" : "# none\n");
        if (rand_r(&seed) % 10 == 0)
            usleep(SETTLED_US);
        ConfigSet *next = load_all(current);
        _cleanup_(config_set_freep) ConfigSet *fresh = load_all(NULL);
        assert_true(same_sets(next, fresh));
        config_set_free(current);
        current = next;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_pipelines(test_reload_opens_nothing_unchanged),
        in_pipelines(test_reload_sees_changes),
        in_pipelines(test_reload_sees_quick_changes),
        in_pipelines(test_reload_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
