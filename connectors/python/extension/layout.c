/*
 * The walk is written for what costs most: it looks at each object once, takes what is exactly a str, an int, a float,
 * a bool, bytes or None, and writes it where the last value ended. The row is not there until its end is moved past it,
 * so that giving up in the middle costs nothing. Room is made for all values of fixed size at once, and for texts as
 * long as ROOM holds them; a row with more than that takes the long way, as does one with a value that must be
 * converted.
 */
#include "connectors/python/extension/layout.h"

#include <math.h>
#include <string.h>

#include "connectors/python/extension/convert.h"
#include "connectors/python/extension/stream.h"

#define LAYOUTS 64 /* a power of two */
#define ROOM (64u << 10)
#define FIELDS_MAX 256    /* of a layout */
#define VALUE_SIZE_MAX 16 /* of one that is no text; the tag and length of one that is */

typedef struct Layout {
    PyObject *table;  /* owned; NULL: free */
    PyObject **names; /* owned */
    uint32_t count;
    Operation operation;
    EmitterPlan plan;
    bool in_order; /* the pipe's columns are the names, in their order */
} Layout;

static Layout layouts[LAYOUTS];
static const Emitter *emitter;
static size_t value_size_max;

void layout_begin(const Emitter *new_emitter, unsigned long long max_value_size)
{
    emitter = new_emitter;
    value_size_max = max_value_size > 0 && max_value_size < ROOM ? (size_t)max_value_size : ROOM;
}

static inline Layout *layout_at(Operation operation, PyObject *table, Py_ssize_t count)
{
    uintptr_t hash =
        ((uintptr_t)table >> 4) ^ ((uintptr_t)table >> 11) ^ (uintptr_t)count * 7 ^ (uintptr_t)operation * 31;
    return &layouts[hash % LAYOUTS];
}

static void layout_clear(Layout *layout)
{
    for (uint32_t i = 0; i < layout->count; i++)
        Py_DECREF(layout->names[i]);
    Py_XDECREF(layout->table);
    free(layout->names);
    free(layout->plan.places);
    *layout = (Layout){ 0 };
}

/* --- learning --- */

static bool is_known(const Layout *layout, Operation operation, PyObject *table, PyObject *const *names,
                     Py_ssize_t count)
{
    if (layout->table != table || layout->operation != operation || layout->count != (uint32_t)count ||
        *layout->plan.now != layout->plan.place_count)
        return false;
    for (Py_ssize_t i = 0; i < count; i++)
        if (layout->names[i] != names[i])
            return false;
    return true;
}

void layout_learn(Operation operation, PyObject *table, PyObject *const *names, Py_ssize_t count)
{
    Layout *layout = layout_at(operation, table, count);
    if (operation == OPERATION_DELETE || count > FIELDS_MAX || !PyUnicode_CheckExact(table) ||
        (layout->table && is_known(layout, operation, table, names, count)))
        return;
    FrameText texts[FIELDS_MAX], name = { 0 };
    for (Py_ssize_t i = 0; i < count; i++)
        texts[i].data = convert_text(names[i], &texts[i].length); /* it had one a moment ago */
    name.data = convert_text(table, &name.length);
    EmitterPlan plan;
    if (!emitter_plan(emitter, operation, name, texts, (size_t)count, &plan))
        return;
    layout_clear(layout);
    *layout = (Layout){ .table = Py_NewRef(table),
                        .names = xcalloc((size_t)count + 1, sizeof(PyObject *)),
                        .count = (uint32_t)count,
                        .operation = operation,
                        .plan = plan,
                        .in_order = plan.place_count == (uint32_t)count };
    for (Py_ssize_t i = 0; i < count; i++)
        layout->names[i] = Py_NewRef(names[i]);
    for (uint32_t i = 0; i < plan.place_count; i++)
        layout->in_order &= plan.places[i].field == i;
}

/* --- values --- */

static inline uint8_t *put_fixed(uint8_t *at, ValueTag tag, const void *value, size_t n)
{
    at[0] = (uint8_t)tag;
    memcpy(at + 1, value, n);
    return at + 1 + n;
}

