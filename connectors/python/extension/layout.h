#pragma once
/*
 * Rows that look like one before, put on the pipe in one walk over their dict.
 *
 * A layout is what one row taught: its table, its names in their order, and where the values go. It is found again by
 * the identity of these objects, which a connector's literals keep, and for names that were made anew by their text.
 * All of this is between stream_enter() and the next time that Python code may run.
 */
#include "connectors/python/extension/python.h"
#include "connectors/worker/emitter.h"

void layout_begin(const Emitter *emitter, unsigned long long max_value_size);
/* 1: the row is put. 0: it is not, and nothing of it: the long way. -1 with an exception: the pipe. */
int layout_put(Operation operation, PyObject *table, PyObject *data);
/* After such a row went the long way. */
void layout_learn(Operation operation, PyObject *table, PyObject *const *names, Py_ssize_t count);
