#pragma once
/* A binary heap of due times. Its nodes lie in the caller's structs and know their place, so that one can move or leave
 * at any time. */
#include <stddef.h>
#include <stdint.h>

typedef struct HeapNode {
    int64_t due_ms;
    size_t place; /* 1-based; 0: not in a heap */
} HeapNode;

typedef struct Heap {
    HeapNode **nodes; /* owned array of borrowed nodes; nodes[0] is the earliest */
    size_t count, allocated;
} Heap;

void heap_clear(Heap *heap);
void heap_set(Heap *heap, HeapNode *node, int64_t due_ms); /* puts it in, or moves it */
void heap_remove(Heap *heap, HeapNode *node);              /* fine where it is not in */
static inline HeapNode *heap_first(const Heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
