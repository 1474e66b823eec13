/*
 * What Fivetran's SDK accepts for a column, and what it says of the rest. It has two encodings, which accept different
 * things; here both are accepted, but for what would lose something without a word: a Decimal or a Fraction never
 * becomes a whole number. What is refused is refused with the SDK's own exception, since connectors catch these: where
 * Python itself makes it, Python is asked to (PyNumber_Index() of something that is no number), so that its words are
 * those of the Python that runs.
 *
 * Text for dates and times is read here where it has the plain form that nearly all of it has; any other goes to
 * datetime.strptime(), by which the SDK decides.
 */
#include "connectors/python/extension/convert.h"

#include <math.h>
#include <string.h>

static PyObject *json_dumps, *times; /* json.dumps, the module _times */
static PyObject *date_type, *datetime_type;

int convert_setup(void)
{
    _cleanup_(object_freep) PyObject *datetime = PyImport_ImportModule("datetime");
    if (!datetime)
        return -1;
    date_type = PyObject_GetAttrString(datetime, "date");
    datetime_type = PyObject_GetAttrString(datetime, "datetime");
    return date_type && datetime_type ? 0 : -1;
}

/* OBJECT, a new reference, lives until the row is done; returns it borrowed. */
static PyObject *keep_object(PyObject *object, PyObject **keep)
{
    if (!object)
        return NULL;
    if (!*keep)
        *keep = PyList_New(0);
    int r = *keep ? PyList_Append(*keep, object) : -1;
    Py_DECREF(object);
    return r < 0 ? NULL : object;
}

const char *convert_text(PyObject *string, uint32_t *ret_length)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(string, &n);
    if (!text)
        return NULL;
    if (n > (Py_ssize_t)FRAME_PAYLOAD_MAX) {
        PyErr_Format(PyExc_ValueError, "the value has %zd bytes, more than can be sent", n);
        return NULL;
    }
    *ret_length = (uint32_t)n;
    return text;
}

static int text_value(PyObject *string, ValueTag tag, Value *ret)
{
    ret->tag = tag;
    ret->text.data = string ? convert_text(string, &ret->text.length) : NULL;
    return ret->text.data ? 0 : -1;
}

static int bytes_value(PyObject *bytes, ValueTag tag, Value *ret)
{
    char *data;
    Py_ssize_t n;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &data, &n) < 0)
        return -1;
    if (n > (Py_ssize_t)FRAME_PAYLOAD_MAX) {
        PyErr_Format(PyExc_ValueError, "the value has %zd bytes, more than can be sent", n);
        return -1;
    }
    ret->tag = tag;
    ret->text.data = data;
    ret->text.length = (uint32_t)n;
    return 0;
}

static bool is_text(PyObject *value)
{
    return PyUnicode_Check(value) || PyBytes_Check(value) || PyByteArray_Check(value);
}

/* --- numbers --- */

/* Raises what Python says of VALUE where a whole number is needed. */
static int not_whole(PyObject *value)
{
    _cleanup_(object_freep) PyObject *number = PyNumber_Index(value);
    if (number)
        PyErr_Format(PyExc_TypeError, "'%.200s' object cannot be interpreted as an integer", "str");
    return -1;
}

static int to_boolean(PyObject *value, Value *ret)
{
    int truth = -1;
    if (PyLong_Check(value) || PyFloat_Check(value))
        truth = PyObject_IsTrue(value);
    else if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "0") == 0)
        truth = 0;
    else if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "1") == 0)
        truth = 1;
    else {
        _cleanup_(object_freep) PyObject *number = PyNumber_Index(value);
        truth = number ? PyObject_IsTrue(number) : -1;
    }
    ret->tag = truth > 0 ? VALUE_TRUE : VALUE_FALSE;
    return truth < 0 ? -1 : 0;
}

/* VALUE as int(): a new reference. */
static PyObject *whole_number(PyObject *value)
{
    if (PyFloat_Check(value)) {
        double number = PyFloat_AsDouble(value);
        if (isfinite(number) && number == floor(number))
            return PyLong_FromDouble(number);
    } else if (is_text(value)) {
        PyObject *number = PyObject_CallFunctionObjArgs((PyObject *)&PyLong_Type, value, NULL);
        if (number)
            return number;
        PyErr_Clear();
    }
    return PyNumber_Index(value);
}

