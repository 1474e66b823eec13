#pragma once
/*
 * Who runs next? A pure queue of runs that want to start: at most `max_syncs` at once, first come first served, runs into the same destination file
 * one after another, one place per core kept for local ones so that syncs that wait on a slow network cannot hold all places.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Admission Admission;

Admission *admission_new(uint32_t max_syncs, uint32_t cores);
Admission *admission_free(Admission *admission);
void admission_resize(Admission *admission, uint32_t max_syncs);
/* Queues TAG (unique while in here). IDENTITY (copied, may be NULL): of the destination. */
void admission_add(Admission *admission, void *tag, const char *identity, bool local);
/* The next TAG that may start now, or NULL; it then holds a place until admission_remove(). */
void *admission_next(Admission *admission);
void admission_remove(Admission *admission, void *tag); /* queued (cancelled) or started (finished) */
size_t admission_queued(const Admission *admission);
size_t admission_started(const Admission *admission);
