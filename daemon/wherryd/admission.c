/*
 * Runs wait in the order in which they came, in one line per destination identity (a run without one has a line of its
 * own). Only the head of a line whose destination is free may start. Those heads stand in two heaps, of local and of
 * other runs, ordered by arrival; starting one is taking the older of the two tops that there is a place for. A line
 * whose run has ended puts its next head back with the arrival number it always had, so a run that was held up by its
 * destination is ahead of all who came later.
 *
 * Places: at most max_syncs at once, of which runs that are not local may hold all but one per core, and always one.
 */
#include "daemon/wherryd/admission.h"

#include <assert.h>
#include <search.h>
#include <string.h>

#include "lib/basics/buffer.h"

typedef struct Item Item;

typedef struct Line {
    char *identity; /* NULL: of a single item, not in the tree */
    Item *first, *last;
    Item *started; /* that holds the destination */
} Line;

struct Item {
    void *tag;
    uint64_t arrival;
    bool local;
    Line *line;
    Item *previous, *next; /* in the line; not while started */
    size_t heap_index;     /* while in a heap */
};

typedef struct Heap {
    Item **items; /* owned */
    size_t count, allocated;
} Heap;

struct Admission {
    uint32_t max_syncs, cores;
    uint64_t arrivals;
    size_t queued, started, started_remote;
    Heap ready[2]; /* heads of free lines: [local] */
    void *items;   /* tsearch() by tag */
    void *lines;   /* tsearch() by identity */
};

static void heap_place(Heap *heap, size_t index, Item *item)
{
    heap->items[index] = item;
    item->heap_index = index;
}

static void heap_up(Heap *heap, size_t index, Item *item)
{
    for (; index > 0 && heap->items[(index - 1) / 2]->arrival > item->arrival; index = (index - 1) / 2)
        heap_place(heap, index, heap->items[(index - 1) / 2]);
    heap_place(heap, index, item);
}

static void heap_down(Heap *heap, size_t index, Item *item)
{
    for (size_t child; (child = 2 * index + 1) < heap->count; index = child) {
        if (child + 1 < heap->count && heap->items[child + 1]->arrival < heap->items[child]->arrival)
            child++;
        if (heap->items[child]->arrival > item->arrival)
            break;
        heap_place(heap, index, heap->items[child]);
    }
    heap_place(heap, index, item);
}

static void heap_add(Heap *heap, Item *item)
{
    if (heap->count == heap->allocated) {
        heap->allocated = heap->allocated ? 2 * heap->allocated : 16;
        heap->items = xrealloc(heap->items, heap->allocated * sizeof *heap->items);
    }
    heap_up(heap, heap->count++, item);
}

static void heap_remove(Heap *heap, const Item *item)
{
    Item *moved = heap->items[--heap->count];
    size_t index = item->heap_index;
    if (moved == item)
        return;
    if (moved->arrival < item->arrival)
        heap_up(heap, index, moved);
    else
        heap_down(heap, index, moved);
}

static int compare_tags(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Item *)a)->tag, y = (uintptr_t)((const Item *)b)->tag;
    return (x > y) - (x < y);
}

static int compare_identities(const void *a, const void *b)
{
    return strcmp(((const Line *)a)->identity, ((const Line *)b)->identity);
}

Admission *admission_new(uint32_t max_syncs, uint32_t cores)
{
    Admission *admission = xcalloc(1, sizeof *admission);
    admission->cores = cores;
    admission_resize(admission, max_syncs);
    return admission;
}

void admission_resize(Admission *admission, uint32_t max_syncs)
{
    admission->max_syncs = max_syncs > 0 ? max_syncs : 1;
}

static Line *line_for(Admission *admission, const char *identity)
{
    Line *line = xcalloc(1, sizeof *line);
    if (!identity)
        return line;
    line->identity = xstrdup(identity);
    Line **found = tsearch(line, &admission->lines, compare_identities);
    if (!found)
        abort(); /* out of memory, as everywhere */
    if (*found == line)
        return line;
    free(line->identity);
    free(line);
    return *found;
}

static void line_free_if_empty(Admission *admission, Line *line)
{
    if (line->first || line->started)
        return;
    if (line->identity)
        tdelete(line, &admission->lines, compare_identities);
    free(line->identity);
    free(line);
}

static void line_head_ready(Admission *admission, Line *line)
{
    if (line->first && !line->started)
        heap_add(&admission->ready[line->first->local], line->first);
}

static void line_unlink(Line *line, Item *item)
{
    *(item->previous ? &item->previous->next : &line->first) = item->next;
    *(item->next ? &item->next->previous : &line->last) = item->previous;
    item->previous = item->next = NULL;
}

void admission_add(Admission *admission, void *tag, const char *identity, bool local)
{
    Item *item = xcalloc(1, sizeof *item);
    item->tag = tag;
    item->local = local;
    item->arrival = admission->arrivals++;
    Item **found = tsearch(item, &admission->items, compare_tags);
    if (!found)
        abort();
    assert(*found == item);
    Line *line = item->line = line_for(admission, identity);
    item->previous = line->last;
    *(line->last ? &line->last->next : &line->first) = item;
    line->last = item;
    admission->queued++;
    if (line->first == item)
        line_head_ready(admission, line);
}

static Item *top(const Heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}

static size_t remote_places(const Admission *admission)
{
    return admission->max_syncs > admission->cores ? admission->max_syncs - admission->cores : 1;
}

void *admission_next(Admission *admission)
{
    if (admission->started >= admission->max_syncs)
        return NULL;
    Item *item = top(&admission->ready[true]), *remote = top(&admission->ready[false]);
    if (remote && admission->started_remote < remote_places(admission) && (!item || remote->arrival < item->arrival))
        item = remote;
    if (!item)
        return NULL;
    heap_remove(&admission->ready[item->local], item);
    line_unlink(item->line, item);
    item->line->started = item;
    admission->queued--;
    admission->started++;
    admission->started_remote += !item->local;
    return item->tag;
}

void admission_remove(Admission *admission, void *tag)
{
    Item key = { .tag = tag };
    Item **found = tfind(&key, &admission->items, compare_tags);
    if (!found)
        return;
    Item *item = *found;
    Line *line = item->line;
    tdelete(item, &admission->items, compare_tags);
    if (line->started == item) {
        line->started = NULL;
        admission->started--;
        admission->started_remote -= !item->local;
        line_head_ready(admission, line);
    } else {
        bool was_ready = line->first == item && !line->started;
        if (was_ready)
            heap_remove(&admission->ready[item->local], item);
        line_unlink(line, item);
        admission->queued--;
        if (was_ready)
            line_head_ready(admission, line);
    }
    line_free_if_empty(admission, line);
    free(item);
}

size_t admission_queued(const Admission *admission)
{
    return admission->queued;
}

size_t admission_started(const Admission *admission)
{
    return admission->started;
}

Admission *admission_free(Admission *admission)
{
    if (!admission)
        return NULL;
    while (admission->items)
        admission_remove(admission,
                         (*(Item **)admission->items)->tag); /* the root node's key comes first: POSIX tsearch() */
    free(admission->ready[false].items);
    free(admission->ready[true].items);
    free(admission);
    return NULL;
}
