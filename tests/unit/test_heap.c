/* The heap of due times against a plain search, under random puts, moves and removals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/wherryd/heap.h"
#include "lib/basics/cleanup.h"

#define NODES 300
#define STEPS 200000

static int64_t earliest(const HeapNode *nodes)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < NODES; i++)
        if (nodes[i].place > 0 && nodes[i].due_ms < first)
            first = nodes[i].due_ms;
    return first;
}

static void test_first_is_always_the_earliest(void **state)
{
    static HeapNode nodes[NODES];
    Heap heap = {};
    srandom(1);
    for (int step = 0; step < STEPS; step++) {
        HeapNode *node = &nodes[random() % NODES];
        if (random() % 3 == 0)
            heap_remove(&heap, node);
        else
            heap_set(&heap, node, random() % 1000);
        const HeapNode *first = heap_first(&heap);
        assert_int_equal(first ? first->due_ms : INT64_MAX, earliest(nodes));
    }
    for (size_t i = 0; i < heap.count; i++)
        assert_int_equal(heap.nodes[i]->place, i + 1);
    heap_clear(&heap);
    assert_null(heap_first(&heap));
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(nodes[i].place, 0);
}

static void test_they_come_out_in_order(void **state)
{
    static HeapNode nodes[NODES];
    Heap heap = {};
    srandom(2);
    for (size_t i = 0; i < NODES; i++)
        heap_set(&heap, &nodes[i], random());
    int64_t before = 0;
    for (size_t left = NODES; left > 0; left--) {
        HeapNode *first = heap_first(&heap);
        assert_true(first->due_ms >= before);
        before = first->due_ms;
        heap_remove(&heap, first);
        assert_int_equal(heap.count, left - 1);
    }
    heap_clear(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_first_is_always_the_earliest),
                                        cmocka_unit_test(test_they_come_out_in_order) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
