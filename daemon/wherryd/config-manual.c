/*
 * The manual page wherry-pipeline(5), written from the tables that the parser uses, so that it knows the same keys,
 * defaults and bounds. Only the prose around them stands here.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/wherryd/config-internal.h"
#include "lib/formats/manual.h"

static void put_words(Buffer *out, const char *const *words, const char *before)
{
    for (size_t i = 0; words && words[i]; i++) {
        const char *between = i == 0 ? before : words[i + 1] ? ", " : " or ";
        buffer_printf(out, "%s%s", between, words[i]);
    }
}

static void put_size(Buffer *out, int64_t bytes)
{
    static const char units[] = { 'G', 'M', 'K' };
    for (size_t i = 0; i < sizeof(units); i++) {
        int64_t unit = INT64_C(1) << (30 - 10 * (int)i);
        if (bytes >= unit && bytes % unit == 0) {
            buffer_printf(out, "%" PRId64 "%c", bytes / unit, units[i]);
            return;
        }
    }
    buffer_printf(out, "%" PRId64, bytes);
}

static void put_duration(Buffer *out, int64_t seconds)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
    size_t i = 0;
    while (seconds % units[i].seconds != 0)
        i++;
    buffer_printf(out, "%" PRId64 "%c", seconds / units[i].seconds, units[i].letter);
}

static void put_bounds(Buffer *out, const Key *key, void (*put)(Buffer *, int64_t))
{
    /* what nobody reaches is no bound worth telling */
    bool above = key->minimum > 0, below = key->maximum != 0 && key->maximum < INT64_C(1) << 31;
    if (above) {
        buffer_append_string(out, below ? " from " : " of at least ");
        put(out, key->minimum);
    }
    if (below) {
        buffer_append_string(out, above ? " to " : " of at most ");
        put(out, key->maximum);
    }
}

static void put_number(Buffer *out, int64_t number)
{
    buffer_printf(out, "%" PRId64, number);
}

static void put_type(Buffer *out, const Key *key)
{
    static const char *const names[] = {
        [KEY_STRING] = "text",
        [KEY_NAME] = "a name",
        [KEY_FIELD] = "a name or a position",
        [KEY_CHARACTER] = "a character",
        [KEY_BOOLEAN] = "true or false",
        [KEY_INTEGER] = "a number",
        [KEY_NUMBER] = "a number",
        [KEY_DURATION] = "a duration",
        [KEY_FREQUENCY] = "a duration, or manual",
        [KEY_SIZE] = "a size",
        [KEY_SECRET] = "a reference to a key",
        [KEY_PATH] = "a path",
        [KEY_MAP] = "a map",
        [KEY_CONNECTOR] = "a map",
        [KEY_ANY] = "a map",
    };
    if (key->type == KEY_ENUM) {
        put_words(out, key->choices, "");
        return;
    }
    if (key->type == KEY_LIST) {
        buffer_append_string(out, key->fields ? "a list of maps" : "a list of ");
        if (!key->fields)
            buffer_append_string(out, key->items == KEY_INTEGER ? "numbers" : "texts");
    } else {
        buffer_append_string(out, names[key->type]);
    }
    if (key->type == KEY_MAP && key->shorthand)
        put_words(out, key->fields[0].choices, ", or ");
    if (key->type == KEY_SIZE)
        put_bounds(out, key, put_size);
    else if (key->type == KEY_DURATION)
        put_bounds(out, key, put_duration);
    else if (key->type == KEY_INTEGER || key->type == KEY_NUMBER || key->type == KEY_LIST)
        put_bounds(out, key, put_number);
    put_words(out, key->choices, ", or ");
}

static void put_keys(Buffer *page, const Key *keys);

static void put_key(Buffer *page, const Key *key)
{
    _cleanup_(buffer_clear) Buffer after = {};
    buffer_append_string(&after, "(");
    put_type(&after, key);
    if (key->required)
        buffer_append_string(&after, "; required");
    else if (key->fallback && *key->fallback)
        buffer_printf(&after, "; default: %s", key->fallback);
    buffer_append_string(&after, ")");
    _cleanup_(freep) char *text = buffer_take_string(&after);
    manual_term(page, key->name, text);
    manual_text(page, key->description);
    if (key->no_effect && *key->no_effect) {
        _cleanup_(freep) char *reason = xasprintf("The reason: %s.", key->no_effect);
        manual_text(page, reason);
    }
    if (key->fields) {
        manual_indent(page);
        put_keys(page, key->fields);
        manual_outdent(page);
    }
}

static void put_keys(Buffer *page, const Key *keys)
{
    for (; keys->name; keys++)
        if (!keys->not_yet)
            put_key(page, keys);
}

