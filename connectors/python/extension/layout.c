/*
 * The walk is written for what costs most: it looks at each object once, takes what is exactly of the type that its
 * column's values mostly have, and writes it where the last value ended. The row is not there until its end is moved
 * past it, so that giving up in the middle costs nothing. Room is made for all values of fixed size at once, and for
 * texts as long as ROOM holds them; a row with more than that takes the long way, as does one with a value that must be
 * converted.
 *
 * A row of ten values costs some 700 instructions more than the dict that it comes in: 170 are the interpreter's call
 * of the operation, 90 are asking for whole numbers and reading a time, 390 the rest of put_row().
 */
#include "connectors/python/extension/layout.h"

#include <math.h>
#include <string.h>

#include "connectors/python/extension/convert.h"
#include "connectors/python/extension/peek.h"
#include "connectors/python/extension/stream.h"

#define LAYOUTS 64 /* a power of two */
#define ROOM (64u << 10)
#define FIELDS_MAX 256    /* of a layout */
#define VALUE_SIZE_MAX 16 /* of one that is no text; the tag and length of one that is */

/* How a value is put, if it is exactly of the step's type. */
typedef enum Put {
    PUT_NOTHING, /* all values take the long way */
    PUT_STRING,
    PUT_BINARY,
    PUT_INTEGER,
    PUT_INT,
    PUT_SHORT,
    PUT_FLOAT,
    PUT_REAL,
    PUT_BOOLEAN,
    PUT_INSTANT,
    PUT_DATETIME,
    PUT_DATE,
    PUT_ABSENT, /* the row has no such value: the step's name is none */
    PUT_END,    /* no column: the row is whole */
} Put;

/* For one column of the pipe. */
typedef struct Step {
    PyObject *name;     /* owned */
    PyTypeObject *type; /* that the value must have; NULL: ask put_other() */
    uint32_t at;        /* of the dict's entries, in bytes */
    uint8_t put;
    bool natural; /* not declared: type and put are those of the last value */
    bool key;
} Step;

typedef struct Layout {
    PyObject *table; /* owned; NULL: free */
    uint32_t count;  /* of the dict's entries, at least 1 */
    Operation operation;
    uint16_t number; /* of the table on the pipe */
    uint32_t step_count;
    Step *steps;         /* owned; then one of PUT_END */
    const uint32_t *now; /* EmitterPlan */
    uint64_t *rows;      /* EmitterPlan */
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
    uintptr_t hash = ((uintptr_t)table >> 4) + (uintptr_t)count + (uintptr_t)operation * 31;
    return &layouts[hash % LAYOUTS];
}

static void layout_clear(Layout *layout)
{
    for (uint32_t i = 0; i < layout->step_count; i++)
        Py_XDECREF(layout->steps[i].name);
    Py_XDECREF(layout->table);
    free(layout->steps);
    *layout = (Layout){ 0 };
}

/* --- learning --- */

static const struct {
    PyTypeObject *type;
    Put put;
} natural_puts[] = {
    { &PyUnicode_Type, PUT_STRING }, { &PyLong_Type, PUT_INTEGER }, { &PyFloat_Type, PUT_FLOAT },
    { &PyBool_Type, PUT_BOOLEAN },   { &PyBytes_Type, PUT_BINARY },
};

static void set_put(Step *step, PyTypeObject *type, Put put)
{
    step->type = type;
    step->put = (uint8_t)put;
}

static void set_declared(Step *step, ColumnType type)
{
    static const uint8_t puts[_COLUMN_TYPE_MAX] = {
        [COLUMN_STRING] = PUT_STRING,   [COLUMN_INTEGER] = PUT_INTEGER, [COLUMN_INT] = PUT_INT,
        [COLUMN_SHORT] = PUT_SHORT,     [COLUMN_FLOAT] = PUT_FLOAT,     [COLUMN_REAL] = PUT_REAL,
        [COLUMN_BOOLEAN] = PUT_BOOLEAN, [COLUMN_INSTANT] = PUT_INSTANT, [COLUMN_DATETIME] = PUT_DATETIME,
        [COLUMN_DATE] = PUT_DATE,       [COLUMN_BINARY] = PUT_BINARY,
    };
    switch (puts[type]) {
    case PUT_STRING:
    case PUT_INSTANT:
    case PUT_DATETIME:
    case PUT_DATE:
        set_put(step, &PyUnicode_Type, puts[type]);
        break;
    case PUT_INTEGER:
    case PUT_INT:
    case PUT_SHORT:
        set_put(step, &PyLong_Type, puts[type]);
        break;
    case PUT_FLOAT:
    case PUT_REAL:
        set_put(step, &PyFloat_Type, puts[type]);
        break;
    case PUT_BOOLEAN:
        set_put(step, &PyBool_Type, PUT_BOOLEAN);
        break;
    case PUT_BINARY:
        set_put(step, &PyBytes_Type, PUT_BINARY);
        break;
    default:
        set_put(step, NULL, PUT_NOTHING);
    }
}

