/*
 * Within a minor version CPython does not change its objects' memory, so that a list of versions is a promise; the
 * trial is there for an interpreter that was built in a way of its own. Dicts of every size class are tried: the index
 * before the entries is of one, two or four bytes an entry.
 */
#include "connectors/python/extension/dict.h"

#include <stdlib.h>
#include <string.h>

bool dict_is_known;

Py_ssize_t dict_gather(PyObject *dict, DictEntry *ret, Py_ssize_t most)
{
    Py_ssize_t place = 0, count = 0;
    while (count < most && PyDict_Next(dict, &place, &ret[count].name, &ret[count].value))
        count++;
    return count;
}

/* DICT's first entries are read as PyDict_Next() tells them, or left to it. */
static bool is_read_right(PyObject *dict)
{
    enum { MOST = 16 };
    DictEntry told[MOST];
    Py_ssize_t count = dict_gather(dict, told, MOST);
    const DictEntry *entries = dict_entries(dict);
    return dict_count(dict) == PyDict_Size(dict) &&
           (!entries || memcmp(entries, told, (size_t)count * sizeof(*told)) == 0);
}

static bool try_sizes(void)
{
    _cleanup_(object_freep) PyObject *dict = PyDict_New();
    bool good = dict && is_read_right(dict);
    for (long i = 0; good && i < 400; i++) {
        _cleanup_(object_freep) PyObject *name = PyUnicode_FromFormat("name %ld", i);
        _cleanup_(object_freep) PyObject *value = PyLong_FromLong(1000 + i);
        good = name && value && PyDict_SetItem(dict, name, value) == 0 && is_read_right(dict) && dict_entries(dict);
    }
    /* what it must be left to PyDict_Next() for: a gap, and a name that is no text */
    good = good && PyDict_DelItemString(dict, "name 5") == 0 && !dict_entries(dict) && is_read_right(dict);
    _cleanup_(object_freep) PyObject *number = PyLong_FromLong(5);
    _cleanup_(object_freep) PyObject *other = PyDict_New();
    good = good && number && other && PyDict_SetItem(other, number, number) == 0 && !dict_entries(other) &&
           is_read_right(other);
    PyErr_Clear();
    return good;
}

void dict_setup(void)
{
    const char *version = Py_GetVersion();
    char *end;
    long major = strtol(version, &end, 10), minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    dict_is_known = major == 3 && minor >= 11 && minor <= 13;
    dict_is_known = dict_is_known && try_sizes();
}
