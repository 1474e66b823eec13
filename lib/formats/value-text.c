/*
 * The one text of each value, and values as a wider kind keeps them. A float's text is the shortest that reads back as
 * the same double, written without an exponent; JSON is parsed and written anew, with its keys in order.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <yyjson.h>

#include "lib/basics/base64.h"
#include "lib/formats/kind.h"

#define JSON_SORTED_DEPTH_MAX 500 /* further down, keys stay in the order they came in: the stack is not endless */
#define JSON_EXPONENT_MAX 1000
#define FLOAT_TEXT_MAX 32 /* of "%.17g" */

/* --- numbers --- */

/* DIGITS × 10^EXPONENT without an exponent: "0.0012", "1200". */
static void put_scaled(Buffer *text, const char *digits, size_t count, int exponent)
{
    if (exponent >= 0) {
        buffer_append(text, digits, count);
        memset(buffer_reserve(text, (size_t)exponent + 1), '0', (size_t)exponent);
        buffer_added(text, (size_t)exponent);
        return;
    }
    size_t after = (size_t)-exponent;
    if (after < count) {
        buffer_append(text, digits, count - after);
        buffer_append_string(text, ".");
        buffer_append(text, digits + count - after, after);
        return;
    }
    buffer_append_string(text, "0.");
    memset(buffer_reserve(text, after), '0', after - count);
    buffer_added(text, after - count);
    buffer_append(text, digits, count);
}

