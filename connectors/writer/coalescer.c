/*
 * Rows by key in chunks of memory that are given back whole. What a later operation replaces stays behind as garbage
 * until the flush, and counts: keys that are written over and over make a flush, not a leak.
 *
 * The table of slots is probed linearly. Its hash has a random seed, so that no input can be made to collide on
 * purpose.
 */
#include "connectors/writer/coalescer.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

/* Small at first, and doubled: there may be thousands of tables with a few rows each, and one with millions. */
#define CHUNK_SIZE_MIN (4 << 10)
#define CHUNK_SIZE_MAX (256 << 10)
#define SLOTS_MIN 64 /* a power of two, as all sizes are */

typedef struct CoalescerChunk {
    struct CoalescerChunk *next;
    size_t used, size;
    uint8_t data[];
} CoalescerChunk;

/* --- memory --- */

static void free_chunks(Coalescer *coalescer)
{
    while (coalescer->chunks) {
        CoalescerChunk *next = coalescer->chunks->next;
        free(coalescer->chunks);
        coalescer->chunks = next;
    }
    coalescer->memory = 0;
}

void coalescer_reset(Coalescer *coalescer)
{
    free_chunks(coalescer);
    free(coalescer->rows);
    free(coalescer->slots);
    coalescer->rows = NULL;
    coalescer->slots = NULL;
    coalescer->row_count = coalescer->rows_allocated = coalescer->slot_count = 0;
    coalescer->unordered = false;
}

void coalescer_clear(Coalescer *coalescer)
{
    coalescer_reset(coalescer);
    buffer_clear(&coalescer->scratch);
}

size_t coalescer_memory(const Coalescer *coalescer)
{
    return coalescer->memory + coalescer->rows_allocated * sizeof(CoalescedRow) +
           coalescer->slot_count * sizeof(uint32_t);
}

static const uint8_t *keep(Coalescer *coalescer, const void *data, size_t n)
{
    CoalescerChunk *chunk = coalescer->chunks;
    if (!chunk || chunk->size - chunk->used < n) {
        size_t size = MIN_OF(MAX_OF(coalescer->memory, (size_t)CHUNK_SIZE_MIN), (size_t)CHUNK_SIZE_MAX);
        size = MAX_OF(size, n);
        chunk = xmalloc(sizeof(*chunk) + size);
        *chunk = (CoalescerChunk){ .next = coalescer->chunks, .size = size };
        coalescer->chunks = chunk;
        coalescer->memory += sizeof(*chunk) + size;
    }
    uint8_t *at = chunk->data + chunk->used;
    if (n > 0)
        memcpy(at, data, n);
    chunk->used += n;
    return at;
}

/* What was kept last, where that is it: a row that is written over and over one time after another takes no more. */
static void take_back(Coalescer *coalescer, const uint8_t *data, size_t n)
{
    CoalescerChunk *chunk = coalescer->chunks;
    if (n == 0 || data + n != chunk->data + chunk->used)
        return;
    chunk->used -= n;
    if (chunk->used == 0 && chunk->size > CHUNK_SIZE_MAX) {
        coalescer->memory -= sizeof(*chunk) + chunk->size;
        coalescer->chunks = chunk->next;
        free(chunk);
    }
}

/* --- finding --- */

static uint32_t hash_key(const Coalescer *coalescer, const uint8_t *key, size_t n)
{
    uint64_t hash = coalescer->seed ^ n, word;
    for (; n >= sizeof(word); key += sizeof(word), n -= sizeof(word)) {
        memcpy(&word, key, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, key, n);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(hash >> 32);
}

static void grow_slots(Coalescer *coalescer)
{
    size_t count = MAX_OF(coalescer->slot_count * 2, (size_t)SLOTS_MIN), mask = count - 1;
    if (coalescer->slot_count == 0 && coalescer->seed == 0 &&
        getrandom(&coalescer->seed, sizeof(coalescer->seed), 0) != sizeof(coalescer->seed))
        coalescer->seed = (uintptr_t)coalescer;
    free(coalescer->slots);
    coalescer->slots = xcalloc(count, sizeof(*coalescer->slots));
    coalescer->slot_count = count;
    for (size_t i = 0; i < coalescer->row_count; i++) {
        size_t at = coalescer->rows[i].hash & mask;
        while (coalescer->slots[at])
            at = (at + 1) & mask;
        coalescer->slots[at] = (uint32_t)i + 1;
    }
}

static uint64_t key_prefix(const uint8_t *key, size_t n)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < sizeof(prefix); i++)
        prefix = prefix << 8 | (i < n ? key[i] : 0u);
    return prefix;
}

