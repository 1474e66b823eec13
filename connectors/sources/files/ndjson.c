/*
 * One JSON object a line. Each line is parsed where it lies (yyjson, in place, into memory that is used again), numbers
 * staying text, so that an integer beyond 2^63 or a decimal of forty digits is the column's to take or to refuse.
 *
 * Keys of one file nearly always come in the same order. So every position remembers the key that stood there in the
 * line before, and a key costs one comparison; only a surprise is looked up. What a key means is a slot: columns that
 * take the same key share one.
 */
#include <assert.h>
#include <string.h>

#include "connectors/sources/files/reader.h"
#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"

#define PREDICTED_KEYS_MAX 1024
#define NO_SLOT UINT32_MAX

typedef struct PredictedKey {
    char *text; /* owned */
    uint32_t length, allocated;
    uint32_t slot;
} PredictedKey;

typedef struct Slot {
    const char *key; /* the settings' */
    size_t length;
    yyjson_val *value; /* in the line being read; NULL: not there */
} Slot;

typedef struct NdjsonReader {
    FileReader reader; /* first: a FileReader * is an NdjsonReader * */
    JsonMemory *json;  /* not owned */
    Slot *slots;       /* owned */
    size_t slot_count;
    uint32_t *column_slots; /* owned; of each column */
    uint32_t *table;        /* owned; hash of a key → slot, open addressing */
    size_t table_mask;
    PredictedKey *predicted; /* owned */
    size_t predicted_count;
    Buffer line;  /* the last one, as it was read; only where bad rows are kept */
    bool sidecar; /* the objects are a sidecar's, and the rows are in them */
} NdjsonReader;

/* --- keys --- */

static uint32_t *table_place(const NdjsonReader *ndjson, const char *key, size_t length)
{
    size_t i = fnv1a64(key, length) & ndjson->table_mask;
    for (;; i = (i + 1) & ndjson->table_mask) {
        uint32_t slot = ndjson->table[i];
        if (slot == NO_SLOT ||
            (ndjson->slots[slot].length == length && memcmp(ndjson->slots[slot].key, key, length) == 0))
            return &ndjson->table[i];
    }
}

static void make_slots(NdjsonReader *ndjson)
{
    const FilesSettings *settings = ndjson->reader.settings;
    size_t size = 8;
    while (size < 2 * settings->column_count)
        size *= 2;
    ndjson->table = xmalloc(size * sizeof(uint32_t));
    ndjson->table_mask = size - 1;
    for (size_t i = 0; i < size; i++)
        ndjson->table[i] = NO_SLOT;
    ndjson->slots = xcalloc(settings->column_count, sizeof(Slot));
    ndjson->column_slots = xcalloc(settings->column_count, sizeof(uint32_t));
    for (size_t i = 0; i < settings->column_count; i++) {
        const char *key = settings->columns[i].source;
        uint32_t *place = table_place(ndjson, key, strlen(key));
        if (*place == NO_SLOT) {
            ndjson->slots[ndjson->slot_count] = (Slot){ .key = key, .length = strlen(key) };
            *place = (uint32_t)ndjson->slot_count++;
        }
        ndjson->column_slots[i] = *place;
    }
}

static void predict(NdjsonReader *ndjson, size_t position, const char *key, size_t length, uint32_t slot)
{
    if (position >= PREDICTED_KEYS_MAX)
        return;
    if (position >= ndjson->predicted_count) {
        size_t count = MAX_OF(position + 1, ndjson->predicted_count * 2);
        ndjson->predicted = xrealloc(ndjson->predicted, count * sizeof(PredictedKey));
        memset(ndjson->predicted + ndjson->predicted_count, 0,
               (count - ndjson->predicted_count) * sizeof(PredictedKey));
        ndjson->predicted_count = count;
    }
    PredictedKey *predicted = &ndjson->predicted[position];
    if (length > predicted->allocated) {
        if (length > UINT16_MAX)
            return;
        predicted->text = xrealloc(predicted->text, length);
        predicted->allocated = (uint32_t)length;
    }
    if (length > 0)
        memcpy(predicted->text, key, length);
    predicted->length = (uint32_t)length;
    predicted->slot = slot;
}

