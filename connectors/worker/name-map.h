#pragma once
/* From names to small numbers: a hash table that only grows. */
#include "lib/formats/frame.h"

typedef struct NameMapEntry {
    char *name; /* owned */
    uint32_t length, hash, number;
} NameMapEntry;

typedef struct NameMap {
    NameMapEntry *entries; /* a power of two of them; free where name is NULL */
    uint32_t allocated, count;
} NameMap;

#define NAME_MAP_NONE UINT32_MAX

uint32_t name_map_get(const NameMap *map, FrameText name);        /* NAME_MAP_NONE: not there */
void name_map_put(NameMap *map, FrameText name, uint32_t number); /* NAME, which is copied, must not be there */
void name_map_clear(NameMap *map);
