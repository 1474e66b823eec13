/*
 * Sorted runs of coalesced rows in a Spool, in the order of table and key.
 *
 * A batch whose keys come at random, flushed each time memory is full, would visit the same pages of the destination's
 * table again and again; from here it goes there in one ordered pass, however large it is. What a key has in several
 * runs comes in the order of the runs, which is that of the operations, and is made one by the coalescer's own rules.
 * Values keep the columns that the table had when they came.
 */
#include "connectors/writer/aside.h"

#include <assert.h>

#define MERGE_MEMORY (4 << 20)

struct Aside {
    int fd; /* owned */
    uint64_t bytes_max;
    bool failed; /* the file could not take what it should */
    Spool *spool;
    Buffer order, payload;
    bool is_there; /* the record at hand */
    SpoolRecord record;
};

/* What stands before the values in a record's payload. */
typedef struct Head {
    uint16_t columns;
    uint8_t kind, fate;
} Head;

Aside *aside_new(int fd, uint64_t bytes_max)
{
    Aside *aside = xcalloc(1, sizeof(*aside));
    aside->fd = fd;
    aside->bytes_max = bytes_max;
    aside->spool = spool_new(fd, MERGE_MEMORY);
    return aside;
}

Aside *aside_free(Aside *aside)
{
    if (!aside)
        return NULL;
    spool_free(aside->spool);
    buffer_clear(&aside->order);
    buffer_clear(&aside->payload);
    close_fd(aside->fd);
    free(aside);
    return NULL;
}

void aside_reset(Aside *aside)
{
    spool_reset(aside->spool);
    buffer_clear(&aside->order);
    buffer_clear(&aside->payload);
    aside->is_there = false;
}

bool aside_is_empty(const Aside *aside)
{
    return spool_size(aside->spool) == 0;
}

/* --- putting --- */

int aside_begin(Aside *aside)
{
    return aside->failed || spool_size(aside->spool) >= aside->bytes_max ? ASIDE_E_FULL : 0;
}

/* A full disk is no error here: there is another way. */
static int fail(Aside *aside, Error *why)
{
    error_clear(why);
    spool_drop_run(aside->spool);
    aside->failed = true;
    return ASIDE_E_FULL;
}

int aside_put(Aside *aside, uint16_t table, const Coalescer *rows)
{
    _cleanup_(error_clear) Error why = { 0 };
    uint8_t prefix[2] = { (uint8_t)(table >> 8), (uint8_t)table };
    assert(!rows->unordered);
    for (size_t i = 0; i < rows->row_count; i++) {
        const CoalescedRow *row = &rows->rows[i];
        Head head = { .columns = row->columns, .kind = row->kind, .fate = row->fate };
        buffer_reset(&aside->order);
        buffer_append(&aside->order, prefix, sizeof(prefix));
        buffer_append(&aside->order, row->key, row->key_length);
        buffer_reset(&aside->payload);
        buffer_append(&aside->payload, &head, sizeof(head));
        buffer_append(&aside->payload, row->values, row->values_length);
        SpoolRecord record = { .order = buffer_bytes(&aside->order),
                               .order_length = (uint32_t)buffer_length(&aside->order),
                               .payload = buffer_bytes(&aside->payload),
                               .payload_length = (uint32_t)buffer_length(&aside->payload) };
        if (spool_add_sorted(aside->spool, &record, &why) < 0)
            return fail(aside, &why);
    }
    return 0;
}

int aside_end(Aside *aside)
{
    _cleanup_(error_clear) Error why = { 0 };
    return spool_end_run(aside->spool, &why) < 0 ? fail(aside, &why) : 0;
}

/* --- taking --- */

static int advance(Aside *aside, Error *error)
{
    int r = spool_next(aside->spool, &aside->record, error);
    aside->is_there = r == 0;
    return r < 0 ? -1 : 0;
}

int aside_sort(Aside *aside, Error *error)
{
    return spool_sort(aside->spool, error) < 0 ? -1 : advance(aside, error);
}

static uint16_t table_of(const SpoolRecord *record)
{
    return (uint16_t)(record->order[0] << 8 | record->order[1]);
}

static CoalescedRow row_of(const SpoolRecord *record)
{
    Head head;
    memcpy(&head, record->payload, sizeof(head));
    return (CoalescedRow){ .key = record->order + 2,
                           .key_length = record->order_length - 2,
                           .values = record->payload + sizeof(head),
                           .values_length = record->payload_length - (uint32_t)sizeof(head),
                           .columns = head.columns,
                           .kind = head.kind,
                           .fate = head.fate };
}

static bool is_last_key(const Coalescer *rows, const CoalescedRow *row)
{
    const CoalescedRow *last = rows->row_count > 0 ? &rows->rows[rows->row_count - 1] : NULL;
    return last && last->key_length == row->key_length && memcmp(last->key, row->key, row->key_length) == 0;
}

/* Updates of different columns, each of which had room in memory, may be a row that has not. */
static bool grows_too_large(const Coalescer *rows, const CoalescedRow *row)
{
    const CoalescedRow *last = &rows->rows[rows->row_count - 1];
    return row->kind == COALESCED_MODIFY && (size_t)last->values_length + row->values_length > MERGE_MEMORY;
}

int aside_next(Aside *aside, uint16_t table, bool history, size_t memory, Coalescer *ret, Error *error)
{
    while (aside->is_there && table_of(&aside->record) == table) {
        CoalescedRow row = row_of(&aside->record);
        bool same = is_last_key(ret, &row);
        if (coalescer_memory(ret) >= memory && !same)
            return 0;
        if (same && grows_too_large(ret, &row))
            return ASIDE_E_SPLIT;
        coalescer_append(ret, &row, history);
        if (advance(aside, error) < 0)
            return -1;
    }
    return ret->row_count > 0 ? 0 : ASIDE_E_END;
}
