/* The rules of the Connector SDK for configuration.json, which debug, deploy and the daemon hold it against. */
#include "lib/formats/configuration.h"

#include <string.h>

#include "lib/basics/text.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_STRING:
        break;
    }
    return "text";
}

static int check_value(const char *key, const json_t *value, Error *error)
{
    _cleanup_(freep) char *printable = text_escape_shortened(key, strlen(key), 100);
    if (!json_is_string(value))
        return error_set(error, ERROR_CONFIGURATION,
                         "invalid configuration; all values must be strings: \"%s\" is %s, write it in quotes",
                         printable, type_name(value));
    if (strncmp(json_string_value(value), CONFIGURATION_ENCRYPTED, strlen(CONFIGURATION_ENCRYPTED)) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "invalid configuration; the value of \"%s\" was encrypted by Fivetran's command for its own "
                         "use: write it in clear, it is kept as a secret",
                         printable);
    return 0;
}

bool configuration_names_secret(const char *key)
{
    static const char *const words[] = { "password",   "passwd",      "secret",      "token",      "api_key",
                                         "apikey",     "api-key",     "api key",     "access_key", "accesskey",
                                         "access-key", "private_key", "private-key", "privatekey", "credential" };
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcasestr(key, words[i]))
            return true;
    return false;
}

int configuration_check(const json_t *configuration, Error *error)
{
    const char *key;
    json_t *value;
    size_t bytes = 0;
    if (!json_is_object(configuration))
        return error_set(error, ERROR_CONFIGURATION, "invalid configuration; it must be a JSON object");
    if (json_object_size(configuration) > CONFIGURATION_KEYS_MAX)
        return error_set(error, ERROR_CONFIGURATION, "invalid configuration; it has %zu keys, at most %d are allowed",
                         json_object_size(configuration), CONFIGURATION_KEYS_MAX);
    json_object_foreach ((json_t *)configuration, key, value) {
        if (check_value(key, value, error) < 0)
            return -1;
        bytes += strlen(key) + json_string_length(value);
    }
    if (bytes > CONFIGURATION_BYTES_MAX)
        return error_set(error, ERROR_CONFIGURATION, "invalid configuration; it has %zu bytes, at most %u are allowed",
                         bytes, CONFIGURATION_BYTES_MAX);
    return 0;
}