static inline uint8_t *put_text(uint8_t *at, const uint8_t *end, ValueTag tag, const char *text, Py_ssize_t n)
{
    uint32_t length = (uint32_t)n;
    if ((size_t)n > value_size_max || (size_t)(end - at) < (size_t)n + VALUE_SIZE_MAX)
        return NULL;
    at[0] = (uint8_t)tag;
    memcpy(at + 1, &length, 4);
    memcpy(at + 5, text, length);
    return at + 5 + length;
}

static inline uint8_t *put_string(uint8_t *at, const uint8_t *end, PyObject *value)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(value, &n);
    if (__builtin_expect(!text, 0)) {
        PyErr_Clear(); /* the long way says it again, with its place */
        return NULL;
    }
    return put_text(at, end, VALUE_STRING, text, n);
}

/* PyLong_AsSsize_t() costs a third of the other conversions, where the number is small. */
_Static_assert(sizeof(Py_ssize_t) == 8, "a 64-bit Python");
static inline uint8_t *put_integer(uint8_t *at, PyObject *value, int64_t minimum, int64_t maximum)
{
    int64_t integer = PyLong_AsSsize_t(value);
    if (__builtin_expect(integer == -1, 0) && PyErr_Occurred()) {
        PyErr_Clear(); /* beyond 64 bits */
        return NULL;
    }
    return integer < minimum || integer > maximum ? NULL : put_fixed(at, VALUE_INTEGER, &integer, 8);
}

static inline uint8_t *put_double(uint8_t *at, PyObject *value)
{
    double number = PyFloat_AsDouble(value);
    return isfinite(number) ? put_fixed(at, VALUE_FLOAT, &number, 8) : NULL;
}

static inline uint8_t *put_moment(uint8_t *at, PyObject *value, bool zone)
{
    Py_ssize_t n;
    Timestamp moment;
    const char *text = PyUnicode_AsUTF8AndSize(value, &n);
    if (!text) {
        PyErr_Clear();
        return NULL;
    }
    if (!convert_plain_timestamp(text, (size_t)n, zone, &moment))
        return NULL;
    at[0] = VALUE_TIMESTAMP;
    memcpy(at + 1, &moment.seconds, 8);
    memcpy(at + 9, &moment.nanos, 4);
    memcpy(at + 13, &moment.offset, 2);
    return at + 15;
}

static inline uint8_t *put_day(uint8_t *at, PyObject *value)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(value, &n);
    if (!text) {
        PyErr_Clear();
        return NULL;
    }
    int32_t days;
    if (n != 10 || !convert_recent_date(text, &days))
        return NULL;
    return put_fixed(at, VALUE_DATE, &days, 4);
}

static inline uint8_t *put_natural(uint8_t *at, const uint8_t *end, PyObject *value, PyTypeObject *type)
{
    if (type == &PyUnicode_Type)
        return put_string(at, end, value);
    if (type == &PyLong_Type)
        return put_integer(at, value, INT64_MIN, INT64_MAX);
    if (type == &PyFloat_Type)
        return put_double(at, value);
    if (type == &PyBool_Type) {
        at[0] = value == Py_True ? VALUE_TRUE : VALUE_FALSE;
        return at + 1;
    }
    if (type == &PyBytes_Type)
        return put_text(at, end, VALUE_BINARY, PyBytes_AsString(value), PyBytes_Size(value));
    return NULL;
}

