#pragma once
/*
 * Who runs next? A pure queue of runs that want to start: at most `max_syncs` at once, first come first served, runs
 * into the same destination file one after another, one place per core kept for local ones so that syncs that wait on a
 * slow network cannot hold all places.
 *
 * - A run is held up only by its own destination's earlier runs or by a lack of places, never by others that came
 * later.
 * - Runs that are not local hold at most max_syncs minus cores places, and always may hold one; local ones may hold
 * all.
 * - All operations are O(log n).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/basics/cleanup.h"

typedef struct Admission Admission;

Admission *admission_new(uint32_t max_syncs, uint32_t cores); /* max_syncs of 0 counts as 1 */
Admission *admission_free(Admission *admission);
DEFINE_CLEANUP(Admission, admission_free)
/* What runs is not affected; with fewer places, nothing starts until enough have ended. */
void admission_resize(Admission *admission, uint32_t max_syncs);
/* Queues TAG (unique while in here). IDENTITY (copied, may be NULL): of the destination. */
void admission_add(Admission *admission, void *tag, const char *identity, bool local);
/* The next TAG that may start now, or NULL; it then holds a place until admission_remove(). Call it until it says NULL,
 * after each add and remove. */
void *admission_next(Admission *admission);
void admission_remove(Admission *admission, void *tag); /* queued (cancelled) or started (finished); unknown: nothing */
size_t admission_queued(const Admission *admission);
size_t admission_started(const Admission *admission);
