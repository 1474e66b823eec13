#pragma once
/*
 * Operations on one table, kept per key until they are flushed: the last upsert wins, updates merge, a delete ends it.
 *
 * A key's row is either a REPLACE (all of its columns are known: what an upsert names, NULL else) or a MODIFY (what
 * updates named, for the row that the destination has, if it has one). Beside that, whether it ends up deleted. Values
 * are kept as they came, in the order of the table's columns at that time; columns that the table got later are absent.
 * Key bytes come from key_append(): equal keys have equal bytes, and their order is the keys' order.
 *
 * Memory is bounded by whoever calls: coalescer_memory() tells, coalescer_reset() gives it back.
 */
#include "lib/basics/buffer.h"
#include "lib/formats/frame.h"
#include "lib/formats/kind.h"

typedef enum CoalescedKind { COALESCED_MODIFY, COALESCED_REPLACE } CoalescedKind;
typedef enum CoalescedFate { FATE_AS_IT_IS, FATE_LIVES, FATE_DELETED } CoalescedFate;

typedef struct CoalescedRow {
    const uint8_t *key, *values; /* in the coalescer's memory; values as in a ROWS frame */
    uint32_t key_length, values_length;
    uint64_t prefix; /* the key's first bytes, big-endian: most comparisons end there */
    uint32_t hash;
    uint16_t columns; /* that VALUES has */
    uint8_t kind, fate;
} CoalescedRow;

typedef struct Coalescer {
    struct CoalescerChunk *chunks;
    size_t memory; /* of chunks */
    CoalescedRow *rows;
    size_t row_count, rows_allocated;
    bool unordered;  /* keys did not come in their order */
    uint32_t *slots; /* row number + 1, by hash, open addressing */
    size_t slot_count;
    uint64_t seed;
    Buffer scratch;
} Coalescer;

void coalescer_clear(Coalescer *coalescer); /* frees; for _cleanup_ too */
void coalescer_reset(Coalescer *coalescer); /* forgets the rows, and gives back what they took */
size_t coalescer_memory(const Coalescer *coalescer);

/* One operation on KEY: ROW has COUNT values, ABSENT where the operation does not name the column. With HISTORY a row
 * that was deleted has no successor but by an upsert. */
void coalescer_upsert(Coalescer *coalescer, const Buffer *key, const Value *row, size_t count);
void coalescer_update(Coalescer *coalescer, const Buffer *key, const Value *row, size_t count, bool history);
void coalescer_delete(Coalescer *coalescer, const Buffer *key, const Value *row, size_t count);

/* A row of a coalescer whose operations came after those of this one. */
void coalescer_append(Coalescer *coalescer, const CoalescedRow *later, bool history);

/* Brings the rows into the order of their keys; nothing may be added then but after coalescer_reset(). */
void coalescer_sort(Coalescer *coalescer);

/* Appends what stands for VALUE in a key column of KIND: equal values give equal bytes, and memcmp() puts them in
 * order. The value must be one that KIND holds, and not NULL. */
void key_append(Buffer *key, Kind kind, const Value *value);
/* The same for values whose order counts, decimals with a fraction included. */
void order_append(Buffer *key, Kind kind, const Value *value);
