#pragma once
/*
 * Operations that have no room in memory and are not for the destination yet: coalesced rows of all tables, set aside
 * in a nameless file until the batch's end, and given back key by key with all that happened to a key made one.
 *
 * First aside_put(), as often as need be, then aside_sort(), then aside_next() for each table in the order of their
 * numbers, then aside_reset().
 */
#include "connectors/writer/coalescer.h"
#include "connectors/writer/spool.h"

typedef struct Aside Aside;

enum { ASIDE_E_FULL = 1, ASIDE_E_END, ASIDE_E_SPLIT };

/* FD: as spool_new() has it, but taken over. BYTES_MAX: of the file, give or take what is put at once. */
Aside *aside_new(int fd, uint64_t bytes_max);
Aside *aside_free(Aside *aside); /* NULL is fine; NULL */
/* Begins a run of what is put; ASIDE_E_FULL: there is no room for more. */
int aside_begin(Aside *aside);
/* ROWS of TABLE, sorted, in the order of tables' numbers; they stay as they are. ASIDE_E_FULL: nothing of this run was
 * set aside, as the file could not take it, and nothing will be from now on. */
int aside_put(Aside *aside, uint16_t table, const Coalescer *rows);
int aside_end(Aside *aside); /* likewise */
bool aside_is_empty(const Aside *aside);
int aside_sort(Aside *aside, Error *error);
/* Fills RET, which is empty, with the next rows of TABLE, sorted: as many as take MEMORY. ASIDE_E_END: it has none
 * left. ASIDE_E_SPLIT: of the last row's key there is more to come, for another merge: it would be too large as one. */
int aside_next(Aside *aside, uint16_t table, bool history, size_t memory, Coalescer *ret, Error *error);
void aside_reset(Aside *aside);
