/*
 * Varlink messages between bytes and JSON values. The peer is not trusted: a message is bounded before it is parsed,
 * in length as in nesting (jansson recurses per level, and its own limit of 2048 levels is for its stack, not for
 * ours), an object with the same key twice is refused instead of letting one of them win, and strings hold no NUL, so
 * that every string of a taken message is a C string.
 */
#include <jansson.h>
#include <string.h>

#include "lib/formats/varlink.h"

static bool nests_deeper_than(const char *text, size_t n, unsigned limit)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > limit)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

int varlink_take(Buffer *input, size_t message_max, json_t **ret, Error *error)
{
    size_t available = buffer_length(input);
    if (available == 0)
        return VARLINK_E_MORE;

    const char *text = (const char *)buffer_bytes(input);
    const char *end = memchr(text, '\0', MIN_OF(available, message_max + 1));
    if (!end) {
        if (available > message_max)
            return error_set(error, ERROR_INTERNAL, "the message is longer than %zu bytes", message_max);
        return VARLINK_E_MORE;
    }

    size_t length = (size_t)(end - text);
    if (nests_deeper_than(text, length, VARLINK_DEPTH_MAX))
        return error_set(error, ERROR_INTERNAL, "the message nests deeper than %u levels", VARLINK_DEPTH_MAX);

    json_error_t problem;
    json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (!message)
        return error_set(error, ERROR_INTERNAL, "the message is not JSON that can be read: %s (at byte %d)",
                         problem.text, problem.position);
    if (!json_is_object(message)) {
        json_decref(message);
        return error_set(error, ERROR_INTERNAL, "the message is not a JSON object");
    }
    buffer_consume(input, length + 1);
    *ret = message;
    return 0;
}

static int append_to_buffer(const char *data, size_t n, void *userdata)
{
    buffer_append(userdata, data, n);
    return 0;
}

void varlink_put(Buffer *output, const json_t *object)
{
    json_dump_callback(object, append_to_buffer, output, JSON_COMPACT);
    buffer_append(output, "", 1);
}

static json_t *message_new(const char *key, const char *name, json_t *parameters)
{
    json_t *message = json_object();
    if (key)
        json_object_set_new(message, key, json_string(name));
    json_object_set_new(message, "parameters", parameters ? parameters : json_object());
    return message;
}

json_t *varlink_call(const char *method, json_t *parameters, bool more)
{
    json_t *message = message_new("method", method, parameters);
    if (more)
        json_object_set_new(message, "more", json_true());
    return message;
}

json_t *varlink_reply(json_t *parameters, bool continues)
{
    json_t *message = message_new(NULL, NULL, parameters);
    if (continues)
        json_object_set_new(message, "continues", json_true());
    return message;
}

json_t *varlink_error(const char *error, json_t *parameters)
{
    return message_new("error", error, parameters);
}
