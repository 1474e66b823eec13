/*
 * External merge sort.
 *
 * A run is written when memory is full, and holds its records in order, each as u32 length of the order, u32 length of
 * the payload, order, payload. More runs than can be merged at once are first merged into longer ones at the end of the
 * file; its space is given back with the file.
 *
 * While runs are merged each has a piece of itself in memory, which holds the order of its next record: all that is
 * compared. The payload is read when the record's turn has come, so that many runs of large records take no more than
 * many of small ones; and where the orders themselves are large, fewer runs are merged at once.
 */
#include "connectors/writer/spool.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "lib/basics/path.h"

#define HEADER_SIZE 8
#define FAN_IN_MAX 32
#define READ_SIZE_MIN (16 << 10)
#define WRITE_SIZE (64u << 10)

typedef struct Run {
    off_t start;
    off_t at, end;   /* of what has not been read */
    Buffer buffer;   /* read, from the record that comes next: at least its order */
    size_t record;   /* size of that record */
    size_t front;    /* the most that a header and an order take in this run */
    unsigned number; /* of equal records that of the earlier run comes first */
} Run;

struct Spool {
    int fd;
    size_t memory_max;
    Buffer records; /* in memory */
    size_t *offsets;
    size_t count, allocated;
    Run *runs;
    size_t run_count, runs_allocated;
    off_t end;    /* of the file's used part */
    size_t front; /* the largest one of the run that is being written */
    Buffer out;
    off_t run_start; /* of one that comes in order */
    bool run_is_open;
    bool sorted, merging;
    size_t next;  /* of the records in memory */
    size_t *heap; /* runs by their front records */
    size_t heap_count;
    size_t merged;  /* runs at once */
    Buffer last[2]; /* copies of the last two records that came from runs */
    unsigned turn;
};

int spool_open_file(void)
{
    int fd = path_open_nameless("/var/tmp");
    return fd >= 0 ? fd : path_open_nameless("/tmp");
}

Spool *spool_new(int fd, size_t memory_max)
{
    Spool *spool = xcalloc(1, sizeof(*spool));
    spool->fd = fd;
    spool->memory_max = memory_max;
    return spool;
}

static void free_runs(Spool *spool)
{
    for (size_t i = 0; i < spool->run_count; i++)
        buffer_clear(&spool->runs[i].buffer);
    spool->run_count = 0;
}

void spool_reset(Spool *spool)
{
    free_runs(spool);
    buffer_clear(&spool->records);
    buffer_clear(&spool->out);
    buffer_clear(&spool->last[0]);
    buffer_clear(&spool->last[1]);
    free(spool->offsets);
    free(spool->heap);
    spool->offsets = spool->heap = NULL;
    spool->count = spool->allocated = spool->next = spool->heap_count = 0;
    spool->sorted = spool->merging = spool->run_is_open = false;
    spool->end = 0;
    if (spool->fd >= 0)
        (void)!ftruncate(spool->fd, 0); /* where it cannot be shortened it is written over */
}

size_t spool_memory(const Spool *spool)
{
    size_t memory = spool->records.allocated + spool->allocated * sizeof(*spool->offsets) + spool->out.allocated +
                    spool->last[0].allocated + spool->last[1].allocated;
    for (size_t i = 0; i < spool->run_count; i++)
        memory += spool->runs[i].buffer.allocated;
    return memory;
}

Spool *spool_free(Spool *spool)
{
    if (!spool)
        return NULL;
    spool_reset(spool);
    free(spool->runs);
    free(spool);
    return NULL;
}

/* --- records --- */

static size_t record_size(const uint8_t *at)
{
    uint32_t lengths[2];
    memcpy(lengths, at, sizeof(lengths));
    return HEADER_SIZE + (size_t)lengths[0] + lengths[1];
}

/* Of its header and its order. */
static size_t record_front(const uint8_t *at)
{
    uint32_t order_length;
    memcpy(&order_length, at, sizeof(order_length));
    return HEADER_SIZE + (size_t)order_length;
}

static SpoolRecord record_at(const uint8_t *at)
{
    uint32_t lengths[2];
    memcpy(lengths, at, sizeof(lengths));
    return (SpoolRecord){ .order = at + HEADER_SIZE,
                          .order_length = lengths[0],
                          .payload = at + HEADER_SIZE + lengths[0],
                          .payload_length = lengths[1] };
}

