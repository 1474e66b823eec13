/*
 * A row goes one of two ways.
 *
 * The quick one (layout.c) is for rows that look like one before: the same table, the same names in the same order, and
 * values that are what their columns hold. They are put on the pipe in one walk over the dict.
 *
 * All others go through the emitter. First the names and values are gathered, then converted, which may run any Python
 * code, and only then, when nothing can come in between, the row is put. A row that is refused has left nothing behind,
 * and its exception, which the connector may catch, says which table, row and column it was. Where not the value but
 * the data as a whole cannot be right (a key without a value, two names that meet in one), the sync fails even if the
 * connector caught it: the row would be missing without a word.
 */
#include "connectors/python/extension/operations.h"

#include <string.h>
#include <syslog.h>

#include "connectors/python/extension/convert.h"
#include "connectors/python/extension/layout.h"
#include "connectors/python/extension/peek.h"
#include "connectors/python/extension/stream.h"

#define FIELDS_ON_STACK 64

static Emitter *emitter;
static PyObject *declared; /* {table: {column: TYPE_… or ColumnType}} */
static PyObject *json_dumps;
static char *failure; /* the first error that the sync cannot outlive */

int operations_setup(void)
{
    declared = PyDict_New();
    peek_setup();
    return declared && convert_setup() == 0 ? 0 : -1;
}

int operations_begin(bool source_names, unsigned long long max_value_size, bool plan)
{
    emitter = emitter_new(
        stream_worker(),
        &(EmitterOptions){ .source_names = source_names, .max_value_size = max_value_size, .untyped = plan });
    layout_begin(emitter, max_value_size);
    return 0;
}

/* --- errors --- */

static int raise(Error *error)
{
    _cleanup_(freep) char *message = error_format(error);
    EmitterFault fault = emitter_fault(emitter);
    bool ours = error->kind == ERROR_DATA;
    PyErr_SetString(!ours                         ? PyExc_RuntimeError
                    : fault == EMITTER_FAULT_TYPE ? PyExc_TypeError
                                                  : PyExc_ValueError,
                    message);
    if (ours && fault == EMITTER_FAULT_NONE && !failure)
        failure = take_ptr(message);
    error_clear(error);
    return -1;
}

/* Adds to the exception that is set which value it is about, where Python can (3.11). */
static void add_place(PyObject *table, PyObject *column)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && PyObject_HasAttrString(value, "add_note")) {
        _cleanup_(object_freep) PyObject *note =
            PyUnicode_FromFormat("table \"%.200U\", column \"%.200U\"", table, column);
        _cleanup_(object_freep) PyObject *done = note ? PyObject_CallMethod(value, "add_note", "O", note) : NULL;
        if (!done)
            PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

/* --- arguments --- */

typedef struct Signature {
    const char *name;
    const char *names[3]; /* positional, then others that the second may be called */
    unsigned required;
    bool takes_file;
} Signature;

static PyObject *type_name(PyObject *object)
{
    return PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__name__");
}

/* TEXT, called WHAT, must be a str that is not blank. */
static int check_text(PyObject *text, const char *what)
{
    if (!PyUnicode_Check(text)) {
        _cleanup_(object_freep) PyObject *type = type_name(text);
        if (type)
            PyErr_Format(PyExc_TypeError, "%s must be a string, got %U", what, type);
        return -1;
    }
    _cleanup_(object_freep) PyObject *stripped = PyObject_CallMethod(text, "strip", NULL);
    if (!stripped)
        return -1;
    if (PyUnicode_GetLength(stripped) > 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s must be a non-empty string", what);
    return -1;
}

static int take_keyword(const Signature *signature, PyObject *name, PyObject *value, PyObject *found[static 2])
{
    for (unsigned i = 0; i < ELEMENTSOF(signature->names) && signature->names[i]; i++)
        if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) == 0) {
            unsigned place = MIN_OF(i, signature->required - 1);
            if (found[place]) {
                PyErr_Format(PyExc_TypeError, "Operations.%s() got multiple values for argument '%U'", signature->name,
                             name);
                return -1;
            }
            found[place] = value;
            return 0;
        }
    if (PyUnicode_CompareWithASCIIString(name, "schema") == 0) {
        if (value == Py_None)
            return 0;
        if (check_text(value, "'schema'") == 0)
            PyErr_Format(PyExc_ValueError,
                         "Operations.%s() got schema=%R: the destination's schema is the connection's, name it there",
                         signature->name, value);
        return -1;
    }
    if (signature->takes_file && PyUnicode_CompareWithASCIIString(name, "file") == 0) {
        if (value == Py_None)
            return 0;
        PyErr_Format(PyExc_ValueError, "Operations.%s() got file=…: files cannot be uploaded, only rows",
                     signature->name);
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "Operations.%s() got an unexpected keyword argument '%U'", signature->name, name);
    return -1;
}

