/*
 * A line is parsed whole, its members are held against a table of what the operation has, and its values go to the
 * emitter as what JSON says they are: a number without fraction and exponent is whole (of any size: beyond 64 bits it
 * is a DECIMAL), any other a float that remembers its text, objects and arrays are JSON.
 *
 * Being strict costs a program's author a look at the message and spares others rows that went missing: a misspelt
 * member is an error, and so is a misspelt operation; only what has nothing to do with us is left to the log.
 */
#include "connectors/sources/exec/line.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <yyjson.h>

#include "lib/basics/text.h"
#include "lib/formats/json-text.h"

#define LOG_TEXT_MAX (16 << 10)
#define EMBEDDED_MAX 8                 /* braces in a line for the log of which each may begin an operation */
#define BYTE_ORDER_MARK "\xef\xbb\xbf" /* that some libraries print before all else */

typedef enum Member {
    MEMBER_TABLE,
    MEMBER_DATA,
    MEMBER_KEYS,
    MEMBER_STATE,
    MEMBER_TABLES,
    MEMBER_LEVEL,
    MEMBER_MESSAGE,
    MEMBER_TRACE,
    _MEMBER_MAX
} Member;

static const struct {
    const char *name, *is;
    bool (*right)(yyjson_val *value);
} members[_MEMBER_MAX] = {
    [MEMBER_TABLE] = { "table", "text", yyjson_is_str },
    [MEMBER_DATA] = { "data", "an object", yyjson_is_obj },
    [MEMBER_KEYS] = { "keys", "an object", yyjson_is_obj },
    [MEMBER_STATE] = { "state", "an object", yyjson_is_obj },
    [MEMBER_TABLES] = { "tables", "a list", yyjson_is_arr },
    [MEMBER_LEVEL] = { "level", "text", yyjson_is_str },
    [MEMBER_MESSAGE] = { "message", NULL, NULL },
    [MEMBER_TRACE] = { "trace", NULL, NULL },
};

struct Lines {
    Worker *worker;
    Emitter *emitter;
    yyjson_alc *memory; /* owned */
    uint64_t count;
    EmitterField *fields; /* owned; of the row */
    size_t fields_allocated;
    Buffer nested; /* the row's JSON values */
    yyjson_val *found[_MEMBER_MAX];
};

Lines *lines_new(Worker *worker, Emitter *emitter)
{
    Lines *lines = xcalloc(1, sizeof(*lines));
    *lines = (Lines){ .worker = worker, .emitter = emitter, .memory = yyjson_alc_dyn_new() };
    if (!lines->memory)
        abort(); /* out of memory */
    return lines;
}

Lines *lines_free(Lines *lines)
{
    if (!lines)
        return NULL;
    yyjson_alc_dyn_free(lines->memory);
    free(lines->fields);
    buffer_clear(&lines->nested);
    free(lines);
    return NULL;
}

uint64_t lines_count(const Lines *lines)
{
    return lines->count;
}

/* --- values --- */

static FrameText text_of(yyjson_val *value)
{
    return (FrameText){ unsafe_yyjson_get_str(value), (uint32_t)unsafe_yyjson_get_len(value) };
}

static Value number_of(FrameText text)
{
    bool minus = text.data[0] == '-';
    for (uint32_t i = minus; i < text.length; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return (Value){ .tag = VALUE_FLOAT, .number = strtod(text.data, NULL) };
    int64_t integer = 0;
    for (uint32_t i = minus; i < text.length; i++)
        if (__builtin_mul_overflow(integer, 10, &integer) ||
            __builtin_add_overflow(integer, minus ? '0' - text.data[i] : text.data[i] - '0', &integer))
            return (Value){ .tag = VALUE_DECIMAL, .text = { text.data, text.length } };
    return (Value){ .tag = VALUE_INTEGER, .integer = integer };
}

/* The JSON text of VALUE, appended to TO. */
static void put_json(Buffer *to, yyjson_val *value)
{
    size_t n;
    char *written = yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, NULL, &n, NULL);
    if (!written)
        abort(); /* out of memory: what was read can be written */
    buffer_append(to, written, n);
    free(written);
}