static int compare_records(const uint8_t *a, const uint8_t *b)
{
    SpoolRecord first = record_at(a), second = record_at(b);
    int r = memcmp(first.order, second.order, MIN_OF(first.order_length, second.order_length));
    return r ? r : (first.order_length > second.order_length) - (first.order_length < second.order_length);
}

static int compare_offsets(const void *a, const void *b, void *records)
{
    size_t first = *(const size_t *)a, second = *(const size_t *)b;
    int r = compare_records((const uint8_t *)records + first, (const uint8_t *)records + second);
    return r ? r : (first > second) - (first < second);
}

static void sort_memory(Spool *spool)
{
    if (spool->count > 0)
        qsort_r(spool->offsets, spool->count, sizeof(*spool->offsets), compare_offsets, buffer_bytes(&spool->records));
}

/* --- the file --- */

static int write_bytes(Spool *spool, const uint8_t *at, size_t left, Error *error)
{
    while (left > 0) {
        ssize_t n = pwrite(spool->fd, at, left, spool->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set_errno(error, ERROR_TEMPORARY, n < 0 ? errno : ENOSPC,
                                   "cannot set rows aside for sorting in a temporary file");
        at += n;
        left -= (size_t)n;
        spool->end += n;
    }
    return 0;
}

static int write_out(Spool *spool, Error *error)
{
    if (write_bytes(spool, buffer_bytes(&spool->out), buffer_length(&spool->out), error) < 0)
        return -1;
    buffer_reset(&spool->out);
    return 0;
}

static int put_out(Spool *spool, const SpoolRecord *record, Error *error)
{
    uint32_t lengths[2] = { record->order_length, record->payload_length };
    size_t front = HEADER_SIZE + (size_t)lengths[0], size = front + lengths[1];
    spool->front = MAX_OF(spool->front, front);
    if (buffer_length(&spool->out) + size > WRITE_SIZE && write_out(spool, error) < 0)
        return -1;
    if (size > WRITE_SIZE)
        return write_bytes(spool, (const uint8_t *)lengths, sizeof(lengths), error) < 0 ||
                       write_bytes(spool, record->order, lengths[0], error) < 0
                   ? -1
                   : write_bytes(spool, record->payload, lengths[1], error);
    buffer_append(&spool->out, lengths, sizeof(lengths));
    buffer_append(&spool->out, record->order, lengths[0]);
    buffer_append(&spool->out, record->payload, lengths[1]);
    return 0;
}

static void add_run(Spool *spool, off_t start)
{
    if (spool->run_count == spool->runs_allocated) {
        spool->runs_allocated = spool->runs_allocated ? spool->runs_allocated * 2 : FAN_IN_MAX;
        spool->runs = xrealloc(spool->runs, spool->runs_allocated * sizeof(*spool->runs));
    }
    spool->runs[spool->run_count] = (Run){
        .start = start, .at = start, .end = spool->end, .front = spool->front, .number = (unsigned)spool->run_count
    };
    spool->run_count++;
    spool->front = 0;
}

static int spill(Spool *spool, Error *error)
{
    off_t start = spool->end;
    sort_memory(spool);
    for (size_t i = 0; i < spool->count; i++) {
        SpoolRecord record = record_at(buffer_bytes(&spool->records) + spool->offsets[i]);
        if (put_out(spool, &record, error) < 0)
            return -1;
    }
    if (write_out(spool, error) < 0)
        return -1;
    add_run(spool, start);
    buffer_reset(&spool->records);
    buffer_trim(&spool->records, 2 * spool->memory_max); /* one record alone may have been larger */
    spool->count = 0;
    return 0;
}

int spool_add_sorted(Spool *spool, const SpoolRecord *record, Error *error)
{
    assert(!spool->sorted && spool->count == 0);
    if (!spool->run_is_open)
        spool->run_start = spool->end;
    spool->run_is_open = true;
    return put_out(spool, record, error);
}

int spool_end_run(Spool *spool, Error *error)
{
    if (!spool->run_is_open)
        return 0;
    if (write_out(spool, error) < 0)
        return -1;
    add_run(spool, spool->run_start);
    spool->run_is_open = false;
    return 0;
}

void spool_drop_run(Spool *spool)
{
    if (spool->run_is_open)
        spool->end = spool->run_start;
    spool->run_is_open = false;
    spool->front = 0;
    buffer_reset(&spool->out);
}

uint64_t spool_size(const Spool *spool)
{
    return (uint64_t)spool->end;
}

int spool_add(Spool *spool, const SpoolRecord *record, Error *error)
{
    assert(!spool->sorted);
    size_t size = HEADER_SIZE + (size_t)record->order_length + record->payload_length;
    size_t used = buffer_length(&spool->records) + spool->count * sizeof(*spool->offsets);
    if (spool->count > 0 && used + size > spool->memory_max && spill(spool, error) < 0)
        return -1;
    if (spool->count == spool->allocated) {
        spool->allocated = spool->allocated ? spool->allocated * 2 : 1024;
        spool->offsets = xrealloc(spool->offsets, spool->allocated * sizeof(*spool->offsets));
    }
    spool->offsets[spool->count++] = buffer_length(&spool->records);
    uint32_t lengths[2] = { record->order_length, record->payload_length };
    buffer_append(&spool->records, lengths, sizeof(lengths));
    buffer_append(&spool->records, record->order, record->order_length);
    buffer_append(&spool->records, record->payload, record->payload_length);
    return 0;
}

/* --- merging --- */

/* What is read of a run at once. */
static size_t piece_size(const Spool *spool)
{
    return MAX_OF(spool->memory_max / MAX_OF(spool->merged, (size_t)FAN_IN_MAX), (size_t)READ_SIZE_MIN);
}

/* At least N bytes in the run's buffer. */
static int run_fill(const Spool *spool, Run *run, size_t n, Error *error)
{
    while (buffer_length(&run->buffer) < n) {
        size_t size = MAX_OF(n - buffer_length(&run->buffer), piece_size(spool));
        size = MIN_OF(size, (size_t)(run->end - run->at));
        ssize_t got = size == 0 ? 0 : pread(spool->fd, buffer_reserve(&run->buffer, size), size, run->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set_errno(error, ERROR_TEMPORARY, got < 0 ? errno : EIO,
                                   "cannot read sorted rows back from a temporary file");
        buffer_added(&run->buffer, (size_t)got);
        run->at += got;
    }
    return 0;
}

/* From the run's record, which is whole, to the next: its order to the front of the buffer. SPOOL_E_END. */
static int run_advance(const Spool *spool, Run *run, Error *error)
{
    buffer_consume(&run->buffer, run->record);
    buffer_trim(&run->buffer, 2 * piece_size(spool));
    run->record = 0;
    if (buffer_length(&run->buffer) == 0 && run->at == run->end)
        return SPOOL_E_END;
    if (run_fill(spool, run, HEADER_SIZE, error) < 0 ||
        run_fill(spool, run, record_front(buffer_bytes(&run->buffer)), error) < 0)
        return -1;
    run->record = record_size(buffer_bytes(&run->buffer));
    return 0;
}

/* The first of the runs, with its record whole. */
static int merge_front(Spool *spool, const uint8_t **ret, Error *error)
{
    Run *run = &spool->runs[spool->heap[0]];
    if (run_fill(spool, run, run->record, error) < 0)
        return -1;
    *ret = buffer_bytes(&run->buffer);
    return 0;
}

/* How many of the runs from FROM on are merged at once: as many as have room, two in any case. */
static size_t fan_in(const Spool *spool, size_t from)
{
    size_t count = 0, memory = 0;
    for (; from + count < spool->run_count && count < FAN_IN_MAX; count++) {
        memory += spool->runs[from + count].front;
        if (count >= 2 && memory > spool->memory_max)
            break;
    }
    return count;
}

static bool comes_before(const Spool *spool, size_t a, size_t b)
{
    const Run *first = &spool->runs[a], *second = &spool->runs[b];
    int r = compare_records(buffer_bytes(&first->buffer), buffer_bytes(&second->buffer));
    return r < 0 || (r == 0 && first->number < second->number);
}

static void heap_down(Spool *spool, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < spool->heap_count; child++)
            if (comes_before(spool, spool->heap[child], spool->heap[least]))
                least = child;
        if (least == at)
            return;
        size_t swap = spool->heap[at];
        spool->heap[at] = spool->heap[least];
        spool->heap[least] = swap;
        at = least;
    }
}