static int to_whole(PyObject *value, int type, Value *ret)
{
    _cleanup_(object_freep) PyObject *number = whole_number(value);
    if (!number)
        return PyErr_Occurred() ? -1 : not_whole(value);
    int overflow;
    long long integer = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (integer == -1 && PyErr_Occurred())
        return -1;
    if (overflow || (type != COLUMN_INTEGER && (integer < INT32_MIN || integer > INT32_MAX))) {
        PyErr_Format(PyExc_ValueError, "Value out of range: %S", number);
        return -1;
    }
    *ret = (Value){ .tag = VALUE_INTEGER, .integer = integer };
    return 0;
}

/* A whole number beyond 64 bits is sent with all its digits. */
static int whole_of_any_size(PyObject *value, Value *ret, PyObject **keep)
{
    int overflow;
    long long integer = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (integer == -1 && PyErr_Occurred())
        return -1;
    *ret = (Value){ .tag = VALUE_INTEGER, .integer = integer };
    if (!overflow)
        return 0;
    /* an IntEnum's own text may be anything */
    _cleanup_(object_freep) PyObject *plain = PyNumber_Long(value);
    return plain ? text_value(keep_object(PyObject_Str(plain), keep), VALUE_DECIMAL, ret) : -1;
}

static int to_decimal(PyObject *value, Value *ret, PyObject **keep)
{
    if (PyUnicode_Check(value))
        return text_value(value, VALUE_STRING, ret);
    if (PyBytes_Check(value)) {
        PyObject *text = PyUnicode_FromEncodedObject(value, "utf-8", "strict");
        return text_value(keep_object(text, keep), VALUE_STRING, ret);
    }
    if (PyLong_Check(value) && !PyBool_Check(value))
        return whole_of_any_size(value, ret, keep);
    PyErr_BadArgument();
    return -1;
}

static int to_float(PyObject *value, Value *ret, PyObject **keep)
{
    _cleanup_(object_freep) PyObject *number = NULL;
    if (PyLong_Check(value) && !PyBool_Check(value)) {
        int overflow;
        long long integer = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (!overflow) {
            *ret = (Value){ .tag = VALUE_INTEGER, .integer = integer };
            return 0;
        }
    } else if (is_text(value)) {
        number = PyObject_CallFunctionObjArgs((PyObject *)&PyFloat_Type, value, NULL);
        if (!number)
            PyErr_Clear();
        /* digits that are infinite were too many: the emitter says so */
        if (number && PyUnicode_Check(value) && isinf(PyFloat_AsDouble(number)))
            return text_value(keep_object(PyObject_CallMethod(value, "strip", NULL), keep), VALUE_STRING, ret);
    }
    double real = PyFloat_AsDouble(number ? number : value);
    if (real == -1 && PyErr_Occurred())
        return -1;
    *ret = (Value){ .tag = VALUE_FLOAT, .number = real };
    return 0;
}

/* --- dates and times --- */

static inline bool two_digits(const char *text, unsigned *ret)
{
    unsigned tens = (unsigned char)text[0] - '0', ones = (unsigned char)text[1] - '0';
    *ret = tens * 10 + ones;
    return tens <= 9 && ones <= 9;
}

static bool plain_date(const char *text, int32_t *ret)
{
    static const uint8_t days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    unsigned century, year, month, day;
    if (text[4] != '-' || text[7] != '-' || !two_digits(text, &century) || !two_digits(text + 2, &year) ||
        !two_digits(text + 5, &month) || !two_digits(text + 8, &day))
        return false;
    year += 100 * century;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year == 0 || month - 1 > 11 || day == 0 || day > days[month - 1] || (month == 2 && day == 29 && !leap))
        return false;
    *ret = calendar_days((int)year, month, day);
    return true;
}

/* Z or +hh:mm or +hhmm, at the end of the text: in minutes, or TIMESTAMP_NAIVE where it is none of them. */
static int16_t plain_zone(const char *text, size_t n)
{
    unsigned hours, minutes;
    if (n == 1 && *text == 'Z')
        return 0;
    bool colon = n == 6 && text[3] == ':';
    if ((n != 5 && !colon) || (*text != '+' && *text != '-') || !two_digits(text + 1, &hours) ||
        !two_digits(text + 3 + colon, &minutes) || hours > 23 || minutes > 59)
        return TIMESTAMP_NAIVE;
    int offset = (int)(hours * 60 + minutes);
    return (int16_t)(*text == '-' ? -offset : offset);
}

static char last_date[10];
static int32_t last_days;

