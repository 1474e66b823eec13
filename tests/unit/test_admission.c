/*
 * Admission against a model that a reader can check by eye: one array in order of arrival, searched from its front.
 * Random adds, ends, cancellations and changes of max_syncs must start the same runs in the same order as the model
 * does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/wherryd/admission.h"
#include "lib/basics/buffer.h"

static void assert_next(Admission *admission, const char *expected)
{
    const char *tag = admission_next(admission);
    if (!expected)
        assert_null(tag);
    else
        assert_string_equal(tag ? tag : "nothing", expected);
}

static void test_first_come_first_served(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(2, 1);
    assert_next(admission, NULL);
    char a[] = "a", b[] = "b", c[] = "c", d[] = "d";
    admission_add(admission, a, NULL, true);
    admission_add(admission, b, NULL, true);
    admission_add(admission, c, NULL, true);
    admission_add(admission, d, NULL, true);
    assert_next(admission, "a");
    assert_next(admission, "b");
    assert_next(admission, NULL); /* both places are taken */
    assert_int_equal(admission_queued(admission), 2);
    assert_int_equal(admission_started(admission), 2);
    admission_remove(admission, c); /* cancelled in the queue */
    admission_remove(admission, a);
    assert_next(admission, "d");
    assert_next(admission, NULL);
    admission_remove(admission, c); /* unknown by now */
    assert_int_equal(admission_queued(admission), 0);
    assert_int_equal(admission_started(admission), 2);
}

static void test_one_destination_one_run(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(8, 2);
    char a[] = "a", b[] = "b", c[] = "c", other[] = "other";
    char identity[] = "/srv/x.db"; /* copied: it changes below */
    admission_add(admission, a, identity, true);
    admission_add(admission, b, identity, true);
    admission_add(admission, c, identity, true);
    identity[5] = 'y';
    admission_add(admission, other, identity, true);
    assert_next(admission, "a");
    assert_next(admission, "other"); /* not held up by the line before it */
    assert_next(admission, NULL);
    admission_remove(admission, b);
    assert_next(admission, NULL);
    admission_remove(admission, a);
    assert_next(admission, "c");
    admission_remove(admission, c);
    admission_add(admission, c, "/srv/x.db", true);
    assert_next(admission, "c"); /* the line was empty and is back */
}

/* A run that its destination holds up is ahead of all who came later, however many keep coming. */
static void test_held_up_is_not_starved(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(1, 1);
    char holder[] = "holder", held[] = "held", crowd[50] = { 0 };
    admission_add(admission, holder, "x", true);
    admission_add(admission, held, "x", false);
    for (size_t i = 0; i < sizeof crowd; i++)
        admission_add(admission, &crowd[i], NULL, i % 2 == 0);
    assert_next(admission, "holder");
    admission_remove(admission, holder);
    assert_next(admission, "held");
}

static void test_places_for_local_ones(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(4, 2);
    char tags[][8] = { "remote1", "remote2", "remote3", "local1", "local2", "local3" };
    for (size_t i = 0; i < 6; i++)
        admission_add(admission, tags[i], NULL, i >= 3);
    assert_next(admission, "remote1");
    assert_next(admission, "remote2");
    assert_next(admission, "local1"); /* two places are kept for these */
    assert_next(admission, "local2");
    assert_next(admission, NULL);
    admission_remove(admission, tags[3]);
    assert_next(admission, "local3");
    admission_remove(admission, tags[0]);
    assert_next(admission, "remote3");
}

static void test_remote_ones_always_have_a_place(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(2, 16);
    char remote[] = "remote", second[] = "second", local[] = "local";
    admission_add(admission, remote, NULL, false);
    admission_add(admission, second, NULL, false);
    admission_add(admission, local, NULL, true);
    assert_next(admission, "remote");
    assert_next(admission, "local");
    assert_next(admission, NULL);
}

static void test_resize(void **state)
{
    _cleanup_(admission_freep) Admission *admission = admission_new(3, 1);
    char tags[6][2] = { "a", "b", "c", "d", "e", "f" };
    for (size_t i = 0; i < 6; i++)
        admission_add(admission, tags[i], NULL, true);
    for (size_t i = 0; i < 3; i++)
        assert_next(admission, tags[i]);
    admission_resize(admission, 1);
    admission_remove(admission, tags[0]);
    assert_next(admission, NULL);
    admission_remove(admission, tags[1]);
    assert_next(admission, NULL);
    admission_remove(admission, tags[2]);
    assert_next(admission, "d");
    assert_next(admission, NULL);
    admission_resize(admission, 0); /* counts as 1 */
    admission_remove(admission, tags[3]);
    assert_next(admission, "e");
    admission_resize(admission, 2);
    assert_next(admission, "f");
}