static inline uint32_t find_slot(NdjsonReader *ndjson, size_t position, const char *key, size_t length)
{
    if (position < ndjson->predicted_count) {
        const PredictedKey *predicted = &ndjson->predicted[position];
        if (predicted->text && predicted->length == length && memcmp(predicted->text, key, length) == 0)
            return predicted->slot;
    }
    uint32_t slot = *table_place(ndjson, key, length);
    predict(ndjson, position, key, length, slot);
    return slot;
}

static int fill_slots(NdjsonReader *ndjson, yyjson_val *object, Error *error)
{
    for (size_t i = 0; i < ndjson->slot_count; i++)
        ndjson->slots[i].value = NULL;
    size_t position, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, position, count, key, value)
    {
        uint32_t slot = find_slot(ndjson, position, unsafe_yyjson_get_str(key), unsafe_yyjson_get_len(key));
        if (slot == NO_SLOT)
            continue;
        if (ndjson->slots[slot].value)
            return reader_fail(&ndjson->reader, ndjson->slots[slot].key, NULL, 0,
                               "the object names this key twice: which value is meant?", error);
        ndjson->slots[slot].value = value;
    }
    return 0;
}

/* --- values --- */

static int put_written(const NdjsonReader *ndjson, const FileColumn *column, yyjson_val *value, RowsWriter *rows,
                       Error *error)
{
    const FileReader *reader = &ndjson->reader;
    if (!json_depth_is_fine(value))
        return reader_fail(reader, column->source, NULL, 0, "JSON nested too deeply (more than 512 levels)", error);
    size_t length;
    char *text = yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, &ndjson->json->allocator, &length, NULL);
    if (!text)
        return reader_fail(reader, column->source, NULL, 0, "too large to be written as JSON text", error);
    int r = 0;
    if (length > reader->settings->max_value_size)
        r = reader_fail(reader, column->source, text, length,
                        "longer than \"max_value_size\" allows; raise it to load this value", error);
    else
        rows_put_text(rows, column->type == COLUMN_JSON ? VALUE_JSON : VALUE_STRING, text, length);
    ndjson->json->allocator.free(ndjson->json->allocator.ctx, text);
    return r;
}

/* Rows that did not come from JSON: a string is the text of its column's type, JSON included, as it was there. */
static bool of_text(const NdjsonReader *ndjson)
{
    return ndjson->sidecar && ndjson->reader.settings->format != FORMAT_NDJSON;
}

static int put_string(const NdjsonReader *ndjson, const FileColumn *column, yyjson_val *value, RowsWriter *rows,
                      Error *error)
{
    const char *text = unsafe_yyjson_get_str(value);
    size_t length = unsafe_yyjson_get_len(value);
    if (length == 0)
        return reader_put_text(&ndjson->reader, column, text, 0, rows, error);
    if (column->type == COLUMN_JSON && !of_text(ndjson))
        return put_written(ndjson, column, value, rows, error);
    /* Only the escape \u0000 can bring one here. */
    if (memchr(text, '\0', length))
        return reader_fail(&ndjson->reader, column->source, text, length, "a NUL character, which no text has", error);
    return reader_put_text(&ndjson->reader, column, text, length, rows, error);
}

static int put_value(const NdjsonReader *ndjson, const FileColumn *column, yyjson_val *value, RowsWriter *rows,
                     Error *error)
{
    const FileReader *reader = &ndjson->reader;
    const char *why;
    if (!value && ndjson->sidecar && column->protected)
        return reader_fail(reader, column->source, NULL, 0,
                           "protected, so that its value was not kept: add it to \"row\", or null", error);
    if (!value)
        return reader_put_null(reader, column, "missing, but the column is required", rows, error);
    switch (unsafe_yyjson_get_type(value)) {
    case YYJSON_TYPE_STR:
        return put_string(ndjson, column, value, rows, error);
    case YYJSON_TYPE_RAW: {
        const char *text = unsafe_yyjson_get_raw(value);
        size_t length = unsafe_yyjson_get_len(value);
        if (column->type == COLUMN_FLOAT && of_text(ndjson) && !convert_float_keeps(text, length))
            return reader_fail(reader, column->source, text, length,
                               "a number that a float would round; a decimal column can hold it", error);
        why = convert_number(&reader->converter, column->type, text, length, rows);
        return why ? reader_fail(reader, column->source, text, length, why, error) : 0;
    }
    case YYJSON_TYPE_NULL:
        return reader_put_null(reader, column, "null, but the column is required", rows, error);
    case YYJSON_TYPE_BOOL:
        why = convert_boolean(column->type, unsafe_yyjson_get_bool(value), rows);
        return why ? reader_fail(reader, column->source, NULL, 0, why, error) : 0;
    default:
        if (column->type == COLUMN_STRING && of_text(ndjson))
            return reader_fail(reader, column->source, NULL, 0, "an object or array: write the text that is meant",
                               error);
        if (column->type == COLUMN_JSON || column->type == COLUMN_STRING)
            return put_written(ndjson, column, value, rows, error);
        return reader_fail(reader, column->source, NULL, 0,
                           "an object or array, which only a json or string column can hold", error);
    }
}

