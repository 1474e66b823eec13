/*
 * The extension _wherry of the Python module fivetran_connector_sdk: the operations, and for its own runner what a sync
 * is begun and ended with. One process runs one sync, so that what is remembered of it is static.
 */
#include "connectors/python/extension/operations.h"
#include "connectors/python/extension/stream.h"

static PyObject *result(int r)
{
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

/* begin(control, operations) -> (configuration, state) */
static PyObject *begin(PyObject *self, PyObject *arguments)
{
    int control, operations;
    return PyArg_ParseTuple(arguments, "ii:begin", &control, &operations) ? stream_begin(control, operations) : NULL;
}

/* prepare(source_names, max_value_size, plan) */
static PyObject *prepare(PyObject *self, PyObject *arguments)
{
    int source_names, plan;
    unsigned long long most;
    if (!PyArg_ParseTuple(arguments, "pKp:prepare", &source_names, &most, &plan))
        return NULL;
    return result(operations_begin(source_names, most, plan));
}

/* log(priority, message, level="") */
static PyObject *log_message(PyObject *self, PyObject *arguments)
{
    int priority;
    const char *message, *level = "";
    Py_ssize_t n;
    if (!PyArg_ParseTuple(arguments, "is#|s:log", &priority, &message, &n, &level))
        return NULL;
    if (priority < 0 || priority > 7) {
        PyErr_SetString(PyExc_ValueError, "a priority is from 0 to 7");
        return NULL;
    }
    return result(stream_log(priority, message, n, level));
}

/* fail(kind, message) */
static PyObject *fail(PyObject *self, PyObject *arguments)
{
    int kind;
    const char *message;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(arguments, "is#:fail", &kind, &message, &n))
        return NULL;
    if (kind <= ERROR_NONE || kind >= _ERROR_KIND_MAX) {
        PyErr_SetString(PyExc_ValueError, "there is no such kind of error");
        return NULL;
    }
    return result(stream_fail(kind, message, n));
}

static PyObject *tick(PyObject *self, PyObject *nothing)
{
    return result(stream_tick());
}

static PyObject *end(PyObject *self, PyObject *nothing)
{
    return result(stream_end());
}

static PyMethodDef methods[] = { { "begin", begin, METH_VARARGS, NULL },
                                 { "prepare", prepare, METH_VARARGS, NULL },
                                 { "log", log_message, METH_VARARGS, NULL },
                                 { "tick", tick, METH_NOARGS, NULL },
                                 { "end", end, METH_NOARGS, NULL },
                                 { "fail", fail, METH_VARARGS, NULL },
                                 { NULL, NULL, 0, NULL } };

static PyModuleDef module = { PyModuleDef_HEAD_INIT, .m_name = "_wherry", .m_size = -1, .m_methods = methods };

PyMODINIT_FUNC PyInit__wherry(void);
PyMODINIT_FUNC PyInit__wherry(void)
{
    _cleanup_(object_freep) PyObject *made = PyModule_Create(&module);
    if (!made || PyModule_AddFunctions(made, operations_methods) < 0 || operations_setup() < 0 ||
        PyModule_AddIntConstant(made, "ERROR_TEMPORARY", ERROR_TEMPORARY) < 0)
        return NULL;
    return Py_NewRef(made);
}