/* VALUE as it goes to the emitter. A container's text is at an offset of LINES->nested until the row is whole. */
static int field_of(Lines *lines, yyjson_val *key, yyjson_val *value, EmitterField *ret, Error *error)
{
    *ret = (EmitterField){ .name = text_of(key) };
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_BOOL:
        ret->value.tag = yyjson_is_true(value) ? VALUE_TRUE : VALUE_FALSE;
        return 0;
    case YYJSON_TYPE_RAW:
        ret->exact = text_of(value);
        ret->value = number_of(ret->exact);
        return 0;
    case YYJSON_TYPE_STR:
        ret->value = (Value){ .tag = VALUE_STRING, .text = { text_of(value).data, text_of(value).length } };
        return 0;
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ: {
        if (!json_depth_is_fine(value)) {
            error_set(error, ERROR_DATA, "JSON nested too deeply (more than %d levels)", JSON_DEPTH_MAX);
            _cleanup_(freep) char *name = xstrndup(ret->name.data, ret->name.length);
            return error_at_column(error, name);
        }
        size_t start = buffer_length(&lines->nested);
        put_json(&lines->nested, value);
        ret->value = (Value){ .tag = VALUE_JSON,
                              .text = { (const char *)start, (uint32_t)(buffer_length(&lines->nested) - start) } };
        return 0;
    }
    default:
        ret->value.tag = VALUE_NULL;
        return 0;
    }
}

static int take_row(Lines *lines, Operation operation, Error *error)
{
    yyjson_val *row = lines->found[MEMBER_DATA] ? lines->found[MEMBER_DATA] : lines->found[MEMBER_KEYS];
    size_t count = yyjson_obj_size(row), i, max;
    if (count > lines->fields_allocated) {
        lines->fields_allocated = 2 * count;
        free(lines->fields);
        lines->fields = xmalloc(lines->fields_allocated * sizeof(EmitterField));
    }
    buffer_reset(&lines->nested);
    yyjson_val *key, *value;
    yyjson_obj_foreach(row, i, max, key, value)
    {
        if (field_of(lines, key, value, &lines->fields[i], error) < 0)
            return -1;
    }
    for (i = 0; i < count; i++) {
        Value *field = &lines->fields[i].value;
        if (field->tag == VALUE_JSON)
            field->text.data = (const char *)buffer_bytes(&lines->nested) + (size_t)field->text.data;
    }
    return emitter_row(lines->emitter, operation, text_of(lines->found[MEMBER_TABLE]), lines->fields, count, error);
}

/* --- schema --- */

static int bad_column(yyjson_val *name, Error *error)
{
    _cleanup_(freep) char *text = xstrndup(yyjson_get_str(name), yyjson_get_len(name));
    return error_at_column(error, text);
}

static int kind_named(yyjson_val *name, Kind *ret, Error *error)
{
    static const char *const names[] = { "BOOLEAN",        "SHORT",        "INT",    "LONG",   "DECIMAL",
                                         "FLOAT",          "DOUBLE",       "STRING", "BINARY", "NAIVE_DATE",
                                         "NAIVE_DATETIME", "UTC_DATETIME", "JSON",   "XML",    NULL };
    const char *text = yyjson_get_str(name);
    if (text && kind_from_name(text, ret))
        return 0;
    if (!text)
        return error_set(error, ERROR_DATA, "the type of a column is text, such as STRING, or an object for DECIMAL");
    const char *near = text_suggest(text, names);
    return error_set(error, ERROR_DATA, "unknown type \"%.80s\"; %s%s%s", text, near ? "did you mean \"" : "there are ",
                     near ? near
                          : "BOOLEAN, SHORT, INT, LONG, DECIMAL, FLOAT, DOUBLE, STRING, BINARY, NAIVE_DATE, "
                            "NAIVE_DATETIME, UTC_DATETIME, JSON and XML",
                     near ? "\"?" : "");
}

/* A whole number from 0 to 255; -1: something else. */
static int small_number(yyjson_val *value)
{
    if (!yyjson_is_raw(value))
        return -1;
    Value number = number_of(text_of(value));
    return number.tag == VALUE_INTEGER && number.integer >= 0 && number.integer <= 255 ? (int)number.integer : -1;
}

static int kind_of(yyjson_val *type, Kind *ret, Error *error)
{
    if (!yyjson_is_obj(type))
        return kind_named(type, ret, error);
    if (kind_named(yyjson_obj_get(type, "type"), ret, error) < 0)
        return -1;
    if (ret->type != COLUMN_DECIMAL)
        return error_set(error, ERROR_DATA, "only a DECIMAL has a precision and a scale");
    int precision = small_number(yyjson_obj_get(type, "precision")),
        scale = small_number(yyjson_obj_get(type, "scale"));
    if (precision < 1 || scale < 0)
        return error_set(error, ERROR_DATA, "a DECIMAL needs a \"precision\" and a \"scale\", as whole numbers");
    if (precision <= DECIMAL_DIGITS_MAX && scale <= precision)
        *ret = (Kind){ .type = COLUMN_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale };
    return 0; /* a larger one holds any */
}

