#pragma once
/*
 * The entries of a dict, read where they lie. PyDict_Next() costs 40 instructions an entry, which is more than taking
 * and writing most values, and nothing else in the limited API is cheaper.
 *
 * This is the one place that knows more of CPython than the limited API promises: how dicts of str keys have lain in
 * memory since 3.11. It is only believed where the version is one that is known and dicts made for it are read right
 * (dict_setup()). Everywhere else, and for dicts with gaps, with other keys, or that share their keys with an object's
 * class, PyDict_Next() is asked.
 */
#include "connectors/python/extension/python.h"

typedef struct DictEntry {
    PyObject *name, *value;
} DictEntry;

typedef struct DictKeys {
    Py_ssize_t references;
    uint8_t size_log2;
    uint8_t index_bytes_log2;
    uint8_t kind;
    uint8_t lock;
    uint32_t version;
    Py_ssize_t usable;
    Py_ssize_t entry_count; /* gaps included */
    uint8_t index[];        /* then the entries */
} DictKeys;

typedef struct Dict {
    PyObject head;
    Py_ssize_t count;
    uint64_t version;
    const DictKeys *keys;
} Dict;

enum { DICT_KEYS_OF_TEXT = 1 }; /* the kind whose entries are DictEntry; those that are shared are of another */

extern bool dict_is_known;

void dict_setup(void); /* once, with the module */
/* Up to MOST entries by way of PyDict_Next(); returns how many there are. */
Py_ssize_t dict_gather(PyObject *dict, DictEntry *ret, Py_ssize_t most);

/* The entries of DICT, exactly a dict, in their order, borrowed until anything changes it; NULL: dict_gather() them. */
static inline const DictEntry *dict_entries(PyObject *dict)
{
    const Dict *inner = (const Dict *)(const void *)dict;
    if (__builtin_expect(!dict_is_known, 0))
        return NULL;
    const DictKeys *keys = inner->keys;
    if (__builtin_expect(keys->kind != DICT_KEYS_OF_TEXT || keys->entry_count != inner->count, 0))
        return NULL;
    return (const DictEntry *)(const void *)(keys->index + ((size_t)1 << keys->index_bytes_log2));
}

static inline Py_ssize_t dict_count(PyObject *dict)
{
    return __builtin_expect(dict_is_known, 1) ? ((const Dict *)(const void *)dict)->count : PyDict_Size(dict);
}
