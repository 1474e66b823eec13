/* Sorting in memory, in a few runs and in rounds of many, against qsort(); and a file that takes no more. */
#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "connectors/writer/spool.h"

static void check(size_t count, size_t memory_max, int orders, size_t payload_max)
{
    int fd = memfd_create("spool", MFD_CLOEXEC);
    Spool *spool = spool_new(fd, memory_max);
    Error error = { 0 };
    for (int round = 0; round < 2; round++) {
        size_t *seen = calloc((size_t)orders, sizeof(*seen));
        char *payload = calloc(1, payload_max + sizeof(size_t));
        for (size_t i = 0; i < count; i++) {
            char order[16];
            int n = snprintf(order, sizeof(order), "%d", (int)(random() % orders));
            memcpy(payload, &i, sizeof(i));
            SpoolRecord record = { (uint8_t *)order, (uint8_t *)payload, (uint32_t)n,
                                   (uint32_t)(sizeof(i) + (size_t)random() % (payload_max + 1)) };
            seen[atoi(order)]++;
            assert_int_equal(spool_add(spool, &record, &error), 0);
        }
        assert_int_equal(spool_sort(spool, &error), 0);
        SpoolRecord record, before = { 0 };
        size_t total = 0;
        int r;
        while ((r = spool_next(spool, &record, &error)) == 0) {
            char order[16] = "";
            memcpy(order, record.order, record.order_length);
            assert_true(seen[atoi(order)]-- > 0);
            if (total++ > 0) {
                /* the one before is still there */
                int c = memcmp(before.order, record.order, MIN_OF(before.order_length, record.order_length));
                assert_true(c < 0 || (c == 0 && before.order_length <= record.order_length));
                size_t a, b;
                memcpy(&a, before.payload, sizeof(a));
                memcpy(&b, record.payload, sizeof(b));
                if (c == 0 && before.order_length == record.order_length)
                    assert_true(a < b);
            }
            before = record;
        }
        assert_int_equal(r, SPOOL_E_END);
        assert_int_equal(total, count);
        spool_reset(spool);
        free(seen);
        free(payload);
    }
    spool_free(spool);
    close(fd);
}

static void test_in_memory(void **state)
{
    check(0, 1 << 20, 1, 0);
    check(1, 1 << 20, 1, 0);
    check(5000, 1 << 20, 500, 10);
}

static void test_in_runs(void **state)
{
    check(5000, 20000, 500, 10);
    check(20000, 2000, 100000, 30); /* hundreds of runs: several rounds */
    check(3000, 1, 100, 100);       /* each record a run */
    check(50000, 1, 100, 0);        /* the time that one takes must not grow with their number */
    check(20, 1000, 5, 300000);     /* records larger than memory and than what is read at once */
}

/* COUNT records of so many bytes, and what the spool's buffers take at most; MEMORY_MAX has room for none of them. */
static size_t peak_memory(int count, uint32_t order_length, uint32_t payload_length, size_t memory_max)
{
    int fd = memfd_create("spool", MFD_CLOEXEC), total = 0, r;
    Spool *spool = spool_new(fd, memory_max);
    Error error = { 0 };
    uint8_t *order = calloc(1, order_length), *payload = calloc(1, payload_length);
    size_t peak = 0, before = SIZE_MAX;
    for (int i = 0; i < count; i++) {
        order[order_length - 1] = (uint8_t)(count - i);
        payload[payload_length - 1] = (uint8_t)(count - i);
        SpoolRecord record = { order, payload, order_length, payload_length };
        assert_int_equal(spool_add(spool, &record, &error), 0);
        peak = MAX_OF(peak, spool_memory(spool));
    }
    assert_int_equal(spool_sort(spool, &error), 0);
    peak = MAX_OF(peak, spool_memory(spool));
    SpoolRecord record;
    while ((r = spool_next(spool, &record, &error)) == 0) {
        peak = MAX_OF(peak, spool_memory(spool));
        assert_int_equal(record.order_length, order_length);
        assert_int_equal(record.payload_length, payload_length);
        assert_int_equal(record.order[order_length - 1], record.payload[payload_length - 1]);
        assert_true(before == SIZE_MAX || record.payload[payload_length - 1] == before + 1);
        before = record.payload[payload_length - 1];
        total++;
    }
    assert_int_equal(r, SPOOL_E_END);
    assert_int_equal(total, count);
    free(order);
    free(payload);
    spool_free(spool);
    close(fd);
    return peak;
}

static void test_large_records_take_the_memory_of_a_few(void **state)
{
    enum { LARGE = 1 << 20, MEMORY = 100 << 10, PIECES = 32 * 3 * (16 << 10) };
    /* two copies for the caller, the one whose turn it is, and what growing takes */
    assert_true(peak_memory(100, 4, LARGE, MEMORY) <= 5 * LARGE + PIECES);
    /* orders: those of the two runs that are merged at least */
    assert_true(peak_memory(100, LARGE, 4, MEMORY) <= 8 * LARGE + PIECES);
    assert_true(peak_memory(100, LARGE / 2, LARGE / 2, MEMORY) <= 8 * LARGE + PIECES);
}

static void test_a_full_disk(void **state)
{
    int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    Spool *spool = spool_new(fd, 1000);
    Error error = { 0 };
    int r = 0;
    for (int i = 0; r == 0 && i < 100000; i++)
        r = spool_add(spool, &(SpoolRecord){ (const uint8_t *)"order", (const uint8_t *)"payload", 5, 7 }, &error);
    assert_int_equal(r, -1);
    assert_int_equal(error.kind, ERROR_TEMPORARY);
    assert_non_null(strstr(error.message, "cannot set rows aside for sorting in a temporary file: no space left"));
    error_clear(&error);
    spool_free(spool);
    close(fd);
}

/* What is there is merged without more room, if need be of all runs at once. */
static void test_a_disk_that_is_full_before_the_runs_are_merged(void **state)
{
    enum { RUNS = 200, RECORDS = 5 };
    int fd = memfd_create("spool", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;
    Spool *spool = spool_new(fd, 1000);
    Error error = { 0 };
    for (uint32_t i = 0; i < RUNS * RECORDS; i++) {
        uint32_t order = htobe32(i % RECORDS * RUNS + (i * 7 / RECORDS) % RUNS);
        SpoolRecord record = { (const uint8_t *)&order, (const uint8_t *)&order, sizeof(order), sizeof(order) };
        assert_int_equal(spool_add_sorted(spool, &record, &error), 0);
        if (i % RECORDS == RECORDS - 1)
            assert_int_equal(spool_end_run(spool, &error), 0);
    }
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE), 0);
    assert_int_equal(spool_sort(spool, &error), 0);
    SpoolRecord record;
    uint32_t total = 0, before = 0, order;
    while ((r = spool_next(spool, &record, &error)) == 0) {
        memcpy(&order, record.order, sizeof(order));
        assert_memory_equal(record.payload, record.order, sizeof(order));
        assert_true(total++ == 0 || be32toh(order) >= before);
        before = be32toh(order);
    }
    assert_int_equal(r, SPOOL_E_END);
    assert_int_equal(total, RUNS * RECORDS);
    spool_free(spool);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_in_runs),
        cmocka_unit_test(test_large_records_take_the_memory_of_a_few),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_a_disk_that_is_full_before_the_runs_are_merged),
    };
    srandom(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