static void put_float(Buffer *text, double number)
{
    /* As the integer that it may have been, or still become: its shortest text need not be that integer's. */
    if (fabs(number) < 0x1p63 && number == (double)(long long)number) {
        buffer_printf(text, "%lld", (long long)number); /* -0 is 0 */
        return;
    }
    char shown[FLOAT_TEXT_MAX], digits[FLOAT_TEXT_MAX];
    /* every text of DBL_DIG digits is one of a double's, but where doubles are denormal */
    for (int precision = fabs(number) < DBL_MIN ? 1 : DBL_DIG; precision <= DBL_DECIMAL_DIG; precision++) {
        snprintf(shown, sizeof(shown), "%.*e", precision - 1, fabs(number));
        if (strtod(shown, NULL) == fabs(number))
            break;
    }
    /* "d.ddde±xx" to its digits and where the point is */
    size_t count = 0;
    const char *at = shown;
    for (; *at && *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    int exponent = (int)strtol(at + 1, NULL, 10) - (int)count + 1;
    while (count > 1 && digits[count - 1] == '0') {
        count--;
        exponent++;
    }
    if (number < 0)
        buffer_append_string(text, "-");
    put_scaled(text, digits, count, exponent);
}

/* Without leading zeros, trailing ones after the point, a lone point, or a minus before zero. */
static void put_decimal(Buffer *text, const char *decimal, size_t n)
{
    const char *end = decimal + n;
    bool minus = decimal < end && *decimal == '-';
    decimal += minus;
    while (decimal < end && *decimal == '0')
        decimal++;
    if (memchr(decimal, '.', (size_t)(end - decimal))) {
        while (end[-1] == '0')
            end--;
        if (end[-1] == '.')
            end--;
    }
    if (decimal == end) {
        buffer_append_string(text, "0");
        return;
    }
    if (minus)
        buffer_append_string(text, "-");
    if (*decimal == '.')
        buffer_append_string(text, "0");
    buffer_append(text, decimal, (size_t)(end - decimal));
}

/* --- JSON --- */

/* A number without an exponent and without a minus before zero, its digits as they are: what PostgreSQL's jsonb makes
 * of it. One with an exponent beyond reason stays as it was written. */
static yyjson_mut_val *plain_number(yyjson_mut_doc *doc, const char *number, size_t n)
{
    const char *end = number + n, *digits = number + (*number == '-');
    size_t mantissa = strcspn(digits, "eE");
    mantissa = MIN_OF(mantissa, (size_t)(end - digits));
    long exponent = digits + mantissa < end ? strtol(digits + mantissa + 1, NULL, 10) : 0;
    if (exponent > JSON_EXPONENT_MAX || exponent < -JSON_EXPONENT_MAX)
        return yyjson_mut_rawncpy(doc, number, n);
    const char *point = memchr(digits, '.', mantissa);
    long scale = (point ? (long)(digits + mantissa - point - 1) : 0) - exponent;
    bool zero = strspn(digits, "0.") >= mantissa;
    if (exponent == 0 && !zero && digits + mantissa == end)
        return yyjson_mut_rawncpy(doc, number, n);
    _cleanup_(buffer_clear) Buffer all = { 0 }, text = { 0 };
    for (size_t i = 0; i < mantissa; i++)
        if (digits[i] != '.')
            buffer_append(&all, digits + i, 1);
    const char *first = (const char *)buffer_bytes(&all);
    size_t count = buffer_length(&all);
    while (count > 1 && *first == '0' && (long)count > scale + 1) {
        first++;
        count--;
    }
    if (*number == '-' && !zero)
        buffer_append_string(&text, "-");
    if (scale < 0 && zero)
        scale = 0;
    put_scaled(&text, first, count, (int)-scale);
    return yyjson_mut_rawncpy(doc, (const char *)buffer_bytes(&text), buffer_length(&text));
}

size_t json_canonical_bound(const char *text, size_t length)
{
    const char *end = text + length;
    size_t bound = length;
    for (const char *at = text; at < end; at++) {
        if (*at == '"') {
            for (at++; at < end && *at != '"'; at++)
                at += *at == '\\';
        } else if ((*at == 'e' || *at == 'E') && at > text && at[-1] >= '0' && at[-1] <= '9') {
            size_t exponent = 0;
            for (at++; at < end && (*at == '+' || *at == '-'); at++)
                ;
            for (; at < end && *at >= '0' && *at <= '9'; at++)
                exponent = MIN_OF(exponent * 10 + (size_t)(*at - '0'), (size_t)JSON_EXPONENT_MAX + 1);
            bound += exponent <= JSON_EXPONENT_MAX ? exponent + 2 : 0; /* a zero and a point in front */
            at--;
        }
    }
    return bound;
}

/* Members in order of their keys; of equal keys the last counts, as in PostgreSQL's jsonb. */
typedef struct Member {
    yyjson_val *key, *value;
    size_t place;
} Member;

static int compare_members(const void *a, const void *b)
{
    const Member *first = a, *second = b;
    size_t n = yyjson_get_len(first->key), m = yyjson_get_len(second->key);
    int r = memcmp(yyjson_get_str(first->key), yyjson_get_str(second->key), MIN_OF(n, m));
    if (r == 0)
        r = (n > m) - (n < m);
    return r ? r : (first->place > second->place) - (first->place < second->place);
}

static bool same_key(const Member *a, const Member *b)
{
    return yyjson_get_len(a->key) == yyjson_get_len(b->key) &&
           memcmp(yyjson_get_str(a->key), yyjson_get_str(b->key), yyjson_get_len(a->key)) == 0;
}

static yyjson_mut_val *sorted(yyjson_mut_doc *doc, yyjson_val *value, unsigned depth);

static yyjson_mut_val *sorted_object(yyjson_mut_doc *doc, yyjson_val *object, unsigned depth)
{
    size_t count = yyjson_obj_size(object), i, max;
    _cleanup_(freep) Member *members = xmalloc((count + 1) * sizeof(*members));
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, max, key, value) members[i] = (Member){ key, value, i };
    qsort(members, count, sizeof(*members), compare_members);
    yyjson_mut_val *ret = yyjson_mut_obj(doc);
    for (size_t k = 0; k < count; k++)
        if (k + 1 == count || !same_key(&members[k], &members[k + 1]))
            yyjson_mut_obj_add(ret, yyjson_val_mut_copy(doc, members[k].key), sorted(doc, members[k].value, depth));
    return ret;
}

static yyjson_mut_val *sorted(yyjson_mut_doc *doc, yyjson_val *value, unsigned depth)
{
    if (yyjson_is_obj(value) && depth < JSON_SORTED_DEPTH_MAX)
        return sorted_object(doc, value, depth + 1);
    if (yyjson_is_raw(value))
        return plain_number(doc, yyjson_get_raw(value), yyjson_get_len(value));
    if (!yyjson_is_arr(value) || depth >= JSON_SORTED_DEPTH_MAX)
        return yyjson_val_mut_copy(doc, value);
    yyjson_mut_val *ret = yyjson_mut_arr(doc);
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(value, i, max, item) yyjson_mut_arr_append(ret, sorted(doc, item, depth + 1));
    return ret;
}

