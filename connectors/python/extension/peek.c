/*
 * Within a minor version CPython does not change its objects' memory, so that a list of versions is a promise; the
 * trial is there for an interpreter that was built in a way of its own. Dicts of every size class are tried: the index
 * before the entries is of one, two or four bytes an entry.
 */
#include "connectors/python/extension/peek.h"

#include <stdlib.h>
#include <string.h>

bool peek_is_known;
uint32_t peek_text_mask;
size_t peek_text_at;

Py_ssize_t peek_gather(PyObject *dict, DictEntry *ret, Py_ssize_t most)
{
    Py_ssize_t place = 0, count = 0;
    while (count < most && PyDict_Next(dict, &place, &ret[count].name, &ret[count].value))
        count++;
    return count;
}

/* --- the trial --- */

/* DICT's first entries are read as PyDict_Next() tells them, or left to it. */
static bool is_read_right(PyObject *dict)
{
    enum { MOST = 16 };
    DictEntry told[MOST];
    Py_ssize_t count = peek_gather(dict, told, MOST);
    const DictEntry *entries = peek_entries(dict);
    return peek_count(dict) == PyDict_Size(dict) &&
           (!entries || memcmp(entries, told, (size_t)count * sizeof(*told)) == 0);
}

static bool try_dicts(void)
{
    _cleanup_(object_freep) PyObject *dict = PyDict_New();
    bool good = dict && is_read_right(dict);
    for (long i = 0; good && i < 400; i++) {
        _cleanup_(object_freep) PyObject *name = PyUnicode_FromFormat("name %ld", i);
        _cleanup_(object_freep) PyObject *value = PyLong_FromLong(1000 + i);
        good = name && value && PyDict_SetItem(dict, name, value) == 0 && is_read_right(dict) && peek_entries(dict);
    }
    /* what it must be left to PyDict_Next() for: a gap, and a name that is no text */
    good = good && PyDict_DelItemString(dict, "name 5") == 0 && !peek_entries(dict) && is_read_right(dict);
    _cleanup_(object_freep) PyObject *number = PyLong_FromLong(5);
    _cleanup_(object_freep) PyObject *other = PyDict_New();
    return good && number && other && PyDict_SetItem(other, number, number) == 0 && !peek_entries(other) &&
           is_read_right(other);
}

/* TEXT lies where it should if it is ASCII, and is left to PyUnicode_AsUTF8AndSize() if not. */
static bool is_text_read_right(const char *text, bool ascii)
{
    _cleanup_(object_freep) PyObject *object = PyUnicode_FromString(text);
    Py_ssize_t told_length, length;
    const char *told = object ? PyUnicode_AsUTF8AndSize(object, &told_length) : NULL;
    if (!told)
        return false;
    bool lies_there = (((const Text *)(const void *)object)->state & TEXT_IS_COMPACT_ASCII) == TEXT_IS_COMPACT_ASCII;
    return lies_there == ascii && peek_text(object, &length) == told && length == told_length;
}

static bool try_texts(void)
{
    _cleanup_(object_freep) PyObject *object = PyUnicode_FromString("an ASCII text");
    const char *text = object ? PyUnicode_AsUTF8AndSize(object, NULL) : NULL;
    peek_text_mask = TEXT_IS_COMPACT_ASCII;
    peek_text_at = text ? (size_t)(text - (const char *)object) : 0;
    return peek_text_at >= sizeof(Text) && peek_text_at <= 2 * sizeof(Text) && is_text_read_right("", true) &&
           is_text_read_right("x", true) && is_text_read_right("2024-02-09T01:02:03Z", true) &&
           is_text_read_right("\xC3\xA9t\xC3\xA9", false) && is_text_read_right("\xE6\x98\xA5", false) &&
           is_text_read_right("\xF0\x9F\x8C\xB8", false);
}

static bool try_floats(void)
{
    static const double numbers[] = { 0, 1.5, -2.75e300, 5e-324 };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        _cleanup_(object_freep) PyObject *object = PyFloat_FromDouble(numbers[i]);
        if (!object || peek_float(object) != numbers[i])
            return false;
    }
    return true;
}

void peek_setup(void)
{
    const char *version = Py_GetVersion();
    char *end;
    long major = strtol(version, &end, 10), minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    peek_is_known = major == 3 && minor >= 11 && minor <= 13;
    peek_is_known = peek_is_known && try_dicts() && try_texts() && try_floats();
    if (!peek_is_known)
        peek_text_mask = 0;
    PyErr_Clear();
}