/* The names under "primary_key": a list, or one name alone. */
static int keys_of(yyjson_val *list, FrameText **ret, size_t *ret_count, Error *error)
{
    static const char expected[] = "\"primary_key\" is a list of the names of columns";
    size_t count = yyjson_is_arr(list) ? yyjson_arr_size(list) : yyjson_is_str(list), i, max;
    if (list && !yyjson_is_arr(list) && !yyjson_is_str(list) && !yyjson_is_null(list))
        return error_set(error, ERROR_DATA, "%s", expected);
    *ret = xcalloc(count + 1, sizeof(FrameText));
    *ret_count = count;
    if (yyjson_is_str(list))
        (*ret)[0] = text_of(list);
    yyjson_val *name;
    yyjson_arr_foreach(list, i, max, name)
    {
        if (!yyjson_is_str(name))
            return error_set(error, ERROR_DATA, "%s", expected);
        (*ret)[i] = text_of(name);
    }
    return 0;
}

static int declare(Lines *lines, yyjson_val *entry, Error *error)
{
    yyjson_val *name = yyjson_obj_get(entry, "table"), *columns = yyjson_obj_get(entry, "columns"), *key, *value;
    size_t count = yyjson_obj_size(columns), key_count = 0, i, max;
    _cleanup_(freep) FrameText *keys = NULL;
    if (!yyjson_is_str(name))
        return error_set(error, ERROR_DATA, "an entry of \"tables\" needs a \"table\": the table's name");
    if (columns && !yyjson_is_obj(columns))
        return error_set(error, ERROR_DATA, "\"columns\" is an object of names and types");
    yyjson_obj_foreach(entry, i, max, key, value)
    {
        const char *member = yyjson_get_str(key);
        if (strcmp(member, "table") != 0 && strcmp(member, "columns") != 0 && strcmp(member, "primary_key") != 0)
            return error_set(error, ERROR_DATA,
                             "unknown member \"%.80s\" of a table; it has table, primary_key and columns", member);
    }
    if (keys_of(yyjson_obj_get(entry, "primary_key"), &keys, &key_count, error) < 0)
        return -1;
    _cleanup_(freep) EmitterColumn *declared = xcalloc(count + 1, sizeof(*declared));
    /* yyjson steps past the first key before it looks whether there is one */
    if (columns) {
        yyjson_obj_foreach(columns, i, max, key, value)
        {
            declared[i].name = text_of(key);
            if (kind_of(value, &declared[i].kind, error) < 0)
                return bad_column(key, error);
        }
    }
    return emitter_declare(lines->emitter, text_of(name), keys, key_count, declared, count, error);
}

static int take_schema(Lines *lines, Error *error)
{
    size_t i, max;
    yyjson_val *entry;
    yyjson_arr_foreach(lines->found[MEMBER_TABLES], i, max, entry)
    {
        if (!yyjson_is_obj(entry))
            return error_set(error, ERROR_DATA, "\"tables\" is a list of objects");
        if (declare(lines, entry, error) < 0) {
            const char *name = yyjson_get_str(yyjson_obj_get(entry, "table"));
            if (name && error && error->kind == ERROR_DATA && !error->file) {
                _cleanup_(freep) char *place = xasprintf("table \"%.200s\"", name);
                error_at_file(error, place);
            }
            return -1;
        }
    }
    return 0;
}

/* --- the other operations --- */

static int take_checkpoint(Lines *lines, Error *error)
{
    buffer_reset(&lines->nested);
    put_json(&lines->nested, lines->found[MEMBER_STATE]);
    buffer_append(&lines->nested, "", 1);
    if (emitter_flush(lines->emitter, error) < 0)
        return -1;
    return worker_checkpoint(lines->worker, (const char *)buffer_bytes(&lines->nested), error);
}

/* A message, which is text or any other JSON. The caller frees. */
static char *message_of(Lines *lines)
{
    yyjson_val *message = lines->found[MEMBER_MESSAGE];
    if (yyjson_is_str(message))
        return xstrndup(yyjson_get_str(message), MIN_OF(yyjson_get_len(message), (size_t)LOG_TEXT_MAX));
    buffer_reset(&lines->nested);
    put_json(&lines->nested, message);
    return xstrndup((const char *)buffer_bytes(&lines->nested),
                    MIN_OF(buffer_length(&lines->nested), (size_t)LOG_TEXT_MAX));
}