void json_canonical(const char *text, size_t length, Buffer *ret)
{
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text, length, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    if (!doc) {
        buffer_append(ret, text, length);
        return;
    }
    yyjson_mut_doc *copy = yyjson_mut_doc_new(NULL);
    size_t n;
    yyjson_mut_doc_set_root(copy, sorted(copy, yyjson_doc_get_root(doc), 0));
    char *written = yyjson_mut_write(copy, YYJSON_WRITE_NOFLAG, &n);
    if (!written)
        abort(); /* out of memory: what was read can be written */
    buffer_append(ret, written, n);
    free(written);
    yyjson_mut_doc_free(copy);
    yyjson_doc_free(doc);
}

/* --- text --- */

static void put_base64(Buffer *text, const void *bytes, size_t n)
{
    size_t length = base64_length(n);
    if (n == 0)
        return;
    base64_encode(bytes, n, (char *)buffer_reserve(text, length));
    buffer_added(text, length);
}

/* The instant in UTC, without an offset of its own. */
static Timestamp timestamp_utc(Timestamp timestamp)
{
    if (timestamp.offset != TIMESTAMP_NAIVE)
        timestamp.offset = 0;
    return timestamp;
}

static void put_timestamp(Buffer *text, const Timestamp *timestamp)
{
    char shown[TIMESTAMP_TEXT_MAX];
    bool naive = timestamp->offset == TIMESTAMP_NAIVE;
    if (naive && timestamp->nanos == 0 && timestamp->seconds % 86400 == 0) {
        buffer_append(text, shown, date_format((int32_t)(timestamp->seconds / 86400), shown));
        return;
    }
    Timestamp plain = { .seconds = timestamp->seconds, .nanos = timestamp->nanos, .offset = TIMESTAMP_NAIVE };
    buffer_append(text, shown, timestamp_format(&plain, shown));
    if (!naive)
        buffer_append_string(text, "Z");
}

void value_text(const Value *value, Buffer *text)
{
    char shown[DATE_TEXT_MAX];
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        buffer_append_string(text, value->tag == VALUE_TRUE ? "true" : "false");
        break;
    case VALUE_INTEGER:
        buffer_printf(text, "%lld", (long long)value->integer);
        break;
    case VALUE_FLOAT:
        put_float(text, value->number);
        break;
    case VALUE_DATE:
        buffer_append(text, shown, date_format(value->days, shown));
        break;
    case VALUE_TIMESTAMP:
        put_timestamp(text, &value->timestamp);
        break;
    case VALUE_STRING:
        buffer_append(text, value->text.data, value->text.length);
        break;
    case VALUE_DECIMAL:
        put_decimal(text, value->text.data, value->text.length);
        break;
    case VALUE_JSON:
        json_canonical(value->text.data, value->text.length, text);
        break;
    case VALUE_BINARY:
        put_base64(text, value->text.data, value->text.length);
        break;
    default:
        break;
    }
}

static Value text_value(const Value *value, ValueTag tag, Buffer *text)
{
    size_t start = buffer_length(text);
    value_text(value, text);
    return (Value){ .tag = tag,
                    .text = { (const char *)buffer_bytes(text) + start, (uint32_t)(buffer_length(text) - start) } };
}

Value value_convert(const Value *value, Kind kind, Buffer *text)
{
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT)
        return *value;
    switch (kind.type) {
    case COLUMN_STRING:
        return value->tag == VALUE_STRING ? *value : text_value(value, VALUE_STRING, text);
    case COLUMN_DECIMAL:
        return text_value(value, VALUE_DECIMAL, text);
    case COLUMN_JSON:
        return text_value(value, VALUE_JSON, text);
    case COLUMN_REAL:
    case COLUMN_FLOAT:
        if (value->tag == VALUE_INTEGER)
            return (Value){ .tag = VALUE_FLOAT, .number = (double)value->integer };
        if (value->number == 0)
            return (Value){ .tag = VALUE_FLOAT, .number = 0 }; /* -0 is 0 to every key and every text */
        return *value;
    case COLUMN_DATETIME:
        if (value->tag == VALUE_DATE)
            return (Value){ .tag = VALUE_TIMESTAMP,
                            .timestamp = { .seconds = (int64_t)value->days * 86400, .offset = TIMESTAMP_NAIVE } };
        return *value;
    case COLUMN_INSTANT:
        return (Value){ .tag = VALUE_TIMESTAMP, .timestamp = timestamp_utc(value->timestamp) };
    default:
        return *value;
    }
}
