#pragma once
/*
 * What dicts, texts and floats hold, read where it lies. The limited API asks for each by a call, of which the cheapest
 * costs more than writing the value does; PyDict_Next() takes 40 instructions an entry.
 *
 * This is the one place that knows more of CPython than the limited API promises: how these objects have lain in memory
 * since 3.11. It is only believed where the version is one that is known and objects made for it are read right
 * (peek_setup()). Everywhere else, and for dicts with gaps, with other keys, or that share their keys with an object's
 * class, and for texts that are not ASCII, CPython is asked.
 */
#include "connectors/python/extension/python.h"

extern bool peek_is_known;

void peek_setup(void); /* once, with the module */

/* --- dicts --- */

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

/* Up to MOST entries by way of PyDict_Next(); returns how many there are. */
Py_ssize_t peek_gather(PyObject *dict, DictEntry *ret, Py_ssize_t most);

/* The entries of DICT, exactly a dict, in their order, borrowed until anything changes it; NULL: peek_gather() them. */
static inline const DictEntry *peek_entries(PyObject *dict)
{
    const Dict *inner = (const Dict *)(const void *)dict;
    if (__builtin_expect(!peek_is_known, 0))
        return NULL;
    const DictKeys *keys = inner->keys;
    if (__builtin_expect(keys->kind != DICT_KEYS_OF_TEXT || keys->entry_count != inner->count, 0))
        return NULL;
    return (const DictEntry *)(const void *)(keys->index + ((size_t)1 << keys->index_bytes_log2));
}

static inline Py_ssize_t peek_count(PyObject *dict)
{
    return __builtin_expect(peek_is_known, 1) ? ((const Dict *)(const void *)dict)->count : PyDict_Size(dict);
}

/* --- texts --- */

typedef struct Text {
    PyObject head;
    Py_ssize_t length; /* characters */
    Py_hash_t hash;
    uint32_t state;
} Text;

enum { TEXT_IS_COMPACT_ASCII = 0x60 }; /* both bits */

extern uint32_t peek_text_mask; /* of the state: those bits, or none where nothing is known */
extern size_t peek_text_at;     /* where such a text's bytes begin: 3.12 has one pointer less before them */

/* The UTF-8 of TEXT, exactly a str, borrowed, and its bytes; NULL with an exception where it has none (a surrogate). */
static inline const char *peek_text(PyObject *text, Py_ssize_t *ret_length)
{
    const Text *inner = (const Text *)(const void *)text;
    if (__builtin_expect((inner->state & peek_text_mask) != TEXT_IS_COMPACT_ASCII, 0))
        return PyUnicode_AsUTF8AndSize(text, ret_length);
    *ret_length = inner->length;
    return (const char *)text + peek_text_at;
}

/* --- floats --- */

typedef struct Float {
    PyObject head;
    double number;
} Float;

/* NUMBER is exactly a float. */
static inline double peek_float(PyObject *number)
{
    return __builtin_expect(peek_is_known, 1) ? ((const Float *)(const void *)number)->number
                                              : PyFloat_AsDouble(number);
}
