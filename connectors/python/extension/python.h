#pragma once
/* CPython's limited API of 3.10: what is compiled once runs under every later version. */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030A0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "lib/basics/cleanup.h"

static inline void object_freep(PyObject **object)
{
    Py_XDECREF(*object);
}