/* --- lines --- */

/* 0: none that makes sense. */
static uint64_t row_number(yyjson_val *line)
{
    yyjson_val *number = yyjson_obj_get(line, "row_number");
    const char *text = yyjson_is_raw(number) ? unsafe_yyjson_get_raw(number) : "";
    return *text >= '1' && *text <= '9' && unsafe_yyjson_get_len(number) < 19 ? strtoull(text, NULL, 10) : 0;
}

static int put_document(NdjsonReader *ndjson, yyjson_doc *document, RowsWriter *rows, Error *error)
{
    const FilesSettings *settings = ndjson->reader.settings;
    yyjson_val *root = yyjson_doc_get_root(document);
    if (!yyjson_is_obj(root))
        return reader_fail(&ndjson->reader, NULL, NULL, 0, "the line is not a JSON object", error);
    if (ndjson->sidecar) {
        ndjson->reader.number = row_number(root);
        root = yyjson_obj_get(root, "row");
        if (!yyjson_is_obj(root))
            return reader_fail(&ndjson->reader, NULL, NULL, 0,
                               "\"row\" is not an object yet: write the row as {\"FIELD\": value, …}", error);
    }
    if (fill_slots(ndjson, root, error) < 0)
        return -1;
    for (size_t i = 0; i < settings->column_count; i++)
        if (put_value(ndjson, &settings->columns[i], ndjson->slots[ndjson->column_slots[i]].value, rows, error) < 0)
            return -1;
    return 0;
}

static int not_json(const NdjsonReader *ndjson, const yyjson_read_err *why, Error *error)
{
    error_set(error, ERROR_DATA, "not valid JSON at byte %zu of the line: %s", why->pos + 1, why->msg);
    return reader_place(&ndjson->reader, NULL, error);
}

/* One line of N bytes, behind which four bytes are borrowed for the parser's end mark. */
static int put_line(NdjsonReader *ndjson, char *line, size_t n, RowsWriter *rows, Error *error)
{
    assert(line);
    char borrowed[YYJSON_PADDING_SIZE];
    memcpy(borrowed, line + n, sizeof(borrowed));
    memset(line + n, 0, sizeof(borrowed));
    yyjson_read_err why;
    yyjson_doc *document =
        yyjson_read_opts(line, n, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW, &ndjson->json->allocator, &why);
    int r = document ? put_document(ndjson, document, rows, error) : not_json(ndjson, &why, error);
    if (document)
        yyjson_doc_free(document);
    memcpy(line + n, borrowed, sizeof(borrowed));
    return r;
}

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && (line[n - 1] == ' ' || (line[n - 1] >= '\t' && line[n - 1] <= '\r')))
        n--;
    return n == 0;
}

static int next_line(NdjsonReader *ndjson, char **ret, size_t *ret_length, Error *error)
{
    int r = text_input_line(ndjson->reader.input, ret, ret_length, error);
    if (r >= 0)
        return r == TEXT_INPUT_E_END ? FILE_READER_E_END : 0;
    ndjson->reader.row++;
    ndjson->reader.line++;
    return reader_place(&ndjson->reader, NULL, error);
}

