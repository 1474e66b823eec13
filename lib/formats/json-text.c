/*
 * yyjson parses without recursion, so that depth costs it nothing; the bound is for those who read the value later.
 */
#include "lib/formats/json-text.h"

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
