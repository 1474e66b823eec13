/*
 * One value after the other is held against its row of the key table: is it what the key wants, and if not, what would
 * be? A value that passes becomes JSON in its final form (seconds, bytes, absolute paths), so that nobody reads "15m" a
 * second time. A value that does not pass becomes JSON null, which later checks take as "already complained about".
 *
 * The key's type decides what plain text means: `dest: 2024` is text, `paused: no` is false, and nothing turns into a
 * number because it looks like one.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/wherryd/config-internal.h"
#include "daemon/wherryd/secret.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

static char *shown(const YamlNode *node)
{
    if (node->kind == YAML_TEXT)
        return text_escape_shortened(node->text, node->count, 80);
    return xstrdup(node->kind == YAML_LIST ? "a list" : "a map");
}

/* "a", "a or b", "a, b or c" */
static char *joined(const char *const *words)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    for (size_t i = 0; words[i]; i++)
        buffer_printf(&text, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    return buffer_take_string(&text);
}

/* `"KEY" must be WHAT, not "VALUE"` */
static json_t *wrong(const ValueContext *context, const Key *key, const YamlNode *node, const char *what)
{
    _cleanup_(freep) char *value = shown(node);
    const char *quote = node->kind == YAML_TEXT ? "\"" : "";
    const char *text = node->kind == YAML_TEXT && !node->plain ? "the text " : "";
    yaml_problem(context->problems, node, "\"%s\" must be %s, not %s%s%s%s", key->name, what, text, quote, value,
                 quote);
    return json_null();
}

static bool is_choice(const Key *key, const YamlNode *node)
{
    for (size_t i = 0; key->choices && key->choices[i]; i++)
        if (strcmp(key->choices[i], node->text) == 0)
            return true;
    return false;
}

/* Digits alone, within LIMIT. */
static bool parse_digits(const char *text, size_t n, uint64_t limit, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return n > 0 && value <= limit;
}

static bool within(const Key *key, uint64_t value)
{
    return value >= (uint64_t)MAX_OF(key->minimum, 0) && (key->maximum == 0 || value <= (uint64_t)key->maximum);
}

/* --- text --- */

static json_t *read_secret(const ValueContext *context, const YamlNode *node)
{
    static const char *const kinds[] = {
        [YAML_ENV] = "env", [YAML_FILE] = "file", [YAML_CREDENTIAL] = "credential", [YAML_JSON] = "json"
    };
    const char *kind = kinds[node->reference];
    _cleanup_(freep) char *printable = shown(node);
    if (node->count == 0) {
        yaml_problem(context->problems, node, "\"!%s\" needs a name after it", kind);
        return json_null();
    }
    if (node->reference == YAML_ENV && strchr(node->text, '=')) {
        yaml_problem(context->problems, node, "\"%s\" cannot be the name of an environment variable", printable);
        return json_null();
    }
    if (node->reference == YAML_CREDENTIAL && (strchr(node->text, '/') || node->text[0] == '.')) {
        yaml_problem(context->problems, node, "\"%s\" cannot be the name of a credential; for a path write !file",
                     printable);
        return json_null();
    }
    bool file = node->reference == YAML_FILE || node->reference == YAML_JSON;
    _cleanup_(freep) char *path = file ? path_join(node->file->folder, node->text) : NULL;
    return json_pack("{s:{s:s, s:s}}", "$secret", "kind", kind, "name", path ? path : node->text);
}

/*
 * Key material is fetched when a sync starts, so the reference takes along where it stands and how long the key must
 * be. What stands here may be a key that somebody wrote out: no message quotes it.
 */
