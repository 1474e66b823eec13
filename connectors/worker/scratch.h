#pragma once
/*
 * A private folder for temporary files, for sources that run programs: empty at first, gone after the sync.
 *
 * It is made before the sandbox, which leaves the worker no right to remove it: a child that stays outside waits for
 * the worker's end and does. What a sync that was killed left behind is removed by the next one.
 */
#include "lib/basics/error.h"

typedef struct Scratch Scratch;
int scratch_new(Scratch **ret, Error *error);
const char *scratch_path(const Scratch *scratch);
Scratch *scratch_free(Scratch *scratch); /* when nothing uses it any more; waits until it is gone */