__attribute__((noinline)) static bool remember_date(const char text[static 10])
{
    int32_t days;
    if (!plain_date(text, &days))
        return false;
    memcpy(last_date, text, sizeof(last_date));
    last_days = days;
    return true;
}

/* In last_days then. */
static inline bool is_recent_date(const char text[static 10])
{
    return __builtin_expect(memcmp(text, last_date, sizeof(last_date)) == 0, 1) || remember_date(text);
}

bool convert_recent_date(const char text[static 10], int32_t *ret)
{
    bool good = is_recent_date(text);
    *ret = last_days;
    return good;
}

/* "hh:mm:ss", all eight bytes at once: each is what it is more than the character that stands for nothing there.
 * Seconds; -1: no such time. */
static inline int plain_time(const char text[static 8])
{
    uint64_t x;
    memcpy(&x, text, 8);
    x ^= UINT64_C(0x30303A30303A3030);
    if (((x + UINT64_C(0x76767F76767F7676)) | x) & UINT64_C(0x8080808080808080))
        return -1; /* a digit above 9, a colon above 0 */
    x = x * 10 + (x >> 8);
    int hours = x & 0xFF, minutes = x >> 24 & 0xFF, seconds = x >> 48 & 0xFF;
    return hours <= 23 && minutes <= 59 && seconds <= 59 ? hours * 3600 + minutes * 60 + seconds : -1;
}

/* Behind "hh:mm:ss": a fraction, and a zone where ZONE. */
__attribute__((noinline)) static bool plain_rest(const char *text, size_t n, bool zone, Timestamp *ret)
{
    uint32_t nanos = 0, digit = 100000000;
    size_t at = 0;
    if (n > 0 && text[0] == '.') {
        for (at = 1; at < n && at < 7 && text[at] >= '0' && text[at] <= '9'; at++, digit /= 10)
            nanos += digit * (uint32_t)(text[at] - '0');
        if (at == 1)
            return false;
    }
    int16_t offset = zone ? plain_zone(text + at, n - at) : TIMESTAMP_NAIVE;
    if (zone ? offset == TIMESTAMP_NAIVE : at != n)
        return false;
    ret->seconds -= zone ? (int64_t)offset * 60 : 0;
    ret->nanos = nanos;
    ret->offset = offset;
    return true;
}

__attribute__((noinline)) static bool any_plain_timestamp(const char *text, size_t n, bool zone, Timestamp *ret)
{
    if (n < 19 || (text[10] != 'T' && text[10] != ' '))
        return false;
    int seconds = plain_time(text + 11);
    if (seconds < 0 || !is_recent_date(text))
        return false;
    ret->seconds = (int64_t)last_days * 86400 + seconds;
    return plain_rest(text + 19, n - 19, zone, ret);
}

/* The plainest form, on the day of the last one, is done with without a call. */
bool convert_plain_timestamp(const char *text, size_t n, bool zone, Timestamp *ret)
{
    if (zone && n == 20 && text[19] == 'Z' && text[10] == 'T' && memcmp(text, last_date, sizeof(last_date)) == 0) {
        int seconds = plain_time(text + 11);
        *ret = (Timestamp){ .seconds = (int64_t)last_days * 86400 + seconds };
        return seconds >= 0;
    }
    return any_plain_timestamp(text, n, zone, ret);
}

static int iso_value(PyObject *moment, Value *ret)
{
    _cleanup_(object_freep) PyObject *text = PyObject_CallMethod(moment, "isoformat", NULL);
    uint32_t n;
    const char *iso = text ? convert_text(text, &n) : NULL;
    if (!iso)
        return -1;
    bool day = n == 10;
    ret->tag = day ? VALUE_DATE : VALUE_TIMESTAMP;
    if (day ? date_parse(iso, n, &ret->days) : timestamp_parse(iso, n, &ret->timestamp))
        return 0;
    PyErr_Format(PyExc_ValueError, "no date or time that can be kept: %S", text);
    return -1;
}

/* Asks the function NAME of _times, which raises, or returns a date or a datetime. */
static int ask_times(const char *name, PyObject *value, Value *ret)
{
    if (!times && !(times = PyImport_ImportModule("fivetran_connector_sdk._times")))
        return -1;
    _cleanup_(object_freep) PyObject *moment = PyObject_CallMethod(times, name, "(O)", value);
    return moment ? iso_value(moment, ret) : -1;
}