static int take_arguments(const Signature *signature, PyObject *const *arguments, Py_ssize_t n, PyObject *names,
                          PyObject *found[static 2])
{
    found[0] = found[1] = NULL;
    if (n > (Py_ssize_t)signature->required) {
        PyErr_Format(PyExc_TypeError, "Operations.%s() takes %u positional argument%s but %zd were given",
                     signature->name, signature->required, signature->required == 1 ? "" : "s", n);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        found[i] = arguments[i];
    Py_ssize_t keywords = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < keywords; i++)
        if (take_keyword(signature, PyTuple_GetItem(names, i), arguments[n + i], found) < 0)
            return -1;
    for (unsigned i = 0; i < signature->required; i++)
        if (!found[i]) {
            PyErr_Format(PyExc_TypeError, "Operations.%s() missing 1 required positional argument: '%s'",
                         signature->name, signature->names[i]);
            return -1;
        }
    return check_text(found[0], "Table name");
}

static int table_text(PyObject *table, FrameText *ret)
{
    ret->data = convert_text(table, &ret->length);
    return ret->data ? 0 : -1;
}

/* --- rows --- */

typedef struct Row {
    PyObject **names, **values; /* owned, and what they point to */
    EmitterField *fields;
    Py_ssize_t count;
    PyObject *keep; /* what the fields point into besides */
    PyObject *on_stack[2 * FIELDS_ON_STACK];
    EmitterField fields_on_stack[FIELDS_ON_STACK];
} Row;

static void row_clear(Row *row)
{
    for (Py_ssize_t i = 0; i < row->count; i++) {
        Py_DECREF(row->names[i]);
        Py_DECREF(row->values[i]);
    }
    Py_XDECREF(row->keep);
    if (row->names != row->on_stack) {
        free(row->names);
        free(row->fields);
    }
}

static void row_make_room(Row *row, Py_ssize_t n)
{
    row->count = 0;
    row->keep = NULL;
    row->names = row->on_stack;
    row->fields = row->fields_on_stack;
    if (n > FIELDS_ON_STACK) {
        row->names = xcalloc(2 * (size_t)n, sizeof(*row->names));
        row->fields = xcalloc((size_t)n, sizeof(*row->fields));
    }
    row->values = row->names + MAX_OF(n, FIELDS_ON_STACK);
}

/* The names and values of DATA, a dict. Nothing can change it meanwhile. */
static void gather_dict(Row *row, PyObject *data)
{
    Py_ssize_t place = 0;
    PyObject *name, *value;
    row_make_room(row, PyDict_Size(data));
    while (PyDict_Next(data, &place, &name, &value)) {
        row->names[row->count] = Py_NewRef(name);
        row->values[row->count++] = Py_NewRef(value);
    }
}

/* What is no dict, but has items() as one. Equal names: the last value counts. */
static PyObject *as_dict(PyObject *data)
{
    _cleanup_(object_freep) PyObject *items = PyObject_CallMethod(data, "items", NULL);
    _cleanup_(object_freep) PyObject *dict = items ? PyDict_New() : NULL;
    if (!dict || PyDict_MergeFromSeq2(dict, items, 1) < 0)
        return NULL;
    return take_ptr(dict);
}

static int gather(Row *row, PyObject *data)
{
    row_make_room(row, 0);
    if (PyDict_CheckExact(data)) {
        gather_dict(row, data);
        return 0;
    }
    _cleanup_(object_freep) PyObject *dict = as_dict(data);
    if (!dict)
        return -1;
    gather_dict(row, dict);
    return 0;
}

static int convert_row(Row *row, PyObject *table)
{
    PyObject *types = PyDict_GetItemWithError(declared, table);
    if (!types && PyErr_Occurred())
        return -1;
    for (Py_ssize_t i = 0; i < row->count; i++) {
        EmitterField *field = &row->fields[i];
        if (!PyUnicode_Check(row->names[i])) {
            PyErr_BadArgument();
            return -1;
        }
        PyObject *code = types ? PyDict_GetItemWithError(types, row->names[i]) : NULL;
        int type = code ? (int)PyLong_AsLong(code) : TYPE_NONE;
        field->name.data = convert_text(row->names[i], &field->name.length);
        if (!field->name.data || PyErr_Occurred())
            return -1;
        if (convert_value(row->values[i], type, field, &row->keep) < 0) {
            add_place(table, row->names[i]);
            return -1;
        }
    }
    return 0;
}