/* Opens the runs FROM … TO - 1 for merging. */
static int merge_begin(Spool *spool, size_t from, size_t to, Error *error)
{
    free(spool->heap);
    spool->heap = xmalloc((to - from) * sizeof(*spool->heap));
    spool->heap_count = 0;
    spool->merged = to - from;
    for (size_t i = from; i < to; i++) {
        int r = run_advance(spool, &spool->runs[i], error);
        if (r < 0)
            return -1;
        if (r == 0)
            spool->heap[spool->heap_count++] = i;
    }
    for (size_t i = spool->heap_count; i-- > 0;)
        heap_down(spool, i);
    return 0;
}

/* Past the record at the front of the first run. */
static int merge_advance(Spool *spool, Error *error)
{
    int r = run_advance(spool, &spool->runs[spool->heap[0]], error);
    if (r < 0)
        return -1;
    if (r == SPOOL_E_END)
        spool->heap[0] = spool->heap[--spool->heap_count];
    heap_down(spool, 0);
    return 0;
}

/* COUNT runs from FROM on become one, at the end of the file, and in the place of the first of them. It takes the
 * number of the first, so that equal records stay in the order they were added. */
static int merge_some(Spool *spool, size_t from, size_t count, Error *error)
{
    off_t start = spool->end;
    const uint8_t *front;
    if (merge_begin(spool, from, from + count, error) < 0)
        return -1;
    while (spool->heap_count > 0) {
        if (merge_front(spool, &front, error) < 0)
            return -1;
        SpoolRecord record = record_at(front);
        if (put_out(spool, &record, error) < 0 || merge_advance(spool, error) < 0)
            return -1;
    }
    if (write_out(spool, error) < 0)
        return -1;
    for (size_t i = from; i < from + count; i++)
        buffer_clear(&spool->runs[i].buffer);
    spool->runs[from] = (Run){
        .start = start, .at = start, .end = spool->end, .front = spool->front, .number = spool->runs[from].number
    };
    spool->front = 0;
    return 0;
}