static int compare_rows(const void *a, const void *b)
{
    const CoalescedRow *first = a, *second = b;
    if (first->prefix != second->prefix)
        return first->prefix < second->prefix ? -1 : 1;
    int r = memcmp(first->key, second->key, MIN_OF(first->key_length, second->key_length));
    return r ? r : (first->key_length > second->key_length) - (first->key_length < second->key_length);
}

static CoalescedRow *add_row(Coalescer *coalescer, const uint8_t *key, size_t n, uint32_t hash)
{
    if (coalescer->row_count == coalescer->rows_allocated) {
        coalescer->rows_allocated = coalescer->rows_allocated ? coalescer->rows_allocated * 3 / 2 : SLOTS_MIN / 2;
        coalescer->rows = xrealloc(coalescer->rows, coalescer->rows_allocated * sizeof(*coalescer->rows));
    }
    CoalescedRow *row = &coalescer->rows[coalescer->row_count++];
    *row = (CoalescedRow){
        .key = keep(coalescer, key, n), .key_length = (uint32_t)n, .prefix = key_prefix(key, n), .hash = hash
    };
    coalescer->unordered |= coalescer->row_count > 1 && compare_rows(row - 1, row) > 0;
    return row;
}

/* The row of KEY, made where there is none (*RET_NEW). */
static CoalescedRow *find_row(Coalescer *coalescer, const uint8_t *key, size_t n, bool *ret_new)
{
    if (coalescer->row_count * 2 >= coalescer->slot_count)
        grow_slots(coalescer);
    uint32_t hash = hash_key(coalescer, key, n);
    size_t mask = coalescer->slot_count - 1, at = hash & mask;
    *ret_new = false;
    for (; coalescer->slots[at]; at = (at + 1) & mask) {
        CoalescedRow *row = &coalescer->rows[coalescer->slots[at] - 1];
        if (row->hash == hash && row->key_length == n && memcmp(row->key, key, n) == 0)
            return row;
    }
    *ret_new = true;
    coalescer->slots[at] = (uint32_t)coalescer->row_count + 1;
    return add_row(coalescer, key, n, hash);
}

/* --- values --- */

static void keep_values(Coalescer *coalescer, CoalescedRow *row, const uint8_t *values, size_t n, size_t count)
{
    take_back(coalescer, row->values, row->values_length);
    row->values = keep(coalescer, values, n);
    row->values_length = (uint32_t)n;
    row->columns = (uint16_t)count;
}

static void keep_scratch(Coalescer *coalescer, CoalescedRow *row, size_t count)
{
    keep_values(coalescer, row, buffer_bytes(&coalescer->scratch), buffer_length(&coalescer->scratch), count);
}

static void set_values(Coalescer *coalescer, CoalescedRow *row, const Value *values, size_t count)
{
    buffer_reset(&coalescer->scratch);
    RowsWriter rows = { .buffer = &coalescer->scratch };
    for (size_t i = 0; i < count; i++)
        rows_put_value(&rows, &values[i]);
    keep_scratch(coalescer, row, count);
}

static Value next_value(RowCursor *cursor, bool there)
{
    Value value = { .tag = VALUE_ABSENT };
    if (there && !row_cursor_value(cursor, &value))
        abort(); /* what was put can be taken */
    return value;
}

static RowCursor cursor_of(const CoalescedRow *row)
{
    return (RowCursor){ .next = row->values, .end = row->values + row->values_length };
}

