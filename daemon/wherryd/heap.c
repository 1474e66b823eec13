/*
 * Ten thousand connections, one timer: the heap says which of them is due first. A node carries its own place, because
 * a connection's due time changes far more often (a sync by hand, a pause, a reload) than it comes to the top.
 */
#include <stdlib.h>

#include "daemon/wherryd/heap.h"
#include "lib/basics/buffer.h"

void heap_clear(Heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->nodes[i]->place = 0;
    free(heap->nodes);
    *heap = (Heap){};
}

static void put(Heap *heap, size_t index, HeapNode *node)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

static void up(Heap *heap, size_t index)
{
    HeapNode *node = heap->nodes[index];
    while (index > 0 && heap->nodes[(index - 1) / 2]->due_ms > node->due_ms) {
        put(heap, index, heap->nodes[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    put(heap, index, node);
}

static void down(Heap *heap, size_t index)
{
    HeapNode *node = heap->nodes[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->nodes[child + 1]->due_ms < heap->nodes[child]->due_ms)
            child++;
        if (heap->nodes[child]->due_ms >= node->due_ms)
            break;
        put(heap, index, heap->nodes[child]);
        index = child;
    }
    put(heap, index, node);
}

void heap_set(Heap *heap, HeapNode *node, int64_t due_ms)
{
    if (node->place == 0) {
        if (heap->count == heap->allocated) {
            heap->allocated = MAX_OF(2 * heap->allocated, (size_t)64);
            heap->nodes = xrealloc(heap->nodes, heap->allocated * sizeof *heap->nodes);
        }
        put(heap, heap->count++, node);
    }
    node->due_ms = due_ms;
    up(heap, node->place - 1);
    down(heap, node->place - 1);
}

void heap_remove(Heap *heap, HeapNode *node)
{
    if (node->place == 0)
        return;
    size_t index = node->place - 1;
    HeapNode *last = heap->nodes[--heap->count];
    node->place = 0;
    if (last == node)
        return;
    put(heap, index, last);
    up(heap, index);
    down(heap, last->place - 1);
}