/* Where the value ends, NULL: it must be converted. */
static inline uint8_t *put_value(uint8_t *at, const uint8_t *end, const EmitterPlace *place, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (value == Py_None) {
        at[0] = VALUE_NULL;
        return place->key ? NULL : at + 1;
    }
    if (!place->declared)
        return put_natural(at, end, value, type);
    switch (place->kind.type) {
    case COLUMN_STRING:
        return type == &PyUnicode_Type ? put_string(at, end, value) : NULL;
    case COLUMN_INTEGER:
        return type == &PyLong_Type ? put_integer(at, value, INT64_MIN, INT64_MAX) : NULL;
    case COLUMN_INT:
        return type == &PyLong_Type ? put_integer(at, value, INT32_MIN, INT32_MAX) : NULL;
    case COLUMN_SHORT:
        return type == &PyLong_Type ? put_integer(at, value, INT16_MIN, INT16_MAX) : NULL;
    case COLUMN_FLOAT:
        return type == &PyFloat_Type ? put_double(at, value) : NULL;
    case COLUMN_REAL: {
        if (type != &PyFloat_Type)
            return NULL;
        double number = PyFloat_AsDouble(value);
        /* its shortest text is not that of the single but for few */
        return number == (double)(int32_t)number && fabs(number) < 16777216 ? put_double(at, value) : NULL;
    }
    case COLUMN_BOOLEAN:
        at[0] = value == Py_True ? VALUE_TRUE : VALUE_FALSE;
        return type == &PyBool_Type ? at + 1 : NULL;
    case COLUMN_INSTANT:
        return type == &PyUnicode_Type ? put_moment(at, value, true) : NULL;
    case COLUMN_DATETIME:
        return type == &PyUnicode_Type ? put_moment(at, value, false) : NULL;
    case COLUMN_DATE:
        return type == &PyUnicode_Type ? put_day(at, value) : NULL;
    case COLUMN_BINARY:
        return type == &PyBytes_Type ? put_natural(at, end, value, type) : NULL;
    default:
        return NULL;
    }
}

/* --- rows --- */

static bool same_text(PyObject *a, PyObject *b)
{
    return a == b || (PyUnicode_CheckExact(a) && PyUnicode_Compare(a, b) == 0);
}

static inline uint8_t *put_in_order(const Layout *layout, PyObject *data, uint8_t *at, const uint8_t *end)
{
    Py_ssize_t place = 0;
    PyObject *name, *value;
    const EmitterPlace *places = layout->plan.places;
    for (uint32_t i = 0; i < layout->count; i++) {
        PyDict_Next(data, &place, &name, &value);
        if (__builtin_expect(name != layout->names[i], 0) && !same_text(name, layout->names[i]))
            return NULL;
        at = put_value(at, end, &places[i], value);
        if (__builtin_expect(!at, 0))
            return NULL;
    }
    return at;
}

static uint8_t *put_by_plan(const Layout *layout, PyObject *data, uint8_t *at, const uint8_t *end)
{
    Py_ssize_t place = 0;
    PyObject *name, *values[FIELDS_MAX];
    for (uint32_t i = 0; i < layout->count; i++) {
        PyDict_Next(data, &place, &name, &values[i]);
        if (name != layout->names[i] && !same_text(name, layout->names[i]))
            return NULL;
    }
    for (uint32_t i = 0; i < layout->plan.place_count; i++) {
        const EmitterPlace *to = &layout->plan.places[i];
        if (to->field == EMITTER_ABSENT)
            *at++ = VALUE_ABSENT;
        else
            at = put_value(at, end, to, values[to->field]);
        if (!at)
            return NULL;
    }
    return at;
}

/* Apart: what an error needs costs every row that has none. */
__attribute__((noinline)) static int send_gathered(void)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (worker_send_rows(stream_worker(), &error) == 0)
        return 1;
    _cleanup_(freep) char *message = error_format(&error);
    PyErr_SetString(PyExc_RuntimeError, message);
    return -1;
}

int layout_put(Operation operation, PyObject *table, PyObject *data)
{
    Py_ssize_t count = PyDict_Size(data);
    Layout *layout = layout_at(operation, table, count);
    if (layout->table != table || layout->count != (uint32_t)count || layout->operation != operation ||
        *layout->plan.now != layout->plan.place_count)
        return 0;
    RowsWriter *rows = worker_rows(stream_worker(), layout->plan.table, operation);
    Buffer *buffer = rows->buffer;
    size_t fixed = layout->plan.place_count * VALUE_SIZE_MAX;
    uint8_t *at = buffer_reserve(buffer, fixed + ROOM);
    const uint8_t *end = buffer->data + buffer->allocated - fixed;
    at = layout->in_order ? put_in_order(layout, data, at, end) : put_by_plan(layout, data, at, end);
    if (!at)
        return 0;
    buffer->end = (size_t)(at - buffer->data);
    ++*layout->plan.rows;
    rows_row_done(rows);
    return __builtin_expect(buffer_length(buffer) >= FRAME_ROWS_TARGET, 0) ? send_gathered() : 1;
}