static int take_log(Lines *lines, Error *error)
{
    static const char *const names[] = { "debug", "fine",  "info",   "notice",   "warning",
                                         "warn",  "error", "severe", "critical", NULL };
    static const int priorities[] = { LOG_DEBUG,   LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING,
                                      LOG_WARNING, LOG_ERR,   LOG_ERR,  LOG_CRIT };
    const char *level = lines->found[MEMBER_LEVEL] ? yyjson_get_str(lines->found[MEMBER_LEVEL]) : "info";
    for (size_t i = 0; names[i]; i++)
        if (strcasecmp(names[i], level) == 0) {
            _cleanup_(freep) char *message = message_of(lines);
            worker_log(lines->worker, priorities[i], "%s", message);
            return 0;
        }
    return error_set(error, ERROR_DATA,
                     "unknown level \"%.80s\"; there are debug, info, notice, warning, error and critical", level);
}

static int take_warning(Lines *lines, Error *error)
{
    _cleanup_(freep) char *message = message_of(lines);
    worker_log(lines->worker, LOG_WARNING, "%s", message);
    return 0;
}

static int take_error(Lines *lines, Error *error)
{
    _cleanup_(freep) char *message = message_of(lines);
    return error_set(error, ERROR_TEMPORARY, "%s", message);
}

static int take_upsert(Lines *lines, Error *error)
{
    return take_row(lines, OPERATION_UPSERT, error);
}

static int take_update(Lines *lines, Error *error)
{
    return take_row(lines, OPERATION_UPDATE, error);
}

static int take_delete(Lines *lines, Error *error)
{
    if (!lines->found[MEMBER_DATA] == !lines->found[MEMBER_KEYS])
        return error_set(error, ERROR_DATA, "a delete needs \"keys\", and them alone");
    return take_row(lines, OPERATION_DELETE, error);
}

static int take_truncate(Lines *lines, Error *error)
{
    return emitter_truncate(lines->emitter, text_of(lines->found[MEMBER_TABLE]), error);
}

/* --- lines --- */

#define BIT(member) (1u << (member))
static const struct {
    const char *name;
    int (*take)(Lines *lines, Error *error);
    unsigned needed, allowed; /* members */
} operations[] = {
    { "upsert", take_upsert, BIT(MEMBER_TABLE) | BIT(MEMBER_DATA), 0 },
    { "update", take_update, BIT(MEMBER_TABLE) | BIT(MEMBER_DATA), 0 },
    { "delete", take_delete, BIT(MEMBER_TABLE), BIT(MEMBER_DATA) | BIT(MEMBER_KEYS) },
    { "truncate", take_truncate, BIT(MEMBER_TABLE), 0 },
    { "checkpoint", take_checkpoint, BIT(MEMBER_STATE), 0 },
    { "schema", take_schema, BIT(MEMBER_TABLES), 0 },
    { "log", take_log, BIT(MEMBER_MESSAGE), BIT(MEMBER_LEVEL) },
    { "warning", take_warning, BIT(MEMBER_MESSAGE), 0 },
    { "error", take_error, BIT(MEMBER_MESSAGE), BIT(MEMBER_TRACE) },
};

/* Finds the members of the operation, each once and of its type. */
static int find_members(Lines *lines, yyjson_val *root, size_t operation, Error *error)
{
    unsigned may = operations[operation].needed | operations[operation].allowed;
    const char *name = operations[operation].name;
    memset(lines->found, 0, sizeof(lines->found));
    yyjson_val *key, *value;
    size_t i, max, ops = 0;
    yyjson_obj_foreach(root, i, max, key, value)
    {
        Member member = 0;
        if (yyjson_equals_str(key, "op") && ops++ == 0)
            continue;
        while (member < _MEMBER_MAX && !(may & BIT(member) && yyjson_equals_str(key, members[member].name)))
            member++;
        if (member == _MEMBER_MAX)
            return error_set(error, ERROR_DATA, "\"%.80s\" does not belong to %s", yyjson_get_str(key), name);
        if (lines->found[member])
            return error_set(error, ERROR_DATA, "\"%s\" stands there twice", members[member].name);
        if (members[member].right && !members[member].right(value))
            return error_set(error, ERROR_DATA, "\"%s\" must be %s", members[member].name, members[member].is);
        lines->found[member] = value;
    }
    for (Member member = 0; member < _MEMBER_MAX; member++)
        if (operations[operation].needed & BIT(member) && !lines->found[member])
            return error_set(error, ERROR_DATA, "%s needs \"%s\"", name, members[member].name);
    return 0;
}

