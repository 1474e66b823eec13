/*
 * A parse allocates one array of values, and grows it where the guess was short. So the allocator keeps one block: the
 * first allocation gets it, further ones (the copy of the text where parsing is not in place, a writer's output) come
 * from malloc. A block that one giant document has grown is given back after it.
 */
#include "connectors/sources/files/json.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/basics/buffer.h"

#define BLOCK_SIZE_MIN (64u << 10)
#define BLOCK_SIZE_KEEP (4u << 20)

static void *memory_malloc(void *context, size_t size)
{
    JsonMemory *memory = context;
    if (memory->taken)
        return malloc(size);
    if (memory->size < size) {
        free(memory->block);
        memory->size = MAX_OF(size, (size_t)BLOCK_SIZE_MIN);
        memory->block = malloc(memory->size);
        if (!memory->block) {
            memory->size = 0;
            return NULL;
        }
    }
    memory->taken = true;
    return memory->block;
}

static void *memory_realloc(void *context, void *pointer, size_t old_size, size_t size)
{
    JsonMemory *memory = context;
    if (pointer != memory->block)
        return realloc(pointer, size);
    if (size <= memory->size)
        return pointer;
    void *block = realloc(memory->block, size);
    if (block) {
        memory->block = block;
        memory->size = size;
    }
    return block;
}

static void memory_free(void *context, void *pointer)
{
    JsonMemory *memory = context;
    if (pointer != memory->block) {
        free(pointer);
        return;
    }
    memory->taken = false;
    if (memory->size > BLOCK_SIZE_KEEP) {
        free(memory->block);
        memory->block = NULL;
        memory->size = 0;
    }
}

void json_memory_init(JsonMemory *memory)
{
    *memory = (JsonMemory){ .allocator = { memory_malloc, memory_realloc, memory_free, memory } };
}

void json_memory_clear(JsonMemory *memory)
{
    assert(!memory->taken);
    free(memory->block);
    *memory = (JsonMemory){ 0 };
}

const char *json_validate(JsonMemory *memory, const char *text, size_t n)
{
    yyjson_doc *document = yyjson_read_opts((char *)text, n, YYJSON_READ_NUMBER_AS_RAW, &memory->allocator, NULL);
    if (!document)
        return "not valid JSON";
    bool fine = json_depth_is_fine(yyjson_doc_get_root(document));
    yyjson_doc_free(document);
    return fine ? NULL : "JSON nested too deeply (more than 512 levels)";
}