/* --- the model --- */

#define TAGS 400

typedef struct Run {
    int identity; /* 0: none */
    bool local, started;
    int tag;
} Run;

typedef struct Model {
    Run runs[TAGS]; /* in order of arrival */
    size_t count;
    size_t max_syncs, cores;
} Model;

static size_t model_started(const Model *model, bool remote_only)
{
    size_t n = 0;
    for (size_t i = 0; i < model->count; i++)
        n += model->runs[i].started && !(remote_only && model->runs[i].local);
    return n;
}

/* In a line, nobody overtakes. */
static bool model_held_up(const Model *model, size_t index)
{
    for (size_t i = 0; i < model->count; i++)
        if (i != index && model->runs[i].identity != 0 && model->runs[i].identity == model->runs[index].identity &&
            (model->runs[i].started || i < index))
            return true;
    return false;
}

static int model_next(Model *model)
{
    size_t remote_places = model->max_syncs > model->cores ? model->max_syncs - model->cores : 1;
    if (model_started(model, false) >= model->max_syncs)
        return -1;
    for (size_t i = 0; i < model->count; i++) {
        Run *run = &model->runs[i];
        if (run->started || model_held_up(model, i) || (!run->local && model_started(model, true) >= remote_places))
            continue;
        run->started = true;
        return run->tag;
    }
    return -1;
}

static void model_remove(Model *model, size_t index)
{
    memmove(&model->runs[index], &model->runs[index + 1], (--model->count - index) * sizeof *model->runs);
}

static void test_against_model(void **state)
{
    const char *text = getenv("WHERRY_TEST_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : 1;
    print_message("seed %u\n", seed);
    srandom(seed);
    static char tags[TAGS];
    Model model = { .max_syncs = 8, .cores = 3 };
    bool used[TAGS] = { false };
    size_t started = 0;
    _cleanup_(admission_freep) Admission *admission = admission_new(8, 3);
    for (size_t step = 0; step < 60000; step++) {
        long dice = random() % 100;
        int tag = (int)(random() % TAGS);
        if (dice < 52 && !used[tag]) {
            Run run = { .identity = (int)(random() % 12), .local = random() % 2 == 0, .tag = tag };
            char identity[16];
            (void)snprintf(identity, sizeof identity, "%d", run.identity);
            admission_add(admission, &tags[tag], run.identity ? identity : NULL, run.local);
            model.runs[model.count++] = run;
            used[tag] = true;
        } else if (dice < 98 && model.count > 0) {
            size_t index = (size_t)random() % model.count;
            if (random() % 4 != 0) /* mostly, what runs ends */
                for (index = 0; index + 1 < model.count && !model.runs[index].started; index++)
                    ;
            admission_remove(admission, &tags[model.runs[index].tag]);
            used[model.runs[index].tag] = false;
            model_remove(&model, index);
        } else if (dice >= 98) {
            model.max_syncs = (size_t)(random() % 12) + 1;
            admission_resize(admission, (uint32_t)model.max_syncs);
        }
        int expected;
        do {
            const char *got = admission_next(admission);
            expected = model_next(&model);
            assert_int_equal(got ? (int)(got - tags) : -1, expected);
            started += expected >= 0;
        } while (expected >= 0);
        assert_int_equal(admission_started(admission), model_started(&model, false));
        assert_int_equal(admission_queued(admission) + admission_started(admission), model.count);
    }
    assert_true(started > 10000);
}

static double seconds_for(size_t count)
{
    _cleanup_(freep) char *tags = xcalloc(count, 1);
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    Admission *admission = admission_new(4, 2);
    for (size_t i = 0; i < count; i++) {
        char identity[16];
        (void)snprintf(identity, sizeof identity, "%zu", i % 100);
        admission_add(admission, &tags[i], i % 2 ? identity : NULL, i % 3 == 0);
    }
    char *tag;
    size_t ended = 0;
    while ((tag = admission_next(admission))) {
        admission_remove(admission, tag);
        ended++;
    }
    assert_int_equal(ended, count);
    admission_free(admission);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* Sixteen times as many take about sixteen times as long; a search through the queue would take 256 times as long. */
static void test_scales(void **state)
{
    (void)seconds_for(10000);
    double few = seconds_for(10000), many = seconds_for(160000);
    print_message("10000 runs: %.1f ms, 160000 runs: %.1f ms\n", few * 1e3, many * 1e3);
    assert_true(many < few * 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_one_destination_one_run),
        cmocka_unit_test(test_held_up_is_not_starved),
        cmocka_unit_test(test_places_for_local_ones),
        cmocka_unit_test(test_remote_ones_always_have_a_place),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