static json_t *read_key(const ValueContext *context, const Key *key, const YamlNode *node)
{
    static const char what[] = "must say where the key is and not be the key: env:NAME, secrets:/path, !env NAME, "
                               "!file PATH or !credential NAME";
    const char *kind = NULL, *name = node->text;
    bool written_out = node->reference == YAML_PLAIN_VALUE;
    _cleanup_(freep) char *path = NULL;
    if (node->reference == YAML_ENV || (written_out && strncmp(name, "env:", 4) == 0)) {
        kind = "env";
        name += written_out ? 4 : 0;
    } else if (node->reference == YAML_FILE || (written_out && strncmp(name, "secrets:", 8) == 0)) {
        kind = "file";
        name += written_out ? 8 : 0;
        if (written_out && *name != '/' && *name)
            kind = NULL;
        path = path_join(node->file->folder, name);
        name = path;
    } else if (node->reference == YAML_CREDENTIAL) {
        kind = "credential";
    }
    bool good = kind && node->count > (written_out ? strcspn(node->text, ":") + 1 : 0) &&
                (*kind != 'e' || !strchr(name, '=')) && (*kind != 'c' || (!strchr(name, '/') && *name != '.'));
    if (good)
        return json_pack("{s:{s:s, s:s, s:b, s:I, s:I, s:[s, I, I]}}", "$secret", "kind", kind, "name", name, "prefix",
                         written_out, "minimum", (json_int_t)key->minimum, "maximum", (json_int_t)key->maximum, "at",
                         node->file->name, (json_int_t)node->line, (json_int_t)node->column);
    yaml_problem(context->problems, node, "\"%s\" %s", key->name, what);
    return json_null();
}

static json_t *read_text(const ValueContext *context, const Key *key, const YamlNode *node)
{
    size_t n;
    if (context->secrets && secret_in_url(node->text, &n))
        yaml_warning(context->problems, node, "\"%s\" holds a password; !env, !file or !credential keep it out of here",
                     key->name);
    return json_stringn(node->text, node->count);
}

static json_t *read_name(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (node->count == 0)
        return wrong(context, key, node, "a name");
    if (node->count > KEY_NAME_MAX) {
        yaml_problem(context->problems, node, "\"%s\" is longer than %d bytes", key->name, KEY_NAME_MAX);
        return json_null();
    }
    for (size_t i = 0; i < node->count; i++)
        if ((unsigned char)node->text[i] < ' ' || node->text[i] == 0x7F)
            return wrong(context, key, node, "a name without control characters");
    return json_stringn(node->text, node->count);
}

static json_t *read_field(const ValueContext *context, const Key *key, const YamlNode *node)
{
    uint64_t position;
    /* "007" is a name: a position would not come back as it was written */
    if (node->plain && node->text[0] != '0' && parse_digits(node->text, node->count, INT32_MAX, &position))
        return json_integer((json_int_t)position);
    return read_name(context, key, node);
}

static json_t *read_character(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (is_choice(key, node) || (node->count == 1 && (unsigned char)node->text[0] < 0x80))
        return json_string(node->text);
    _cleanup_(freep) char *words = key->choices ? joined(key->choices) : NULL;
    _cleanup_(freep) char *what = xasprintf("one ASCII character%s%s", words ? ", or " : "", words ? words : "");
    return wrong(context, key, node, what);
}

static json_t *read_path(const ValueContext *context, const Key *key, const YamlNode *node)
{
    _cleanup_(freep) char *printable = shown(node);
    _cleanup_(freep) char *path = path_join(node->file->folder, node->text);
    if (node->count == 0)
        return wrong(context, key, node, "a path");
    if (strstr(node->text, "://"))
        yaml_problem(context->problems, node, "\"%s\" must be a local path: \"%s\" is not supported yet", key->name,
                     printable);
    else if (node->text[0] == '~')
        yaml_problem(context->problems, node, "\"~\" is not expanded in \"%s\"; write the whole path", key->name);
    else if (strlen(path) >= PATH_MAX)
        yaml_problem(context->problems, node, "\"%s\" is longer than a path may be (%d bytes)", key->name,
                     PATH_MAX - 1);
    else
        return json_string(path);
    return json_null();
}