static void set_step(Step *step, const EmitterPlace *place, PyObject *const *names)
{
    if (place->field == EMITTER_ABSENT) {
        set_put(step, NULL, PUT_ABSENT);
        return;
    }
    step->name = Py_NewRef(names[place->field]);
    step->at = place->field * (uint32_t)sizeof(DictEntry);
    step->key = place->key;
    step->natural = !place->declared;
    if (place->declared)
        set_declared(step, place->kind.type);
}

static bool is_known(const Layout *layout, Operation operation, PyObject *table, PyObject *const *names,
                     Py_ssize_t count)
{
    if (layout->table != table || layout->operation != operation || layout->count != (uint32_t)count ||
        *layout->now != layout->step_count)
        return false;
    for (uint32_t i = 0; i < layout->step_count; i++)
        if (layout->steps[i].name && layout->steps[i].name != names[layout->steps[i].at / sizeof(DictEntry)])
            return false;
    return true;
}

void layout_learn(Operation operation, PyObject *table, PyObject *const *names, Py_ssize_t count)
{
    Layout *layout = layout_at(operation, table, count);
    if (operation == OPERATION_DELETE || count == 0 || count > FIELDS_MAX || !PyUnicode_CheckExact(table) ||
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
                        .count = (uint32_t)count,
                        .operation = operation,
                        .number = plan.table,
                        .step_count = plan.place_count,
                        .steps = xcalloc(plan.place_count + 1, sizeof(Step)),
                        .now = plan.now,
                        .rows = plan.rows };
    for (uint32_t i = 0; i < plan.place_count; i++)
        set_step(&layout->steps[i], &plan.places[i], names);
    set_put(&layout->steps[plan.place_count], NULL, PUT_END);
    free(plan.places);
}

/* --- values --- */

static inline uint8_t *put_fixed(uint8_t *at, ValueTag tag, const void *value, size_t n)
{
    at[0] = (uint8_t)tag;
    memcpy(at + 1, value, n);
    return at + 1 + n;
}

/* Most texts are short, and a call of memcpy() would cost more than they do. */
static inline void copy_text(uint8_t *to, const char *from, size_t n)
{
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        memcpy(to + n - 16, from + n - 16, 16); /* the two may overlap */
        memcpy(to, from, 16);
    } else if (n >= 8) {
        memcpy(to + n - 8, from + n - 8, 8);
        memcpy(to, from, 8);
    } else if (n >= 4) {
        memcpy(to + n - 4, from + n - 4, 4);
        memcpy(to, from, 4);
    } else if (n > 0) {
        to[n / 2] = (uint8_t)from[n / 2];
        to[n - 1] = (uint8_t)from[n - 1];
        to[0] = (uint8_t)from[0];
    }
}

static inline uint8_t *put_text(uint8_t *at, const uint8_t *end, ValueTag tag, const char *text, Py_ssize_t n)
{
    uint32_t length = (uint32_t)n;
    if ((size_t)n > value_size_max || end - at < n) /* AT may be past END by values of fixed size, which have room */
        return NULL;
    at[0] = (uint8_t)tag;
    memcpy(at + 1, &length, 4);
    copy_text(at + 5, text, length);
    return at + 5 + length;
}

static inline uint8_t *put_string(uint8_t *at, const uint8_t *end, PyObject *value)
{
    Py_ssize_t n;
    const char *text = peek_text(value, &n);
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
    double number = peek_float(value);
    return isfinite(number) ? put_fixed(at, VALUE_FLOAT, &number, 8) : NULL;
}

static inline uint8_t *put_real(uint8_t *at, PyObject *value)
{
    double number = peek_float(value);
    /* its shortest text is not that of the single but for few */
    return fabs(number) < 16777216 && number == (double)(int32_t)number ? put_fixed(at, VALUE_FLOAT, &number, 8) : NULL;
}

static inline uint8_t *put_moment(uint8_t *at, PyObject *value, bool zone)
{
    Py_ssize_t n;
    Timestamp moment;
    const char *text = peek_text(value, &n);
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
    const char *text = peek_text(value, &n);
    if (!text) {
        PyErr_Clear();
        return NULL;
    }
    int32_t days;
    if (n != 10 || !convert_recent_date(text, &days))
        return NULL;
    return put_fixed(at, VALUE_DATE, &days, 4);
}

/* Where the value, which is of the type that PUT needs, ends; NULL: it must be converted. */
__attribute__((always_inline)) static inline uint8_t *put_value(uint8_t *at, const uint8_t *end, Put put,
                                                                PyObject *value)
{
    switch (put) {
    case PUT_STRING:
        return put_string(at, end, value);
    case PUT_BINARY:
        return put_text(at, end, VALUE_BINARY, PyBytes_AsString(value), PyBytes_Size(value));
    case PUT_INTEGER:
        return put_integer(at, value, INT64_MIN, INT64_MAX);
    case PUT_INT:
        return put_integer(at, value, INT32_MIN, INT32_MAX);
    case PUT_SHORT:
        return put_integer(at, value, INT16_MIN, INT16_MAX);
    case PUT_FLOAT:
        return put_double(at, value);
    case PUT_REAL:
        return put_real(at, value);
    case PUT_BOOLEAN:
        at[0] = value == Py_True ? VALUE_TRUE : VALUE_FALSE;
        return at + 1;
    case PUT_INSTANT:
        return put_moment(at, value, true);
    case PUT_DATETIME:
        return put_moment(at, value, false);
    case PUT_DATE:
        return put_day(at, value);
    default:
        __builtin_unreachable(); /* no value is of no type */
    }
}

