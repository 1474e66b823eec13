#pragma once
/*
 * Records in order, however many: sorted in memory while they fit, else in runs on a nameless file that are merged as
 * they are read.
 *
 * Records are sorted by their ORDER bytes (as memcmp() has it), of equal ones the one added first comes first. A Spool
 * is filled by spool_add() (or spool_add_sorted()), turned by spool_sort(), and emptied by spool_next() until
 * SPOOL_E_END.
 */
#include "lib/basics/buffer.h"
#include "lib/basics/error.h"

typedef struct SpoolRecord {
    const uint8_t *order, *payload;
    uint32_t order_length, payload_length;
} SpoolRecord;

typedef struct Spool Spool;

enum { SPOOL_E_END = 1 };

/* A nameless file in /var/tmp or /tmp; -1 with errno. */
int spool_open_file(void);
/* FD: a file of our own, of any content, not taken over. MEMORY_MAX bytes are kept in memory, and as many again while
 * runs are merged; beside them a few of the largest records, whatever their size and their number. */
Spool *spool_new(int fd, size_t memory_max);
Spool *spool_free(Spool *spool);
/* ERROR_TEMPORARY where the file cannot take it. */
int spool_add(Spool *spool, const SpoolRecord *record, Error *error);
/* Instead: records that come in order already, each run of them ended by spool_end_run(). They take no memory. */
int spool_add_sorted(Spool *spool, const SpoolRecord *record, Error *error);
int spool_end_run(Spool *spool, Error *error);
void spool_drop_run(Spool *spool);       /* the open one, where one of these has failed */
uint64_t spool_size(const Spool *spool); /* of the file */
int spool_sort(Spool *spool, Error *error);
/* RET holds until the call after the next: the one before may still be looked at. */
int spool_next(Spool *spool, SpoolRecord *ret, Error *error);
void spool_reset(Spool *spool);          /* forgets all records */
size_t spool_memory(const Spool *spool); /* that its buffers have allocated */
