#pragma once
/* Python's values as the emitter takes them. */
#include "connectors/python/extension/python.h"
#include "connectors/worker/emitter.h"

/* What schema() calls a column: a ColumnType, or one of these. */
enum { TYPE_NONE = 0 /* not declared */, TYPE_XML = 100 };

/* VALUE, of a column that was declared TYPE, into RET, whose name is not touched. What it points into belongs to VALUE
 * or to *KEEP, which lives on: a list (made when first needed) of what was made on the way. -1 with the exception that
 * Fivetran's SDK raises. May run Python code. */
int convert_value(PyObject *value, int type, EmitterField *ret, PyObject **keep);
/* The text of STRING as UTF-8, as long as it lives; NULL with an exception. */
const char *convert_text(PyObject *string, uint32_t *ret_length);
/* "2024-02-29T12:30:00.25Z" with T or a space, and Z or an offset where ZONE. false: not of this plain form, which does
 * not mean that it is wrong. */
bool convert_plain_timestamp(const char *text, size_t n, bool zone, Timestamp *ret);
/* "2024-02-29". One like that before it costs nothing: rows of one sync mostly have few dates. */
bool convert_recent_date(const char text[static 10], int32_t *ret);

int convert_setup(void); /* once, with the module */
