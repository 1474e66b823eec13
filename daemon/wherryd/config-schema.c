/*
 * The JSON Schema of a pipeline file (draft 7, which editors' YAML support understands), written from the tables that
 * the parser uses, so that an editor knows the same keys. It is a little stricter than the parser in one place: text
 * that looks like a number wants quotes.
 */
#include <string.h>

#include "daemon/wherryd/config-internal.h"
#include "lib/basics/buffer.h"

static json_t *key_schema(const Key *key);

static json_t *words(const char *const *choices)
{
    json_t *list = json_array();
    for (size_t i = 0; choices && choices[i]; i++)
        json_array_append_new(list, json_string(choices[i]));
    return list;
}

/* SCHEMA, or one of the key's further words. */
static json_t *or_words(const Key *key, json_t *schema)
{
    if (!key->choices)
        return schema;
    json_t *list = words(key->choices);
    if (strcmp(key->choices[0], "0") == 0)
        json_array_append_new(list, json_integer(0));
    return json_pack("{s:[o,{s:o}]}", "anyOf", schema, "enum", list);
}

static json_t *number_schema(const Key *key, const char *type)
{
    json_t *schema = json_pack("{s:s, s:I}", "type", type, "minimum", (json_int_t)key->minimum);
    if (key->maximum != 0 && key->maximum != INT64_MAX)
        json_object_set_new(schema, "maximum", json_integer(key->maximum));
    return schema;
}

/* A map of TABLES; TYPE: of a connector, or NULL. */
static json_t *map_schema(const Key *const *tables, const char *type)
{
    json_t *properties = json_object(), *required = json_array();
    if (type) {
        json_object_set_new(properties, "type", json_pack("{s:s}", "const", type));
        json_array_append_new(required, json_string("type"));
    }
    for (; *tables; tables++)
        for (const Key *key = *tables; key->name; key++) {
            if (key->not_yet)
                continue;
            json_object_set_new(properties, key->name, key_schema(key));
            if (key->required)
                json_array_append_new(required, json_string(key->name));
        }
    json_t *schema =
        json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties, "additionalProperties", 0);
    if (json_array_size(required) > 0)
        json_object_set(schema, "required", required);
    json_decref(required);
    return schema;
}

static json_t *connector_schema(Role role)
{
    json_t *any = json_array();
    for (size_t i = 0; connectors[role][i]; i++) {
        const Key *const tables[] = { connectors[role][i]->own, NULL };
        json_array_append_new(any, map_schema(tables, connectors[role][i]->type));
    }
    if (role == ROLE_DESTINATION)
        json_array_append_new(any, json_pack("{s:s}", "type", "string"));
    return json_pack("{s:o}", "anyOf", any);
}

static json_t *list_schema(const Key *key)
{
    const Key *const tables[] = { key->fields, NULL };
    const Key item = { .name = key->name, .type = key->items, .minimum = key->minimum, .maximum = key->maximum };
    json_t *items = key->fields ? map_schema(tables, NULL) : key_schema(&item);
    return json_pack("{s:s, s:o}", "type", "array", "items", items);
}

static json_t *map_or_word(const Key *key)
{
    const Key *const tables[] = { key->fields, NULL };
    json_t *map = map_schema(tables, NULL);
    return key->shorthand ? json_pack("{s:[o,o]}", "anyOf", key_schema(&key->fields[0]), map) : map;
}

static json_t *pattern(const char *expression)
{
    return json_pack("{s:s, s:s}", "type", "string", "pattern", expression);
}

static json_t *type_schema(const Key *key)
{
    switch (key->type) {
    case KEY_STRING:
    case KEY_SECRET: /* an editor does not see the tags */
    case KEY_PATH:
        return json_pack("{s:s}", "type", "string");
    case KEY_NAME:
        return json_pack("{s:s, s:i, s:i}", "type", "string", "minLength", 1, "maxLength", KEY_NAME_MAX);
    case KEY_FIELD:
        return json_pack("{s:[s,s]}", "type", "string", "integer");
    case KEY_CHARACTER:
        return or_words(key, pattern("^[\\u0001-\\u007F]$"));
    case KEY_BOOLEAN:
        return json_pack("{s:s}", "type", "boolean");
    case KEY_INTEGER:
        return number_schema(key, "integer");
    case KEY_NUMBER:
        return number_schema(key, "number");
    case KEY_DURATION:
        return or_words(key, pattern("^[0-9]+[smhd]$"));
    case KEY_FREQUENCY:
        return pattern("^([0-9]*[1-9][0-9]*[smhd]|manual)$");
    case KEY_SIZE:
        return json_pack("{s:[s,s], s:s}", "type", "string", "integer", "pattern", "^[0-9]+[KMG]?$");
    case KEY_ENUM:
        return json_pack("{s:o}", "enum", words(key->choices));
    case KEY_LIST:
        return list_schema(key);
    case KEY_MAP:
        return map_or_word(key);
    case KEY_CONNECTOR:
        return connector_schema(strcmp(key->name, "source") == 0 ? ROLE_SOURCE : ROLE_DESTINATION);
    case KEY_ANY:
        return json_object();
    }
    abort();
}

/* The default as an editor would insert it. */
static json_t *default_value(const Key *key)
{
    if (key->type == KEY_BOOLEAN)
        return json_boolean(strcmp(key->fallback, "true") == 0);
    if (key->type == KEY_INTEGER)
        return json_integer(strtoll(key->fallback, NULL, 10));
    return json_string(key->fallback);
}

static json_t *key_schema(const Key *key)
{
    json_t *schema = type_schema(key);
    if (key->description)
        json_object_set_new(schema, "description", json_string(key->description));
    if (key->fallback && *key->fallback)
        json_object_set_new(schema, "default", default_value(key));
    /* `empty: null` is YAML's null to an editor, and a word to us */
    if (key->choices && strcmp(key->choices[0], "null") == 0)
        json_array_append_new(json_object_get(schema, "enum"), json_null());
    if (key->no_effect)
        json_object_set_new(schema, "deprecated", json_true());
    return schema;
}

/* What a connection must have at its top level it needs for files: other sources bring their tables along. */
static void require_for_files(json_t *schema)
{
    json_t *required = json_incref(json_object_get(schema, "required")), *others = json_array();
    for (size_t i = 0; connectors[ROLE_SOURCE][i]; i++)
        if (connectors[ROLE_SOURCE][i]->operations)
            json_array_append_new(others, json_string(connectors[ROLE_SOURCE][i]->type));
    json_object_del(schema, "required");
    json_object_set_new(schema, "if",
                        json_pack("{s:[s], s:{s:{s:[s], s:{s:{s:o}}}}}", "required", "source", "properties", "source",
                                  "required", "type", "properties", "type", "enum", others));
    json_object_set_new(schema, "else", json_pack("{s:o}", "required", required));
}

json_t *config_schema(void)
{
    const Key *tables[KEY_TABLES_MAX];
    top_level_keys((const ConnectorKeys *const[2]){ NULL }, tables);
    json_t *schema =
        json_pack("{s:s, s:s}", "$schema", "http://json-schema.org/draft-07/schema#", "title", "Wherry pipeline file");
    json_t *map = map_schema(tables, NULL);
    json_object_update(schema, map);
    json_decref(map);
    require_for_files(schema);
    return schema;
}
