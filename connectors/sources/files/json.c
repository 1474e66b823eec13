/*
 * A parse allocates one array of values, and grows it where the guess was short. So the allocator keeps one block: the
 * first allocation gets it, further ones (the copy of the text where parsing is not in place, a writer's output) come
 * from malloc. A block that one giant document has grown is given back after it.
 *
 * yyjson parses without recursion, so that depth costs it nothing; the bound is for those who read the value later.
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

bool json_depth_is_fine(yyjson_val *value)
{
    /* Values lie one behind the other, and a container knows where it ends. */
    yyjson_val *ends[JSON_DEPTH_MAX];
    size_t depth = 0;
    if (!yyjson_is_ctn(value))
        return true;
    yyjson_val *end = unsafe_yyjson_get_next(value);
    for (yyjson_val *at = value; at < end; at++) {
        while (depth > 0 && at == ends[depth - 1])
            depth--;
        if (!yyjson_is_ctn(at))
            continue;
        if (depth == JSON_DEPTH_MAX)
            return false;
        ends[depth++] = unsafe_yyjson_get_next(at);
    }
    return true;
}

void json_put_string(Buffer *to, const char *text, size_t n)
{
    size_t from = 0;
    buffer_append(to, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buffer_append(to, text + from, i - from);
        from = i + 1;
        if (c >= 0x20)
            buffer_printf(to, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            buffer_append_string(to, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else
            buffer_printf(to, "\\u%04x", c);
    }
    buffer_append(to, text + from, n - from);
    buffer_append(to, "\"", 1);
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