/* What VALUES names over what the row has. */
static void merge_values(Coalescer *coalescer, CoalescedRow *row, const Value *values, size_t count)
{
    buffer_reset(&coalescer->scratch);
    RowsWriter rows = { .buffer = &coalescer->scratch };
    RowCursor cursor = cursor_of(row);
    for (size_t i = 0; i < count; i++) {
        Value old = next_value(&cursor, i < row->columns);
        rows_put_value(&rows, values[i].tag == VALUE_ABSENT ? &old : &values[i]);
    }
    keep_scratch(coalescer, row, count);
}

/* What LATER names over what the row has. */
static void merge_rows(Coalescer *coalescer, CoalescedRow *row, const CoalescedRow *later)
{
    buffer_reset(&coalescer->scratch);
    RowsWriter rows = { .buffer = &coalescer->scratch };
    RowCursor cursor = cursor_of(row), over = cursor_of(later);
    size_t count = MAX_OF(row->columns, later->columns);
    for (size_t i = 0; i < count; i++) {
        Value old = next_value(&cursor, i < row->columns), new = next_value(&over, i < later->columns);
        rows_put_value(&rows, new.tag == VALUE_ABSENT ? &old : &new);
    }
    keep_scratch(coalescer, row, count);
}

/* --- operations --- */

void coalescer_upsert(Coalescer *coalescer, const Buffer *key, const Value *values, size_t count)
{
    bool is_new;
    CoalescedRow *row = find_row(coalescer, buffer_bytes(key), buffer_length(key), &is_new);
    set_values(coalescer, row, values, count);
    row->kind = COALESCED_REPLACE;
    row->fate = FATE_LIVES;
}

void coalescer_update(Coalescer *coalescer, const Buffer *key, const Value *values, size_t count, bool history)
{
    bool is_new;
    CoalescedRow *row = find_row(coalescer, buffer_bytes(key), buffer_length(key), &is_new);
    if (is_new)
        set_values(coalescer, row, values, count);
    else if (!history || row->fate != FATE_DELETED)
        merge_values(coalescer, row, values, count);
}

void coalescer_delete(Coalescer *coalescer, const Buffer *key, const Value *values, size_t count)
{
    bool is_new;
    CoalescedRow *row = find_row(coalescer, buffer_bytes(key), buffer_length(key), &is_new);
    if (is_new)
        set_values(coalescer, row, values, count);
    row->fate = FATE_DELETED;
}

void coalescer_append(Coalescer *coalescer, const CoalescedRow *later, bool history)
{
    bool is_new;
    CoalescedRow *row = find_row(coalescer, later->key, later->key_length, &is_new);
    if (is_new || later->kind == COALESCED_REPLACE) {
        keep_values(coalescer, row, later->values, later->values_length, later->columns);
        row->kind = later->kind;
        row->fate = later->fate;
        return;
    }
    if (!history || row->fate != FATE_DELETED)
        merge_rows(coalescer, row, later);
    if (later->fate != FATE_AS_IT_IS)
        row->fate = later->fate;
}

void coalescer_sort(Coalescer *coalescer)
{
    if (coalescer->unordered)
        qsort(coalescer->rows, coalescer->row_count, sizeof(*coalescer->rows), compare_rows);
    coalescer->unordered = false;
}

/* --- keys --- */

/* One byte says the class, so that classes never meet. */
enum { KEY_WHOLE = 1, KEY_DECIMAL, KEY_FLOAT, KEY_BOOLEAN, KEY_DATE, KEY_TIME, KEY_TEXT, KEY_BYTES };

static void put_number(Buffer *key, uint8_t class, uint64_t number, size_t n)
{
    uint8_t *at = buffer_reserve(key, 9);
    at[0] = class;
    for (size_t i = 0; i < n; i++)
        at[1 + i] = (uint8_t)(number >> (8 * (n - 1 - i)));
    buffer_added(key, 1 + n);
}

static uint64_t ordered(int64_t number)
{
    return (uint64_t)number ^ UINT64_C(1) << 63;
}