static bool has_keys(const Key *keys)
{
    for (; keys && keys->name; keys++)
        if (!keys->not_yet)
            return true;
    return false;
}

static void put_connector(Buffer *page, Role role, const ConnectorKeys *connector)
{
    _cleanup_(freep) char *heading = xasprintf("%s: {type: %s}", role_name(role), connector->type);
    manual_subheading(page, heading);
    put_keys(page, connector->own);
    if (has_keys(connector->top)) {
        _cleanup_(freep) char *sentence =
            xasprintf("At the top level, beside `%s`, stand with this type:", role_name(role));
        manual_paragraph(page, sentence);
        put_keys(page, connector->top);
    }
    if (role == ROLE_SOURCE && !connector->operations)
        put_keys(page, file_keys);
}

static void put_connectors(Buffer *page)
{
    manual_heading(page, "SOURCES");
    for (size_t i = 0; connectors[ROLE_SOURCE][i]; i++)
        put_connector(page, ROLE_SOURCE, connectors[ROLE_SOURCE][i]);
    _cleanup_(buffer_clear) Buffer emitters = {};
    for (size_t i = 0; connectors[ROLE_SOURCE][i]; i++)
        if (connectors[ROLE_SOURCE][i]->operations)
            buffer_printf(&emitters, "%s%s", buffer_length(&emitters) > 0 ? ", " : "",
                          connectors[ROLE_SOURCE][i]->type);
    _cleanup_(freep) char *names = buffer_take_string(&emitters);
    _cleanup_(freep) char *heading = xasprintf("Sources that emit operations (%s)", names);
    manual_subheading(page, heading);
    manual_paragraph(page, "At the top level:");
    put_keys(page, operation_keys);
    manual_heading(page, "DESTINATIONS");
    for (size_t i = 0; connectors[ROLE_DESTINATION][i]; i++)
        put_connector(page, ROLE_DESTINATION, connectors[ROLE_DESTINATION][i]);
}

static const char about[] =
    "Each file `/etc/wherry/pipelines.d/NAME.yaml` is a connection called NAME, of a-z, 0-9 and _: a source, a "
    "destination, and how often to sync. `/etc/wherry/wherry.yaml` has the daemon's own settings, and may be absent. "
    "`wherryctl check` says what is wrong with either, with line and column; `wherryctl reload` takes up what "
    "changed.\n\n"
    "A key that is unknown, or that belongs to another source or destination, is refused. Paths are relative to the "
    "file's folder. A duration is a number with s, m, h or d; a size is a number of bytes, or with K, M or G of 1024, "
    "1024² or 1024³ bytes.";
static const char example[] = "frequency: 15m\n"
                              "source:\n"
                              "  type: files\n"
                              "  dir: /srv/incoming/orders\n"
                              "  file_pattern: \"*.csv\"\n"
                              "format: csv\n"
                              "dest_table: orders\n"
                              "columns:\n"
                              "  - {source: id, dest: order_id, type: integer}\n"
                              "  - {source: note, dest: note, type: string, required: false}\n"
                              "destination: {type: sqlite, path: /var/lib/wherry/orders.db}";
static const char secrets[] =
    "No secret stands in a file: `!env NAME` is the value of a variable in wherryd's environment, `!file PATH` the "
    "content of a file (without the newline at its end), `!credential NAME` a systemd credential, see "
    "systemd.exec(5). They may stand for any value inside `source` and `destination`. They are looked up when a sync "
    "starts, each is handed to the one program that needs it, and whoever prints one finds it masked in the log.";
static const char daemon_settings[] =
    "`destinations` names destinations as a connection would write them, `defaults` has keys of a connection's top "
    "level for connections that do not say otherwise. `wherryctl reload` or SIGHUP applies a change.";

char *config_manual(const char *version)
{
    _cleanup_(buffer_clear) Buffer page = {};
    manual_begin(&page, "WHERRY-PIPELINE", 5, version);
    manual_heading(&page, "NAME");
    manual_text(&page, "wherry-pipeline, wherry.yaml - what wherryd syncs, and how");
    manual_heading(&page, "DESCRIPTION");
    manual_paragraph(&page, about);
    manual_example(&page, example);
    manual_heading(&page, "EVERY CONNECTION");
    put_keys(&page, connection_keys);
    put_connectors(&page);
    manual_heading(&page, "SECRETS");
    manual_paragraph(&page, secrets);
    manual_heading(&page, "THE DAEMON'S SETTINGS");
    manual_paragraph(&page, daemon_settings);
    put_keys(&page, daemon_keys);
    manual_heading(&page, "SEE ALSO");
    manual_text(&page, "`wherryctl`(1), `wherryd`(8)");
    return buffer_take_string(&page);
}