static int put_row(Operation operation, PyObject *table, PyObject *data)
{
    FrameText name;
    Row row;
    _cleanup_(error_clear) Error error = { 0 };
    if (table_text(table, &name) < 0)
        return -1;
    int r = gather(&row, data);
    if (r == 0)
        r = convert_row(&row, table);
    if (r == 0)
        r = stream_enter();
    if (r == 0 && emitter_row(emitter, operation, name, row.fields, (size_t)row.count, &error) < 0)
        r = raise(&error);
    if (r == 0)
        layout_learn(operation, table, row.names, row.count);
    row_clear(&row);
    return r;
}

__attribute__((noinline)) static PyObject *row_operation(const Signature *signature, Operation operation,
                                                         PyObject *const *arguments, Py_ssize_t n, PyObject *names)
{
    PyObject *found[2];
    if (take_arguments(signature, arguments, n, names, found) < 0 || stream_enter() < 0 ||
        put_row(operation, found[0], found[1]) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

/* The quick way first. All that a row costs is between here and layout_put(), so that nothing else is in it. */
static inline PyObject *quick_operation(const Signature *signature, Operation operation, PyObject *const *arguments,
                                        Py_ssize_t n, PyObject *names)
{
    if (__builtin_expect(n == 2 && !names && PyDict_CheckExact(arguments[1]), 1)) {
        if (__builtin_expect(stream_enter() < 0, 0))
            return NULL;
        int r = layout_put(operation, arguments[0], arguments[1]);
        if (__builtin_expect(r > 0, 1))
            return Py_NewRef(Py_None);
        if (r < 0)
            return NULL;
    }
    return row_operation(signature, operation, arguments, n, names);
}

static PyObject *upsert(PyObject *self, PyObject *const *arguments, Py_ssize_t n, PyObject *names)
{
    static const Signature signature = { "upsert", { "table", "data" }, 2, true };
    return quick_operation(&signature, OPERATION_UPSERT, arguments, n, names);
}

static PyObject *update(PyObject *self, PyObject *const *arguments, Py_ssize_t n, PyObject *names)
{
    static const Signature signature = { "update", { "table", "modified", "data" }, 2, true };
    return quick_operation(&signature, OPERATION_UPDATE, arguments, n, names);
}

static PyObject *delete (PyObject *self, PyObject *const *arguments, Py_ssize_t n, PyObject *names)
{
    static const Signature signature = { "delete", { "table", "keys" }, 2, false };
    return row_operation(&signature, OPERATION_DELETE, arguments, n, names);
}

/* --- the other operations --- */

static PyObject *truncate_table(PyObject *self, PyObject *const *arguments, Py_ssize_t n, PyObject *names)
{
    static const Signature signature = { "truncate", { "table" }, 1, false };
    _cleanup_(error_clear) Error error = { 0 };
    PyObject *found[2];
    FrameText table;
    if (take_arguments(&signature, arguments, n, names, found) < 0 || table_text(found[0], &table) < 0 ||
        stream_enter() < 0)
        return NULL;
    if (emitter_truncate(emitter, table, &error) < 0) {
        raise(&error);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyObject *checkpoint(PyObject *self, PyObject *arguments, PyObject *names)
{
    static char *keywords[] = { (char *)(uintptr_t) "state", NULL };
    PyObject *state;
    Py_ssize_t length;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O:checkpoint", keywords, &state))
        return NULL;
    if (!json_dumps) {
        _cleanup_(object_freep) PyObject *json = PyImport_ImportModule("json");
        json_dumps = json ? PyObject_GetAttrString(json, "dumps") : NULL;
        if (!json_dumps)
            return NULL;
    }
    _cleanup_(object_freep) PyObject *text = PyObject_CallFunctionObjArgs(json_dumps, state, NULL);
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &length) : NULL;
    if (!bytes || stream_enter() < 0)
        return NULL;
    _cleanup_(error_clear) Error error = { 0 };
    if (failure) {
        PyErr_SetString(PyExc_RuntimeError, failure);
        return NULL;
    }
    if (emitter_flush(emitter, &error) < 0) {
        raise(&error);
        return NULL;
    }
    return stream_checkpoint(bytes, length) < 0 ? NULL : Py_NewRef(Py_None);
}

/* finish(): what a checkpoint would find wrong; None, or the error that the sync cannot outlive. */
static PyObject *finish(PyObject *self, PyObject *nothing)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (stream_enter() < 0)
        return NULL;
    if (!failure && emitter_flush(emitter, &error) < 0)
        failure = error_format(&error);
    return failure ? PyUnicode_FromString(failure) : Py_NewRef(Py_None);
}

/* --- schema --- */

static int type_code(const char *name, int precision, int scale, Kind *ret)
{
    if (!kind_from_name(name, ret)) {
        PyErr_Format(PyExc_ValueError, "unknown type \"%s\"", name);
        return -1;
    }
    if (ret->type == COLUMN_DECIMAL && precision >= 1 && precision <= DECIMAL_DIGITS_MAX && scale >= 0 &&
        scale <= precision)
        *ret = (Kind){ COLUMN_DECIMAL, (uint8_t)precision, (uint8_t)scale };
    return PyOS_mystricmp(name, "XML") == 0 ? TYPE_XML : (int)ret->type;
}

static int take_column(PyObject *item, EmitterColumn *ret, PyObject *types)
{
    PyObject *name;
    const char *type;
    int precision, scale;
    if (!PyArg_ParseTuple(item, "Usii", &name, &type, &precision, &scale))
        return -1;
    ret->name.data = convert_text(name, &ret->name.length);
    int code = ret->name.data ? type_code(type, precision, scale, &ret->kind) : -1;
    if (code < 0)
        return -1;
    _cleanup_(object_freep) PyObject *number = PyLong_FromLong(code);
    return number ? PyDict_SetItem(types, name, number) : -1;
}

static int take_table(FrameText table, PyObject *keys, PyObject *columns, PyObject *types)
{
    Py_ssize_t key_count = PyList_Size(keys), column_count = PyList_Size(columns);
    _cleanup_(freep) FrameText *key_names = xcalloc((size_t)key_count + 1, sizeof(*key_names));
    _cleanup_(freep) EmitterColumn *list = xcalloc((size_t)column_count + 1, sizeof(*list));
    for (Py_ssize_t i = 0; i < key_count; i++) {
        PyObject *name = PyList_GetItem(keys, i);
        if (!PyUnicode_Check(name)) {
            PyErr_BadArgument();
            return -1;
        }
        key_names[i].data = convert_text(name, &key_names[i].length);
        if (!key_names[i].data)
            return -1;
    }
    for (Py_ssize_t i = 0; i < column_count; i++)
        if (take_column(PyList_GetItem(columns, i), &list[i], types) < 0)
            return -1;
    _cleanup_(error_clear) Error error = { 0 };
    if (stream_enter() < 0)
        return -1;
    return emitter_declare(emitter, table, key_names, (size_t)key_count, list, (size_t)column_count, &error) < 0
               ? raise(&error)
               : 0;
}

/* declare(table, [key, …], [(column, type, precision, scale), …]) */
static PyObject *declare(PyObject *self, PyObject *arguments)
{
    PyObject *table, *keys, *columns;
    FrameText name;
    if (!PyArg_ParseTuple(arguments, "UO!O!:declare", &table, &PyList_Type, &keys, &PyList_Type, &columns))
        return NULL;
    _cleanup_(object_freep) PyObject *types = PyDict_New();
    if (!types || table_text(table, &name) < 0 || take_table(name, keys, columns, types) < 0 ||
        PyDict_SetItem(declared, table, types) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef operations_methods[] = {
    { "upsert", FAST(upsert), METH_FASTCALL | METH_KEYWORDS,
      "upsert(table, data)\n--\n\nInserts the row, or replaces the one with the same primary key: columns that it does "
      "not name become NULL." },
    { "update", FAST(update), METH_FASTCALL | METH_KEYWORDS,
      "update(table, modified)\n--\n\nChanges the named columns of the row with that primary key, if there is one." },
    { "delete", FAST(delete), METH_FASTCALL | METH_KEYWORDS,
      "delete(table, keys)\n--\n\nMarks the row with that primary key as deleted." },
    { "truncate", FAST(truncate_table), METH_FASTCALL | METH_KEYWORDS,
      "truncate(table)\n--\n\nMarks all rows that the table has by now as deleted." },
    { "checkpoint", FAST(checkpoint), METH_VARARGS | METH_KEYWORDS,
      "checkpoint(state)\n--\n\nKeeps the rows so far together with the state, from which the next sync goes on. "
      "Returns when the writer has taken both." },
    { "finish", finish, METH_NOARGS, NULL },
    { "declare", declare, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL }
};