static int ndjson_read(FileReader *reader, RowsWriter *rows, Error *error)
{
    NdjsonReader *ndjson = (NdjsonReader *)reader;
    while (rows_size(rows) < FRAME_ROWS_TARGET) {
        char *line = NULL;
        size_t length = 0;
        int r = next_line(ndjson, &line, &length, error);
        if (r != 0)
            return r;
        reader->line++;
        if (is_blank(line, length))
            continue;
        reader->row++;
        reader->number = 0;
        if (reader->bad_rows) {
            /* Parsing in place changes the text. */
            buffer_reset(&ndjson->line);
            buffer_append(&ndjson->line, line, length);
        }
        size_t mark = rows_mark(rows);
        if ((put_line(ndjson, line, length, rows, error) < 0 || reader_row_done(reader, rows, mark, error) < 0) &&
            reader_bad_row(reader, rows, mark, error) < 0)
            return -1;
    }
    return 0;
}

static void write_value(const NdjsonReader *ndjson, yyjson_val *value, Buffer *to)
{
    size_t length;
    char *text = yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, &ndjson->json->allocator, &length, NULL);
    if (!text)
        abort(); /* out of memory: what was parsed can be written */
    buffer_append(to, text, length);
    ndjson->json->allocator.free(ndjson->json->allocator.ctx, text);
}

static void write_members(const NdjsonReader *ndjson, yyjson_val *object, Buffer *to)
{
    size_t position, count, written = 0;
    yyjson_val *key, *value;
    buffer_append_string(to, "{");
    yyjson_obj_foreach(object, position, count, key, value)
    {
        const char *name = unsafe_yyjson_get_str(key);
        if (files_settings_protect(ndjson->reader.settings, name))
            continue;
        buffer_append_string(to, written++ > 0 ? ", " : "");
        json_put_string(to, name, unsafe_yyjson_get_len(key));
        buffer_append_string(to, ": ");
        write_value(ndjson, value, to);
    }
    buffer_append_string(to, "}");
}

/* An object as it was written, but for protected members; anything else as text. */
static void ndjson_write_row(const FileReader *reader, Buffer *to)
{
    const NdjsonReader *ndjson = (const NdjsonReader *)reader;
    const char *line = (const char *)buffer_bytes(&ndjson->line);
    size_t n = buffer_length(&ndjson->line);
    bool protected = files_settings_protect(reader->settings, NULL);
    yyjson_doc *document = yyjson_read_opts((char *)line, n, YYJSON_READ_NUMBER_AS_RAW, &ndjson->json->allocator, NULL);
    yyjson_val *root = yyjson_doc_get_root(document);
    if (ndjson->sidecar && yyjson_obj_get(root, "row"))
        root = yyjson_obj_get(root, "row");
    if (yyjson_is_obj(root) && (protected || ndjson->sidecar))
        write_members(ndjson, root, to);
    else if (yyjson_is_obj(root))
        buffer_append(to, line, n - (n > 0 && line[n - 1] == '\r'));
    else if (protected)
        buffer_append_string(to, "null");
    else if (ndjson->sidecar && root)
        write_value(ndjson, root, to);
    else
        json_put_string(to, line, n);
    yyjson_doc_free(document);
}

static void ndjson_free(FileReader *reader)
{
    NdjsonReader *ndjson = (NdjsonReader *)reader;
    for (size_t i = 0; i < ndjson->predicted_count; i++)
        free(ndjson->predicted[i].text);
    free(ndjson->predicted);
    free(ndjson->slots);
    free(ndjson->column_slots);
    free(ndjson->table);
    buffer_clear(&ndjson->line);
    free(ndjson);
}

FileReader *ndjson_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json)
{
    NdjsonReader *ndjson = xcalloc(1, sizeof(*ndjson));
    ndjson->reader = (FileReader){ .read = ndjson_read,
                                   .write_row = ndjson_write_row,
                                   .free = ndjson_free,
                                   .settings = settings,
                                   .input = input,
                                   .converter = { settings->max_value_size, json } };
    ndjson->json = json;
    make_slots(ndjson);
    return &ndjson->reader;
}

FileReader *sidecar_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json)
{
    FileReader *reader = ndjson_reader_new(settings, input, json);
    ((NdjsonReader *)reader)->sidecar = true;
    return reader;
}