enum { LINE_NOT_OURS = 1 };

/* The operation's number; ELEMENTSOF(operations): there is none of that name. */
static size_t operation_of(yyjson_val *op)
{
    size_t i = 0;
    while (i < ELEMENTSOF(operations) && !yyjson_equals_str(op, operations[i].name))
        i++;
    return i;
}

static int take_object(Lines *lines, yyjson_val *root, Error *error)
{
    yyjson_val *op = yyjson_obj_get(root, "op");
    if (!yyjson_is_str(op))
        return LINE_NOT_OURS;
    size_t operation = operation_of(op);
    if (operation < ELEMENTSOF(operations))
        return find_members(lines, root, operation, error) < 0 ? -1 : operations[operation].take(lines, error);
    const char *names[ELEMENTSOF(operations) + 1] = { NULL };
    for (size_t i = 0; i < ELEMENTSOF(operations); i++)
        names[i] = operations[i].name;
    const char *near = text_suggest(yyjson_get_str(op), names);
    if (!near)
        return LINE_NOT_OURS;
    return error_set(error, ERROR_DATA, "unknown operation \"%.80s\"; did you mean \"%s\"?", yyjson_get_str(op), near);
}

/* Of errors of the line itself: where it is, and what it says. */
static int at_line(const Lines *lines, const char *line, size_t n, Error *error)
{
    if (!error || error->kind != ERROR_DATA)
        return -1;
    error_at_row(error, lines->count, error->row);
    if (!error->value)
        error_at_value(error, line, n);
    return -1;
}

static yyjson_doc *parse(Lines *lines, const char *text, size_t n, yyjson_read_flag flags, yyjson_read_err *ret_why)
{
    yyjson_doc *document =
        yyjson_read_opts((char *)(uintptr_t)text, n, YYJSON_READ_NUMBER_AS_RAW | flags, lines->memory, ret_why);
    if (!document && ret_why->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        abort();
    return document;
}

/* An operation at the end of other text (a progress bar or another thread's print stands on its line) or in a list of
 * operations: as a line for the log it would be a row that is missing. */
static int check_no_operation(Lines *lines, const char *line, size_t n, Error *error)
{
    const char *at = line, *end = line + n;
    yyjson_read_flag flags = *line == '[' ? YYJSON_READ_STOP_WHEN_DONE : 0;
    yyjson_read_err why;
    for (int i = 0; i < EMBEDDED_MAX && (at = memchr(at, '{', (size_t)(end - at))); i++, at++) {
        yyjson_doc *document = parse(lines, at, (size_t)(end - at), flags, &why);
        size_t operation = operation_of(yyjson_obj_get(yyjson_doc_get_root(document), "op"));
        yyjson_doc_free(document);
        if (operation < ELEMENTSOF(operations))
            return error_set(error, ERROR_DATA,
                             "%s must begin its line: print what stands before it on a line of its own, or to stderr",
                             operations[operation].name);
    }
    return 0;
}

static void log_line(Lines *lines, const char *line, size_t n)
{
    worker_log(lines->worker, LOG_INFO, "%.*s", (int)MIN_OF(n, (size_t)LOG_TEXT_MAX), line);
}

int lines_take(Lines *lines, const char *line, size_t n, Error *error)
{
    if (lines->count++ == 0 && n >= strlen(BYTE_ORDER_MARK) &&
        memcmp(line, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
        line += strlen(BYTE_ORDER_MARK);
        n -= strlen(BYTE_ORDER_MARK);
    }
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    size_t start = 0;
    while (start < n && (line[start] == ' ' || line[start] == '\t'))
        start++;
    if (start == n)
        return 0;
    if (line[start] != '{') {
        if (check_no_operation(lines, line, n, error) < 0)
            return at_line(lines, line, n, error);
        log_line(lines, line, n);
        return 0;
    }
    yyjson_read_err why;
    yyjson_doc *document = parse(lines, line, n, 0, &why);
    if (!document) {
        error_set(error, ERROR_DATA, "not valid JSON: %s at character %zu", why.msg, why.pos + 1);
        return at_line(lines, line, n, error);
    }
    int r = take_object(lines, yyjson_doc_get_root(document), error);
    yyjson_doc_free(document);
    if (r == LINE_NOT_OURS)
        log_line(lines, line, n);
    return r < 0 ? at_line(lines, line, n, error) : 0;
}