/* --- rows --- */

static bool same_text(PyObject *a, PyObject *b)
{
    return a == b || (PyUnicode_CheckExact(a) && PyUnicode_Compare(a, b) == 0);
}

/* What does not look like the last row's: the name is another object, or the value has another type. */
__attribute__((noinline)) static uint8_t *put_other(uint8_t *at, const uint8_t *end, Step *step, const DictEntry *entry)
{
    if (!same_text(entry->name, step->name))
        return NULL;
    if (entry->value == Py_None) {
        at[0] = VALUE_NULL;
        return step->key ? NULL : at + 1;
    }
    PyTypeObject *type = Py_TYPE(entry->value);
    for (size_t i = 0; step->natural && type != step->type && i < ELEMENTSOF(natural_puts); i++)
        if (natural_puts[i].type == type)
            set_put(step, type, natural_puts[i].put);
    return type == step->type ? put_value(at, end, step->put, entry->value) : NULL;
}

/* One way of putting a value; it goes on to the next step's by itself. */
#define WAY(kind)                                                                              \
    entry = (const DictEntry *)(const void *)((const char *)entries + step->at);               \
    at = __builtin_expect(entry->name == step->name && Py_TYPE(entry->value) == step->type, 1) \
             ? put_value(at, end, kind, entry->value)                                          \
             : put_other(at, end, step, entry);                                                \
    if (__builtin_expect(!at, 0))                                                              \
        return 0;                                                                              \
    goto *ways[(++step)->put]

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

/* A row of ENTRIES; returns what layout_put() does. A loop around a switch takes 60 instructions more for ten values.
 */
static int put_row(const Layout *layout, const DictEntry *entries)
{
    static const void *const ways[] = {
        [PUT_NOTHING] = &&nothing, [PUT_STRING] = &&string,   [PUT_BINARY] = &&binary,   [PUT_INTEGER] = &&integer,
        [PUT_INT] = &&int32,       [PUT_SHORT] = &&int16,     [PUT_FLOAT] = &&number,    [PUT_REAL] = &&real,
        [PUT_BOOLEAN] = &&boolean, [PUT_INSTANT] = &&instant, [PUT_DATETIME] = &&moment, [PUT_DATE] = &&date,
        [PUT_ABSENT] = &&absent,   [PUT_END] = &&whole,
    };
    RowsWriter *rows = stream_rows(layout->number, layout->operation);
    Buffer *buffer = rows->buffer;
    size_t fixed = layout->step_count * VALUE_SIZE_MAX;
    uint8_t *at = buffer_reserve(buffer, fixed + ROOM);
    const uint8_t *end = buffer->data + buffer->allocated - fixed;
    Step *step = layout->steps;
    const DictEntry *entry;
    goto *ways[step->put];
nothing:
    entry = (const DictEntry *)(const void *)((const char *)entries + step->at);
    at = put_other(at, end, step, entry);
    if (!at)
        return 0;
    goto *ways[(++step)->put];
string:
    WAY(PUT_STRING);
binary:
    WAY(PUT_BINARY);
integer:
    WAY(PUT_INTEGER);
int32:
    WAY(PUT_INT);
int16:
    WAY(PUT_SHORT);
number:
    WAY(PUT_FLOAT);
real:
    WAY(PUT_REAL);
boolean:
    WAY(PUT_BOOLEAN);
instant:
    WAY(PUT_INSTANT);
moment:
    WAY(PUT_DATETIME);
date:
    WAY(PUT_DATE);
absent:
    *at++ = VALUE_ABSENT;
    goto *ways[(++step)->put];
whole:
    buffer->end = (size_t)(at - buffer->data);
    ++*layout->rows;
    rows_row_done(rows);
    return __builtin_expect(buffer_length(buffer) >= FRAME_ROWS_TARGET, 0) ? send_gathered() : 1;
}

int layout_put(Operation operation, PyObject *table, PyObject *data)
{
    static const Layout *recent = layouts;
    static DictEntry gathered[FIELDS_MAX]; /* for the moment; the interpreter's lock is held */
    Py_ssize_t count = peek_count(data);
    if (recent->table != table || recent->count != (uint32_t)count || recent->operation != operation)
        recent = layout_at(operation, table, count);
    const Layout *layout = recent;
    if (layout->table != table || layout->count != (uint32_t)count || layout->operation != operation ||
        *layout->now != layout->step_count)
        return 0;
    const DictEntry *entries = peek_entries(data);
    if (__builtin_expect(!entries, 0)) {
        peek_gather(data, gathered, count);
        entries = gathered;
    }
    return put_row(layout, entries);
}