static int to_moment(PyObject *value, int type, Value *ret)
{
    Py_ssize_t n = 0;
    const char *text = PyUnicode_CheckExact(value) ? PyUnicode_AsUTF8AndSize(value, &n) : NULL;
    PyErr_Clear(); /* a lone surrogate is no time either, and strptime() says so */
    ret->tag = VALUE_TIMESTAMP;
    if (text && type != COLUMN_DATE &&
        convert_plain_timestamp(text, (size_t)n, type == COLUMN_INSTANT, &ret->timestamp))
        return 0;
    if (text && type == COLUMN_DATE && n == 10 && convert_recent_date(text, &ret->days)) {
        ret->tag = VALUE_DATE;
        return 0;
    }
    if (Py_TYPE(value) == (PyTypeObject *)datetime_type || Py_TYPE(value) == (PyTypeObject *)date_type) {
        if (iso_value(value, ret) == 0)
            return 0;
        PyErr_Clear(); /* an offset of seconds */
    }
    return ask_times(type == COLUMN_DATE ? "day" : type == COLUMN_INSTANT ? "instant" : "naive", value, ret);
}

/* --- the rest --- */

static int to_binary(PyObject *value, Value *ret, PyObject **keep)
{
    if (PyByteArray_Check(value))
        return bytes_value(keep_object(PyBytes_FromObject(value), keep), VALUE_BINARY, ret);
    return bytes_value(value, VALUE_BINARY, ret);
}

static int to_json(PyObject *value, Value *ret, PyObject **keep)
{
    if (!json_dumps) {
        _cleanup_(object_freep) PyObject *json = PyImport_ImportModule("json");
        json_dumps = json ? PyObject_GetAttrString(json, "dumps") : NULL;
        if (!json_dumps)
            return -1;
    }
    return text_value(keep_object(PyObject_CallFunctionObjArgs(json_dumps, value, NULL), keep), VALUE_JSON, ret);
}

static int to_string(PyObject *value, Value *ret, PyObject **keep)
{
    return text_value(PyUnicode_Check(value) ? value : keep_object(PyObject_Str(value), keep), VALUE_STRING, ret);
}

static int to_xml(PyObject *value, Value *ret, PyObject **keep)
{
    if (PyBytes_Check(value))
        return text_value(keep_object(PyUnicode_FromEncodedObject(value, "utf-8", "strict"), keep), VALUE_STRING, ret);
    if (PyUnicode_Check(value))
        return text_value(value, VALUE_STRING, ret);
    PyErr_BadArgument();
    return -1;
}

/* Of a column that was not declared: the value's own kind. */
static int to_natural(PyObject *value, Value *ret, PyObject **keep)
{
    if (PyBool_Check(value)) {
        ret->tag = value == Py_True ? VALUE_TRUE : VALUE_FALSE;
        return 0;
    }
    if (PyLong_Check(value))
        return whole_of_any_size(value, ret, keep);
    if (PyFloat_Check(value)) {
        *ret = (Value){ .tag = VALUE_FLOAT, .number = PyFloat_AsDouble(value) };
        return 0;
    }
    if (PyBytes_Check(value))
        return bytes_value(value, VALUE_BINARY, ret);
    if (PyList_Check(value) || PyDict_Check(value))
        return to_json(value, ret, keep);
    return to_string(value, ret, keep);
}

int convert_value(PyObject *value, int type, EmitterField *ret, PyObject **keep)
{
    ret->exact = (FrameText){ 0 };
    ret->value.tag = VALUE_NULL;
    if (value == Py_None)
        return 0;
    switch (type) {
    case COLUMN_BOOLEAN:
        return to_boolean(value, &ret->value);
    case COLUMN_SHORT:
    case COLUMN_INT:
    case COLUMN_INTEGER:
        return to_whole(value, type, &ret->value);
    case COLUMN_DECIMAL:
        return to_decimal(value, &ret->value, keep);
    case COLUMN_REAL:
    case COLUMN_FLOAT:
        return to_float(value, &ret->value, keep);
    case COLUMN_DATE:
    case COLUMN_DATETIME:
    case COLUMN_INSTANT:
        return to_moment(value, type, &ret->value);
    case COLUMN_BINARY:
        return to_binary(value, &ret->value, keep);
    case COLUMN_JSON:
        return to_json(value, &ret->value, keep);
    case COLUMN_STRING:
        return to_string(value, &ret->value, keep);
    case TYPE_XML:
        return to_xml(value, &ret->value, keep);
    default:
        return to_natural(value, &ret->value, keep);
    }
}