/* Runs that were to be merged are as they were before. */
static void unmerge(Spool *spool, size_t from, size_t count, off_t end)
{
    for (size_t i = from; i < from + count; i++) {
        buffer_clear(&spool->runs[i].buffer);
        spool->runs[i].at = spool->runs[i].start;
        spool->runs[i].record = 0;
    }
    buffer_reset(&spool->out);
    spool->front = 0;
    spool->end = end;
}

/* False: the file cannot take it. */
static bool merge_group(Spool *spool, size_t from, size_t count)
{
    _cleanup_(error_clear) Error why = { 0 };
    off_t end = spool->end;
    if (merge_some(spool, from, count, &why) == 0)
        return true;
    unmerge(spool, from, count, end);
    return false;
}

static void close_gap(Spool *spool, size_t to, size_t from)
{
    memmove(&spool->runs[to], &spool->runs[from], (spool->run_count - from) * sizeof(*spool->runs));
    spool->run_count -= from - to;
}

/* Each group of runs becomes one, until all that are left can be merged at once. Those that are merged gather at the
 * front; the others move up only once they are few. */
static bool merge_round(Spool *spool)
{
    size_t to = 0, from = 0;
    bool good = true;
    while (good && from + 1 < spool->run_count) {
        if (to + spool->run_count - from <= FAN_IN_MAX) {
            close_gap(spool, to, from);
            from = to;
            if (fan_in(spool, 0) == spool->run_count)
                return true;
        }
        size_t count = fan_in(spool, from);
        good = merge_group(spool, from, count);
        if (good) {
            spool->runs[to++] = spool->runs[from];
            from += count;
        }
    }
    close_gap(spool, to, from);
    return good;
}

int spool_sort(Spool *spool, Error *error)
{
    bool full = false;
    assert(!spool->sorted);
    spool->sorted = true;
    if (spool->run_count == 0) {
        sort_memory(spool);
        return 0;
    }
    if (spool->count > 0 && spill(spool, error) < 0)
        return -1;
    buffer_clear(&spool->records);
    /* Round after round, so that a record is copied once per round. On a full disk all that are left are merged at
     * once, in as much memory as it takes. */
    while (!full && fan_in(spool, 0) < spool->run_count)
        full = !merge_round(spool);
    spool->merging = true;
    return merge_begin(spool, 0, spool->run_count, error);
}

int spool_next(Spool *spool, SpoolRecord *ret, Error *error)
{
    assert(spool->sorted);
    if (!spool->merging) {
        if (spool->next == spool->count)
            return SPOOL_E_END;
        *ret = record_at(buffer_bytes(&spool->records) + spool->offsets[spool->next++]);
        return 0;
    }
    if (spool->heap_count == 0)
        return SPOOL_E_END;
    const uint8_t *front;
    if (merge_front(spool, &front, error) < 0)
        return -1;
    Buffer *copy = &spool->last[spool->turn++ % 2];
    buffer_reset(copy);
    buffer_append(copy, front, record_size(front));
    buffer_trim(copy, piece_size(spool));
    *ret = record_at(buffer_bytes(copy));
    return merge_advance(spool, error);
}
