#pragma once
/* What yyjson needs to parse many small documents one after another: one block of memory that is used again and again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "lib/formats/json-text.h"

typedef struct JsonMemory {
    yyjson_alc allocator; /* to be given to yyjson_read_opts() */
    void *block;          /* owned */
    size_t size;
    bool taken;
} JsonMemory;

void json_memory_init(JsonMemory *memory); /* must not be moved afterwards */
void json_memory_clear(JsonMemory *memory);

/* NULL, or why TEXT is not one valid JSON value (a static text). */
const char *json_validate(JsonMemory *memory, const char *text, size_t n);
