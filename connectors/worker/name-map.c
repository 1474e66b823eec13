/*
 * Open addressing with linear probing, at most half full. Names come from the source and live as long as the sync, so
 * nothing is ever removed; FNV-1a is enough, as a source that makes names collide slows down nobody but itself.
 */
#include "connectors/worker/name-map.h"

#include <string.h>

#define SLOTS_MIN 16

static uint32_t hash_of(FrameText name)
{
    uint32_t hash = UINT32_C(2166136261);
    for (uint32_t i = 0; i < name.length; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * UINT32_C(16777619);
    return hash;
}

/* The entry of NAME, or the free one where it belongs. */
static NameMapEntry *find(const NameMap *map, FrameText name, uint32_t hash)
{
    for (uint32_t i = hash;; i++) {
        NameMapEntry *entry = &map->entries[i & (map->allocated - 1)];
        if (!entry->name ||
            (entry->hash == hash && entry->length == name.length && memcmp(entry->name, name.data, name.length) == 0))
            return entry;
    }
}

uint32_t name_map_get(const NameMap *map, FrameText name)
{
    if (map->allocated == 0)
        return NAME_MAP_NONE;
    const NameMapEntry *entry = find(map, name, hash_of(name));
    return entry->name ? entry->number : NAME_MAP_NONE;
}

static void grow(NameMap *map)
{
    NameMap larger = { .allocated = MAX_OF(2 * map->allocated, (uint32_t)SLOTS_MIN), .count = map->count };
    larger.entries = xcalloc(larger.allocated, sizeof(*larger.entries));
    for (uint32_t i = 0; i < map->allocated; i++) {
        const NameMapEntry *entry = &map->entries[i];
        if (entry->name)
            *find(&larger, (FrameText){ entry->name, entry->length }, entry->hash) = *entry;
    }
    free(map->entries);
    *map = larger;
}

void name_map_put(NameMap *map, FrameText name, uint32_t number)
{
    if (2 * (map->count + 1) > map->allocated)
        grow(map);
    uint32_t hash = hash_of(name);
    *find(map, name, hash) = (NameMapEntry){
        .name = xstrndup(name.data, name.length), .length = name.length, .hash = hash, .number = number
    };
    map->count++;
}

void name_map_clear(NameMap *map)
{
    for (uint32_t i = 0; i < map->allocated; i++)
        free(map->entries[i].name);
    free(map->entries);
    *map = (NameMap){ 0 };
}