/* Bytes in which 00 is 00 ff, ended by 00 00: a prefix of another key part comes before it. */
static void put_bytes(Buffer *key, uint8_t class, const char *data, size_t n)
{
    buffer_append(key, &class, 1);
    for (const char *end = data + n; data < end;) {
        const char *zero = memchr(data, 0, (size_t)(end - data));
        size_t run = (size_t)((zero ? zero : end) - data);
        buffer_append(key, data, run);
        data += run;
        if (zero) {
            buffer_append(key, "\0\xff", 2);
            data++;
        }
    }
    buffer_append(key, "\0\0", 2);
}

static void put_float(Buffer *key, double number)
{
    int64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    put_number(key, KEY_FLOAT, bits < 0 ? ~(uint64_t)bits : ordered(bits), 8);
}

/* A decimal without a fraction that is a 64-bit integer is the same key as that. */
static void put_decimal(Buffer *key, const Value *value)
{
    char digits[24];
    size_t n = value->text.length;
    if (n < sizeof(digits) && !memchr(value->text.data, '.', n)) {
        memcpy(digits, value->text.data, n);
        digits[n] = 0;
        errno = 0;
        long long integer = strtoll(digits, NULL, 10);
        if (errno == 0) {
            put_number(key, KEY_WHOLE, ordered(integer), 8);
            return;
        }
    }
    put_bytes(key, KEY_DECIMAL, value->text.data, n);
}

void key_append(Buffer *key, Kind kind, const Value *value)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    Value kept =
        value->tag == VALUE_INTEGER && kind.type == COLUMN_DECIMAL ? *value : value_convert(value, kind, &text);
    switch (kept.tag) {
    case VALUE_INTEGER:
        put_number(key, KEY_WHOLE, ordered(kept.integer), 8);
        break;
    case VALUE_DECIMAL:
        put_decimal(key, &kept);
        break;
    case VALUE_FLOAT:
        put_float(key, kept.number);
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        put_number(key, KEY_BOOLEAN, kept.tag == VALUE_TRUE, 1);
        break;
    case VALUE_DATE:
        put_number(key, KEY_DATE, ordered(kept.days), 8);
        break;
    case VALUE_TIMESTAMP:
        put_number(key, KEY_TIME, ordered(kept.timestamp.seconds), 8);
        put_number(key, KEY_TIME, kept.timestamp.nanos, 4);
        break;
    case VALUE_STRING:
    case VALUE_JSON:
        put_bytes(key, KEY_TEXT, kept.text.data, kept.text.length);
        break;
    case VALUE_BINARY:
        put_bytes(key, KEY_BYTES, kept.text.data, kept.text.length);
        break;
    default:
        assert(kept.tag != VALUE_NULL && kept.tag != VALUE_ABSENT); /* the sequence has seen to it */
        break;
    }
}

/* Sign, number of digits before the point, digits; of a negative number all but the sign turned round. Its text has no
 * leading zeros and no trailing ones after the point (value_text()). */
static void put_ordered_decimal(Buffer *key, const char *text, size_t n)
{
    bool minus = *text == '-';
    text += minus;
    n -= minus;
    const char *point = memchr(text, '.', n);
    size_t whole = point ? (size_t)(point - text) : n, start = key->end + 1;
    if (whole == 1 && *text == '0')
        whole = point ? 0 : 1;
    bool zero = n == 1 && *text == '0';
    put_number(key, minus ? 0 : zero ? 1 : 2, whole, 4);
    for (size_t i = 0; i < n; i++)
        if (text[i] != '.' && !(i == 0 && whole == 0))
            buffer_append(key, text + i, 1);
    buffer_append(key, "", 1);
    if (minus)
        for (uint8_t *at = key->data + start; at < key->data + key->end; at++)
            *at = (uint8_t) ~*at;
}

void order_append(Buffer *key, Kind kind, const Value *value)
{
    if (kind.type != COLUMN_DECIMAL) {
        key_append(key, kind, value);
        return;
    }
    _cleanup_(buffer_clear) Buffer text = { 0 };
    value_text(value, &text);
    put_ordered_decimal(key, (const char *)buffer_bytes(&text), buffer_length(&text));
}