static json_t *read_enum(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (is_choice(key, node))
        return json_string(node->text);
    _cleanup_(freep) char *value = shown(node);
    for (const KeyLater *later = key->later; later && later->word; later++)
        if (strcmp(later->word, node->text) == 0) {
            yaml_problem(context->problems, node, "%s \"%s\" is not supported yet%s%s", key->name, value,
                         later->instead ? "; " : "", later->instead ? later->instead : "");
            return json_null();
        }
    _cleanup_(freep) char *words = joined(key->choices);
    const char *near = text_suggest(node->text, key->choices);
    yaml_problem(context->problems, node, "\"%s\" must be %s, not \"%s\"%s%s%s", key->name, words, value,
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return json_null();
}

/* --- numbers --- */

/* YAML 1.1's words too, where they stand without quotes: Filedge's files have them. */
static json_t *read_boolean(const ValueContext *context, const Key *key, const YamlNode *node)
{
    static const char *const words[2][10] = {
        { "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF" },
        { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON" },
    };
    for (size_t value = 0; node->plain && value < 2; value++)
        for (size_t i = 0; words[value][i]; i++) {
            if (strcmp(words[value][i], node->text) != 0)
                continue;
            if (value == 0 || !key->later)
                return json_boolean(value == 1);
            yaml_problem(context->problems, node, "\"%s: true\" is not supported yet; %s", key->name,
                         key->later->instead);
            return json_null();
        }
    return wrong(context, key, node, "true or false");
}

static json_t *read_integer(const ValueContext *context, const Key *key, const YamlNode *node)
{
    uint64_t value;
    if (node->plain && parse_digits(node->text, node->count, INT64_MAX, &value) && within(key, value))
        return json_integer((json_int_t)value);
    char what[96] = "a whole number";
    if (key->maximum != 0 && key->maximum != INT64_MAX)
        snprintf(what, sizeof(what), "a whole number from %" PRId64 " to %" PRId64, key->minimum, key->maximum);
    else if (key->minimum > 0)
        snprintf(what, sizeof(what), "a whole number of at least %" PRId64, key->minimum);
    return wrong(context, key, node, what);
}

static json_t *read_number(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (node->plain) {
        char *end;
        double value = strtod(node->text, &end);
        if (isfinite(value) && *end == '\0' && end > node->text && value >= (double)key->minimum &&
            (key->maximum == 0 || value <= (double)key->maximum))
            return json_real(value);
    }
    char what[96];
    snprintf(what, sizeof(what), "a number from %" PRId64 " to %" PRId64, key->minimum, key->maximum);
    return wrong(context, key, node, what);
}

static json_t *read_duration(const ValueContext *context, const Key *key, const YamlNode *node)
{
    uint64_t seconds;
    if (is_choice(key, node))
        return json_integer(0);
    if (duration_parse(node->text, &seconds) && within(key, seconds))
        return json_integer((json_int_t)seconds);
    char low[DURATION_TEXT_SIZE], high[DURATION_TEXT_SIZE];
    duration_format((uint64_t)key->minimum, low);
    duration_format((uint64_t)MAX_OF(key->maximum, 0), high);
    _cleanup_(freep) char *words = key->choices ? joined(key->choices) : NULL;
    _cleanup_(freep) char *what =
        xasprintf("a duration of at %s %s, such as 30s, 15m or 6h%s%s", key->minimum > 0 ? "least" : "most",
                  key->minimum > 0 ? low : high, words ? ", or " : "", words ? words : "");
    return wrong(context, key, node, what);
}

static json_t *read_frequency(const ValueContext *context, const Key *key, const YamlNode *node)
{
    uint64_t seconds;
    if (strcmp(node->text, "manual") == 0)
        return json_integer(0);
    if (duration_parse(node->text, &seconds) && seconds >= 1 && seconds <= UINT32_MAX)
        return json_integer((json_int_t)seconds);
    return wrong(context, key, node, "a duration of at least 1s, such as 15m, 6h or 1d, or manual");
}

static void size_format(int64_t size, char *ret, size_t n)
{
    static const char units[] = "KMG";
    int unit = -1;
    while (size > 0 && size % 1024 == 0 && unit < 2)
        size /= 1024, unit++;
    snprintf(ret, n, "%" PRId64 "%.*s", size, unit >= 0, units + MAX_OF(unit, 0));
}

static json_t *read_size(const ValueContext *context, const Key *key, const YamlNode *node)
{
    static const char units[] = "KMG";
    size_t n = node->count;
    const char *unit = n > 0 ? strchr(units, node->text[n - 1]) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    uint64_t value;
    if (parse_digits(node->text, unit ? n - 1 : n, INT64_MAX >> shift, &value) && within(key, value << shift))
        return json_integer((json_int_t)(value << shift));
    char low[32], high[32], what[128];
    size_format(key->minimum, low, sizeof(low));
    size_format(key->maximum, high, sizeof(high));
    snprintf(what, sizeof(what), "a size from %s to %s, such as 64M", low, high);
    return wrong(context, key, node, what);
}

/* --- what holds others --- */

static json_t *read_fields(const ValueContext *context, const Key *fields, const YamlNode *map)
{
    const ValueContext inside = { .problems = context->problems, .secrets = context->secrets };
    return value_read_map(&inside, (const Key *const[]){ fields, NULL }, map);
}

static json_t *read_list(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (node->kind != YAML_LIST)
        return wrong(context, key, node, "a list");
    const Key item = { .name = key->name, .type = key->items, .minimum = key->minimum, .maximum = key->maximum };
    json_t *list = json_array();
    for (uint32_t i = 0; i < node->count; i++) {
        const YamlNode *child = node->items[i];
        json_t *value;
        if (!key->fields)
            value = value_read(context, &item, child);
        else if (child->kind == YAML_MAP)
            value = read_fields(context, key->fields, child);
        else
            value = wrong(context, &(Key){ .name = key->name }, child, "a list of maps");
        json_array_append_new(list, value);
    }
    return list;
}

static json_t *read_map(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (node->kind == YAML_MAP)
        return read_fields(context, key->fields, node);
    for (const Key *field = key->fields; field->name; field++)
        if (field->type == KEY_SECRET && node->kind == YAML_TEXT) {
            /* it may be the key itself */
            yaml_problem(context->problems, node, "\"%s\" must be a map, such as {%s: …, %s: env:NAME}", key->name,
                         key->fields[0].name, field->name);
            return json_null();
        }
    if (node->kind != YAML_TEXT || !key->shorthand) {
        _cleanup_(freep) char *words = key->shorthand ? joined(key->fields[0].choices) : NULL;
        _cleanup_(freep) char *what = xasprintf("%s%sa map", words ? words : "", words ? ", or " : "");
        return wrong(context, key, node, what);
    }
    Key word = key->fields[0];
    word.name = key->name;
    json_t *value = value_read(context, &word, node);
    return json_is_null(value) ? value : json_pack("{s:o}", key->fields[0].name, value);
}

static json_t *read_scalar(const ValueContext *context, const Key *key, const YamlNode *node)
{
    switch (key->type) {
    case KEY_STRING:
        return read_text(context, key, node);
    case KEY_NAME:
        return read_name(context, key, node);
    case KEY_FIELD:
        return read_field(context, key, node);
    case KEY_CHARACTER:
        return read_character(context, key, node);
    case KEY_BOOLEAN:
        return read_boolean(context, key, node);
    case KEY_INTEGER:
        return read_integer(context, key, node);
    case KEY_NUMBER:
        return read_number(context, key, node);
    case KEY_DURATION:
        return read_duration(context, key, node);
    case KEY_FREQUENCY:
        return read_frequency(context, key, node);
    case KEY_SIZE:
        return read_size(context, key, node);
    case KEY_ENUM:
        return read_enum(context, key, node);
    case KEY_PATH:
        return read_path(context, key, node);
    case KEY_SECRET:
    case KEY_LIST:
    case KEY_MAP:
    case KEY_CONNECTOR:
    case KEY_ANY:
        break;
    }
    abort();
}

json_t *value_read(const ValueContext *context, const Key *key, const YamlNode *node)
{
    if (key->type == KEY_ANY)
        return value_read_any(context, node);
    /* `empty: null` is a word there, not the absence of one */
    if (yaml_is_null(node) && !is_choice(key, node)) {
        bool word = node->count > 0;
        yaml_problem(context->problems, node, "\"%s\" has no value%s%s%s", key->name, word ? "; in quotes, \"" : "",
                     word ? node->text : "", word ? "\" is text" : "");
        return json_null();
    }
    if (key->type == KEY_SECRET && node->kind == YAML_TEXT)
        return read_key(context, key, node);
    if (node->reference != YAML_PLAIN_VALUE) {
        if (context->secrets && key->type == KEY_STRING && node->reference != YAML_JSON)
            return read_secret(context, node);
        yaml_problem(context->problems, node, "\"%s\" cannot be a secret reference; write its value", key->name);
        return json_null();
    }
    if (key->type == KEY_LIST)
        return read_list(context, key, node);
    if (key->type == KEY_MAP)
        return read_map(context, key, node);
    if (node->kind != YAML_TEXT && key->type == KEY_ENUM) {
        _cleanup_(freep) char *words = joined(key->choices);
        return wrong(context, key, node, words);
    }
    if (node->kind != YAML_TEXT)
        return wrong(context, key, node, key->type == KEY_PATH ? "a path" : "a single value");
    return read_scalar(context, key, node);
}

json_t *value_fallback(const Key *key)
{
    static const YamlFile nowhere = { .name = "", .folder = "/" };
    Problems none = { 0 };
    const ValueContext context = { .problems = &none };
    if (!key->fallback)
        return NULL;
    YamlNode node = { .file = &nowhere, .kind = YAML_TEXT, .plain = true };
    node.text = key->fallback;
    node.count = (uint32_t)strlen(key->fallback);
    if (key->type == KEY_MAP && !key->shorthand)
        node = (YamlNode){ .file = &nowhere, .kind = YAML_MAP };
    json_t *value = key->type == KEY_MAP ? read_map(&context, key, &node) : read_scalar(&context, key, &node);
    if (none.count > 0)
        abort(); /* a default of our own that its own key refuses */
    return value;
}

/* --- maps --- */

static const Key *find_key(const Key *const *tables, const char *name)
{
    for (; *tables; tables++)
        for (const Key *key = *tables; key->name; key++)
            if (strcmp(key->name, name) == 0)
                return key;
    return NULL;
}

/* Says so. The key that was meant stands as a bad value in OBJECT, so that nobody calls it missing. */
static void unknown_key(const ValueContext *context, const Key *const *tables, const YamlNode *key, json_t *object)
{
    const char *words[64];
    size_t n = 0;
    if (context->typed)
        words[n++] = "type";
    for (; *tables; tables++)
        for (const Key *known = *tables; known->name; known++)
            if (n < ELEMENTSOF(words) - 1 && !known->not_yet && !known->no_effect)
                words[n++] = known->name;
    words[n] = NULL;
    const char *near = text_suggest(key->text, words);
    _cleanup_(freep) char *printable = shown(key);
    if (near) {
        yaml_problem(context->problems, key, "unknown key \"%s\"; did you mean \"%s\"?", printable, near);
        if (!json_object_get(object, near))
            json_object_set_new(object, near, json_null());
        return;
    }
    _cleanup_(freep) char *all = joined(words);
    yaml_problem(context->problems, key, "unknown key \"%s\"; here may stand %s", printable, all);
}

/* A row that is never read: false, after having said so. */
static bool is_supported(const ValueContext *context, const Key *key, const YamlEntry *entry)
{
    if (!key->not_yet)
        return true;
    yaml_problem(context->problems, entry->key, "\"%s\" is not supported yet%s%s", key->name, *key->not_yet ? "; " : "",
                 key->not_yet);
    return false;
}

static void read_entry(const ValueContext *context, const Key *key, const YamlEntry *entry, json_t *object)
{
    if (key->type == KEY_CONNECTOR || !is_supported(context, key, entry))
        return;
    /* nothing at all has the place of its key, which says more */
    YamlNode value = *entry->value;
    if (yaml_is_null(&value) && value.count == 0)
        value.line = entry->key->line, value.column = entry->key->column;
    json_t *read = value_read(context, key, &value);
    if (!key->no_effect) {
        json_object_set_new(object, key->name, read);
        return;
    }
    if (*key->no_effect && !json_is_null(read))
        yaml_warning(context->problems, entry->key, "\"%s\" has no effect: %s", key->name, key->no_effect);
    json_decref(read);
}

static void fill_in(const ValueContext *context, const Key *table, const YamlNode *map, json_t *object)
{
    for (const Key *key = table; key->name; key++) {
        if (yaml_get(map, key->name) || json_object_get(object, key->name) || key->type == KEY_CONNECTOR)
            continue;
        json_t *value = value_fallback(key);
        if (value)
            json_object_set_new(object, key->name, value);
        else if (key->required && !context->partial)
            yaml_problem(context->problems, map, "missing key \"%s\"", key->name);
    }
}

json_t *value_read_map(const ValueContext *context, const Key *const *tables, const YamlNode *map)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < map->count; i++) {
        const YamlEntry *entry = &map->entries[i];
        if (context->typed && strcmp(entry->key->text, "type") == 0)
            continue;
        const Key *key = find_key(tables, entry->key->text);
        /* wherry.yaml's defaults are for all connections, whatever their sources know of them */
        if (entry->key->file != map->file && (!key || key->not_yet))
            continue;
        if (key)
            read_entry(context, key, entry, object);
        else
            unknown_key(context, tables, entry->key, object);
    }
    for (; *tables; tables++)
        fill_in(context, *tables, map, object);
    return object;
}

