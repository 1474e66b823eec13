#pragma once
/* The operations that a connector calls: op.upsert and its like are these functions themselves. */
#include "connectors/python/extension/python.h"

extern PyMethodDef operations_methods[]; /* upsert, update, delete, truncate, checkpoint, declare, failure */

int operations_setup(void); /* once, with the module */
/* After BEGIN, before the first operation. */
int operations_begin(bool source_names, unsigned long long max_value_size, bool plan);