/* YAML 1.2's core schema, for what is passed on without a table. */
static json_t *read_plain(const ValueContext *context, const YamlNode *node)
{
    const char *text = node->text;
    bool negative = *text == '-', sign = negative || *text == '+';
    size_t digits = strspn(text + sign, "0123456789");
    if (strcmp(text, "true") == 0 || strcmp(text, "True") == 0 || strcmp(text, "TRUE") == 0)
        return json_true();
    if (strcmp(text, "false") == 0 || strcmp(text, "False") == 0 || strcmp(text, "FALSE") == 0)
        return json_false();
    if (digits > 0 && text[sign + digits] == '\0') {
        errno = 0;
        long long value = strtoll(text, NULL, 10);
        if (errno == 0)
            return json_integer(value);
        yaml_problem(context->problems, node, "the number %.40s is too large; put it in quotes", text);
        return json_null();
    }
    char *end;
    if (strspn(text, "+-.0123456789eE") == node->count && strpbrk(text, "0123456789")) {
        double value = strtod(text, &end);
        if (*end == '\0' && isfinite(value))
            return json_real(value);
    }
    return json_stringn(text, node->count);
}

json_t *value_read_any(const ValueContext *context, const YamlNode *node)
{
    json_t *value;
    switch (node->kind) {
    case YAML_LIST:
        value = json_array();
        for (uint32_t i = 0; i < node->count; i++)
            json_array_append_new(value, value_read_any(context, node->items[i]));
        return value;
    case YAML_MAP:
        value = json_object();
        for (uint32_t i = 0; i < node->count; i++)
            json_object_set_new(value, node->entries[i].key->text, value_read_any(context, node->entries[i].value));
        return value;
    case YAML_TEXT:
        break;
    }
    if (node->reference != YAML_PLAIN_VALUE)
        return read_secret(context, node);
    if (yaml_is_null(node))
        return json_null();
    return node->plain ? read_plain(context, node) : json_stringn(node->text, node->count);
}
