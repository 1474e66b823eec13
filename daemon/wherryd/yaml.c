/*
 * libfyaml reads the text and tells what stands where; a tree of small nodes, all in a few blocks of memory, keeps what
 * configuration needs of it. Its event interface is used, not its documents: it is twice as fast, a daemon with ten
 * thousand files notices, and every bound is checked before the next byte is looked at. Its own diagnostics are
 * collected, never printed, and become problems like all others.
 */
#include "daemon/wherryd/yaml.h"

#include <libfyaml.h>
#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

typedef struct Block Block;
struct Block {
    Block *next;
    size_t used, size;
    max_align_t data[];
};

typedef struct Anchor {
    char *name;
    YamlNode *node;
    bool open; /* its node is still being read */
} Anchor;

typedef struct Reader {
    YamlFile *file;
    Problems *problems;
    struct fy_parser *parser;
    bool failed;           /* reading has ended */
    bool explained;        /* and a problem says why */
    uint32_t line, column; /* of the last event that had a place */
    Anchor anchors[YAML_ANCHORS_MAX];
    size_t anchor_count;
} Reader;

#define BLOCK_SIZE 8192
#define TAG_BYTES_MAX 256

void *yaml_allocate(YamlFile *file, size_t n)
{
    Block *block = file->memory;
    n = (n + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
    if (!block || block->size - block->used < n) {
        size_t size = MAX_OF(n, (size_t)BLOCK_SIZE - sizeof(Block));
        block = xmalloc(sizeof(Block) + size);
        *block = (Block){ .next = file->memory, .size = size };
        file->memory = block;
    }
    void *result = (char *)block->data + block->used;
    block->used += n;
    return result;
}

void yaml_clear(YamlFile *file)
{
    for (Block *block = file->memory; block;) {
        Block *next = block->next;
        free(block);
        block = next;
    }
    file->memory = NULL;
    file->root = NULL;
}

static YamlNode *yaml_node(YamlFile *file, YamlKind kind, uint32_t line, uint32_t column)
{
    YamlNode *node = yaml_allocate(file, sizeof(*node));
    *node = (YamlNode){ .file = file, .line = line, .column = column, .kind = kind, .values = 1 };
    return node;
}

static YamlNode *yaml_text_n(YamlFile *file, const char *text, size_t n, uint32_t line, uint32_t column)
{
    YamlNode *node = yaml_node(file, YAML_TEXT, line, column);
    char *copy = yaml_allocate(file, n + 1);
    if (n > 0)
        memcpy(copy, text, n);
    copy[n] = '\0';
    node->text = copy;
    node->count = (uint32_t)n;
    return node;
}

YamlNode *yaml_text(YamlFile *file, const char *text, uint32_t line, uint32_t column)
{
    return yaml_text_n(file, text, strlen(text), line, column);
}

const YamlNode *yaml_get(const YamlNode *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].key->text, key) == 0)
            return map->entries[i].value;
    return NULL;
}

bool yaml_is_null(const YamlNode *node)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };
    if (node->kind != YAML_TEXT || !node->plain || node->reference != YAML_PLAIN_VALUE)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcmp(node->text, words[i]) == 0)
            return true;
    return false;
}

/* --- reading --- */

#define reader_fail(reader, line, column, ...)                                                    \
    ({                                                                                            \
        (reader)->failed = (reader)->explained = true;                                            \
        problems_add((reader)->problems, false, (reader)->file->name, line, column, __VA_ARGS__); \
        (YamlNode *)NULL;                                                                         \
    })

static char *shown(const char *text, size_t n)
{
    return text_escape_shortened(text, n, 80);
}

static void reader_move(Reader *reader, const struct fy_mark *mark)
{
    if (mark && mark->line >= 0 && mark->column >= 0) {
        reader->line = (uint32_t)mark->line + 1;
        reader->column = (uint32_t)mark->column + 1;
    }
}

static Anchor *find_anchor(Reader *reader, const char *name)
{
    for (size_t i = reader->anchor_count; i > 0; i--)
        if (strcmp(reader->anchors[i - 1].name, name) == 0)
            return &reader->anchors[i - 1];
    return NULL;
}

/* Anchors are noted where their node begins, so that an alias inside it is seen to be endless. */
static Anchor *note_anchor(Reader *reader, struct fy_token *token, YamlNode *node)
{
    size_t n;
    const char *name = token ? fy_token_get_text(token, &n) : NULL;
    if (!name)
        return NULL;
    if (reader->anchor_count == YAML_ANCHORS_MAX) {
        reader_fail(reader, node->line, node->column, "more than %d anchors; write some values out", YAML_ANCHORS_MAX);
        return NULL;
    }
    Anchor *anchor = &reader->anchors[reader->anchor_count++];
    *anchor = (Anchor){ .name = xstrndup(name, n), .node = node, .open = true };
    return anchor;
}

static YamlNode *read_alias(Reader *reader, struct fy_event *event)
{
    size_t n = 0;
    const char *text = fy_token_get_text(event->alias.anchor, &n);
    _cleanup_(freep) char *name = xstrndup(text ? text : "", text ? n : 0);
    Anchor *anchor = find_anchor(reader, name);
    reader->column -= reader->column > 1; /* libfyaml's mark stands after the asterisk */
    _cleanup_(freep) char *printable = shown(name, strlen(name));
    if (!anchor)
        return reader_fail(reader, reader->line, reader->column,
                           "\"*%s\" refers to no anchor before it; put text that begins with * in quotes", printable);
    if (anchor->open)
        return reader_fail(reader, reader->line, reader->column, "\"*%s\" refers to what it stands in", printable);
    return anchor->node;
}

/* The tags that mean something, and YAML's own, which the key's type makes superfluous. */
static void read_tag(Reader *reader, struct fy_token *token, YamlNode *node)
{
    static const char *const known[] = { "!env", "!file", "!credential", "!json", NULL };
    if (!token)
        return;
    const char *handle = fy_tag_token_handle0(token), *suffix = fy_tag_token_suffix0(token);
    _cleanup_(freep) char *tag = xasprintf("%s%s", handle ? handle : "", suffix ? suffix : "");
    if (strcmp(tag, "!") == 0 || strcmp(tag, "!!str") == 0 || strcmp(tag, "tag:yaml.org,2002:str") == 0) {
        node->plain = false;
        return;
    }
    if (strncmp(tag, "!!", 2) == 0 || strncmp(tag, "tag:yaml.org,2002:", 18) == 0)
        return;
    for (int i = 0; known[i]; i++)
        if (strcmp(tag, known[i]) == 0)
            node->reference = (YamlReference)(YAML_ENV + i);
    _cleanup_(freep) char *printable = shown(tag, strlen(tag));
    if (node->reference == YAML_PLAIN_VALUE) {
        const char *near = text_suggest(tag, known);
        reader_fail(reader, node->line, node->column, "unknown tag \"%s\"; %s%s%s", printable,
                    near ? "did you mean \"" : "there are !env, !file, !credential and !json", near ? near : "",
                    near ? "\"?" : "");
    } else if (node->kind != YAML_TEXT) {
        reader_fail(reader, node->line, node->column, "\"%s\" needs a name after it, such as %s", printable,
                    node->reference == YAML_FILE ? "!file /etc/wherry/password" : "!env PASSWORD");
    }
}

static YamlNode *read_scalar(Reader *reader, struct fy_event *event)
{
    size_t n = 0;
    const char *text = event->scalar.value ? fy_token_get_text(event->scalar.value, &n) : NULL;
    if (!text)
        n = 0;
    enum fy_scalar_style style = event->scalar.value ? fy_token_scalar_style(event->scalar.value) : FYSS_PLAIN;
    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        reader->column -= reader->column > 1; /* libfyaml's mark stands after the quote */
    if (event->scalar.tag)
        reader_move(reader, fy_token_start_mark(event->scalar.tag));
    YamlNode *node = yaml_text_n(reader->file, text, n, reader->line, reader->column);
    node->plain = style == FYSS_PLAIN;
    if (memchr(node->text, '\0', n))
        reader_fail(reader, node->line, node->column, "the text holds a NUL character; leave it out");
    else if (utf8_valid_length(node->text, n) < n) /* "\uD800" */
        reader_fail(reader, node->line, node->column, "the text holds an escape that is no character");
    read_tag(reader, event->scalar.tag, node);
    Anchor *anchor = note_anchor(reader, event->scalar.anchor, node);
    if (anchor)
        anchor->open = false;
    return node;
}

static YamlNode *read_node(Reader *reader, struct fy_event *event, unsigned depth);

static struct fy_event *next_event(Reader *reader)
{
    struct fy_event *event = reader->failed ? NULL : fy_parser_parse(reader->parser);
    if (event)
        reader_move(reader, fy_event_start_mark(event));
    else
        reader->failed = true;
    return event;
}

static bool add_values(Reader *reader, YamlNode *parent, const YamlNode *child)
{
    parent->values += child->values;
    if (parent->values <= YAML_VALUES_MAX)
        return true;
    reader_fail(reader, child->line, child->column, "more than %d values, aliases counted at each use",
                YAML_VALUES_MAX);
    return false;
}

static void read_list(Reader *reader, YamlNode *list, unsigned depth)
{
    _cleanup_(buffer_clear) Buffer items = { 0 };
    for (;;) {
        struct fy_event *event = next_event(reader);
        if (!event)
            return;
        bool end = event->type == FYET_SEQUENCE_END;
        YamlNode *item = end ? NULL : read_node(reader, event, depth + 1);
        fy_parser_event_free(reader->parser, event);
        if (!item)
            break;
        if (!add_values(reader, list, item))
            return;
        buffer_append(&items, &item, sizeof(item));
    }
    list->count = (uint32_t)(buffer_length(&items) / sizeof(YamlNode *));
    list->items = yaml_allocate(reader->file, buffer_length(&items));
    if (list->count > 0)
        memcpy(list->items, buffer_bytes(&items), buffer_length(&items));
}

static bool has_key(const Buffer *entries, const char *key, const YamlNode **ret)
{
    size_t n = buffer_length(entries) / sizeof(YamlEntry);
    const YamlEntry *entry = n > 0 ? (const YamlEntry *)(const void *)buffer_bytes(entries) : NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(entry[i].key->text, key) == 0) {
            *ret = entry[i].key;
            return true;
        }
    return false;
}

/* `<<: *alias` or `<<: [*one, *two]`: what is written out wins, then what was merged first. */
static void merge(Reader *reader, Buffer *entries, const YamlNode *key, const YamlNode *value)
{
    const YamlNode *seen;
    for (uint32_t i = 0; value->kind == YAML_LIST && i < value->count; i++)
        merge(reader, entries, key, value->items[i]);
    if (value->kind == YAML_TEXT)
        reader_fail(reader, value->line, value->column, "\"<<\" needs a map to merge, such as *common");
    for (uint32_t i = 0; value->kind == YAML_MAP && i < value->count; i++)
        if (!has_key(entries, value->entries[i].key->text, &seen))
            buffer_append(entries, &value->entries[i], sizeof(YamlEntry));
    if (buffer_length(entries) / sizeof(YamlEntry) > YAML_KEYS_MAX)
        reader_fail(reader, key->line, key->column, "more than %d keys in one map", YAML_KEYS_MAX);
}

/* The key of the next entry, or NULL at the map's end (or a failure). */
static YamlNode *read_key(Reader *reader, unsigned depth)
{
    struct fy_event *event = next_event(reader);
    if (!event)
        return NULL;
    YamlNode *key = event->type == FYET_MAPPING_END ? NULL : read_node(reader, event, depth + 1);
    fy_parser_event_free(reader->parser, event);
    if (key && (key->kind != YAML_TEXT || key->reference != YAML_PLAIN_VALUE))
        return reader_fail(reader, key->line, key->column, "a key must be plain text");
    return key;
}

static void read_map(Reader *reader, YamlNode *map, unsigned depth)
{
    _cleanup_(buffer_clear) Buffer entries = { 0 }, merges = { 0 };
    YamlEntry entry;
    while ((entry.key = read_key(reader, depth))) {
        const YamlNode *first;
        if (has_key(&entries, entry.key->text, &first)) {
            /* not fatal for reading: the rest of the file is worth looking at */
            _cleanup_(freep) char *printable = shown(entry.key->text, entry.key->count);
            problems_add(reader->problems, false, reader->file->name, entry.key->line, entry.key->column,
                         "duplicate key \"%s\"; it stands in line %u already", printable, first->line);
        }
        struct fy_event *event = next_event(reader);
        if (!event)
            return;
        entry.value = read_node(reader, event, depth + 1);
        fy_parser_event_free(reader->parser, event);
        if (!entry.value || !add_values(reader, map, entry.key) || !add_values(reader, map, entry.value))
            return;
        bool merged = entry.key->plain && strcmp(entry.key->text, "<<") == 0;
        buffer_append(merged ? &merges : &entries, &entry, sizeof(entry));
        if (buffer_length(&entries) / sizeof(YamlEntry) > YAML_KEYS_MAX) {
            reader_fail(reader, entry.key->line, entry.key->column, "more than %d keys in one map", YAML_KEYS_MAX);
            return;
        }
    }
    size_t waiting = buffer_length(&merges) / sizeof(YamlEntry);
    for (size_t i = 0; i < waiting && !reader->failed; i++) {
        const YamlEntry *merged = (const YamlEntry *)(void *)buffer_bytes(&merges) + i;
        merge(reader, &entries, merged->key, merged->value);
    }
    map->count = (uint32_t)(buffer_length(&entries) / sizeof(YamlEntry));
    map->entries = yaml_allocate(reader->file, buffer_length(&entries));
    if (map->count > 0)
        memcpy(map->entries, buffer_bytes(&entries), buffer_length(&entries));
}

/* NULL after a failure. */
static YamlNode *read_node(Reader *reader, struct fy_event *event, unsigned depth)
{
    if (depth > YAML_DEPTH_MAX)
        return reader_fail(reader, reader->line, reader->column, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (event->type == FYET_ALIAS)
        return read_alias(reader, event);
    if (event->type == FYET_SCALAR) {
        YamlNode *node = read_scalar(reader, event);
        return reader->failed ? NULL : node;
    }
    bool is_map = event->type == FYET_MAPPING_START;
    YamlNode *node = yaml_node(reader->file, is_map ? YAML_MAP : YAML_LIST, reader->line, reader->column);
    read_tag(reader, is_map ? event->mapping_start.tag : event->sequence_start.tag, node);
    note_anchor(reader, is_map ? event->mapping_start.anchor : event->sequence_start.anchor, node);
    size_t mine = reader->anchor_count;
    bool anchored = mine > 0 && reader->anchors[mine - 1].node == node;
    if (is_map)
        read_map(reader, node, depth);
    else
        read_list(reader, node, depth);
    if (anchored)
        reader->anchors[mine - 1].open = false;
    return reader->failed ? NULL : node;
}

/* Stream, document and node events in their order; one document only. */
static void read_stream(Reader *reader)
{
    bool documents = false;
    for (;;) {
        struct fy_event *event = next_event(reader);
        if (!event)
            return;
        enum fy_event_type type = event->type;
        if (type == FYET_DOCUMENT_START && documents)
            reader_fail(reader, reader->line, reader->column,
                        "a second document begins here (\"---\"); keep one in each file");
        else if (type != FYET_STREAM_START && type != FYET_STREAM_END && type != FYET_DOCUMENT_START &&
                 type != FYET_DOCUMENT_END)
            reader->file->root = read_node(reader, event, 1);
        documents |= type == FYET_DOCUMENT_START;
        fy_parser_event_free(reader->parser, event);
        if (type == FYET_STREAM_END)
            return;
    }
}

/* --- what libfyaml had to say --- */

static const char *line_start(const char *text, size_t n, uint32_t line)
{
    const char *end = text + n;
    for (; line > 1 && text; line--) {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text ? text + 1 : NULL;
    }
    return text;
}

/* Column of the tab that indents LINE, or 0. YAML forbids such, and libfyaml calls it something else. */
static uint32_t tab_column(const char *text, size_t n, uint32_t line)
{
    const char *start = line_start(text, n, line);
    for (const char *c = start; c && c < text + n && (*c == ' ' || *c == '\t'); c++)
        if (*c == '\t')
            return (uint32_t)(c - start) + 1;
    return 0;
}

/* libfyaml may name the line before the one with the tab, or the one after it. */
static bool explain_tab(Reader *reader, const char *text, size_t n, uint32_t line)
{
    for (uint32_t l = line > 1 ? line - 1 : 1; l <= line + 1; l++) {
        uint32_t column = tab_column(text, n, l);
        if (column > 0) {
            reader_fail(reader, l, column, "a tab indents this line; YAML wants spaces");
            return true;
        }
    }
    return false;
}

static void take_diagnostics(Reader *reader, struct fy_diag *diag, const char *text, size_t n)
{
    void *iterator = NULL;
    const struct fy_diag_error *found;
    while ((found = fy_diag_errors_iterate(diag, &iterator))) {
        if (found->type != FYET_ERROR)
            continue;
        uint32_t line = found->line > 0 ? (uint32_t)found->line : 0;
        uint32_t column = found->column > 0 ? (uint32_t)found->column : 1;
        if (explain_tab(reader, text, n, line))
            return;
        _cleanup_(freep) char *message = shown(found->msg ? found->msg : "", found->msg ? strlen(found->msg) : 0);
        if (message[0] >= 'A' && message[0] <= 'Z')
            message[0] = (char)(message[0] - 'A' + 'a');
        reader_fail(reader, line, column, "not valid YAML: %s", message);
        return; /* what follows the first syntax error is guesswork */
    }
}

static void place_of(const char *text, size_t offset, uint32_t *ret_line, uint32_t *ret_column)
{
    *ret_line = *ret_column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n')
            (*ret_line)++, *ret_column = 1;
        else if ((text[i] & 0xC0) != 0x80)
            (*ret_column)++;
    }
}

/* The first line that begins with "%", or NULL: a directive, which says nothing that a pipeline file could need.
 * libfyaml takes minutes for a megabyte of them. */
static const char *find_directive(const char *text, size_t n)
{
    for (const char *line = text; line && line < text + n;) {
        if (*line == '%')
            return line;
        line = memchr(line, '\n', (size_t)(text + n - line));
        line = line ? line + 1 : NULL;
    }
    return NULL;
}

/* The first tag that is longer than any tag needs to be, or NULL: libfyaml decodes what is in it again and again, half
 * a minute for 64 KiB. */
static const char *find_endless_tag(const char *text, size_t n)
{
    const char *end = text + n;
    for (const char *tag = memchr(text, '!', n); tag; tag = memchr(tag + 1, '!', (size_t)(end - tag - 1))) {
        if (tag > text && !strchr(" \t\r\n[{,-:?", tag[-1]))
            continue;
        const char *last = tag;
        while (last < end && last - tag < TAG_BYTES_MAX && !strchr(" \t\r\n", *last))
            last++;
        if (last - tag == TAG_BYTES_MAX)
            return tag;
    }
    return NULL;
}

/* What libfyaml need not see: it accepts or misnames some of it. */
static bool text_is_fit(Reader *reader, const char *text, size_t n)
{
    uint32_t line, column;
    size_t valid = utf8_valid_length(text, n);
    const char *nul = memchr(text, '\0', valid), *directive = find_directive(text, n);
    const char *tag = find_endless_tag(text, n);
    if (n > YAML_BYTES_MAX) {
        reader_fail(reader, 0, 0, "larger than %u KiB; a pipeline file is a page of text", YAML_BYTES_MAX / 1024);
    } else if (nul) {
        place_of(text, (size_t)(nul - text), &line, &column);
        reader_fail(reader, line, column, "a NUL byte; this is no text file");
    } else if (valid < n) {
        place_of(text, valid, &line, &column);
        reader_fail(reader, line, column, "the byte 0x%02X is not UTF-8; save the file as UTF-8",
                    (unsigned)(unsigned char)text[valid]);
    } else if (directive) {
        place_of(text, (size_t)(directive - text), &line, &column);
        reader_fail(reader, line, column, "a YAML directive (\"%%…\"), which has no place here; remove this line");
    } else if (tag) {
        place_of(text, (size_t)(tag - text), &line, &column);
        reader_fail(reader, line, column, "a tag (\"!…\") of more than %d bytes; put text that begins with ! in quotes",
                    TAG_BYTES_MAX);
    }
    return !reader->failed;
}

static void run_parser(Reader *reader, const char *text, size_t n)
{
    struct fy_diag_cfg diag_config;
    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    diag_config.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_config);
    if (!diag)
        abort();
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg config = { .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE, .diag = diag };
    reader->parser = fy_parser_create(&config);
    if (!reader->parser || fy_parser_set_string(reader->parser, text, n) < 0)
        abort();
    read_stream(reader);
    if (!reader->explained)
        take_diagnostics(reader, diag, text, n);
    if (reader->failed && !reader->explained)
        reader_fail(reader, reader->line, reader->column, "not valid YAML");
    fy_parser_destroy(reader->parser);
    fy_diag_destroy(diag); /* fy_diag_unref() would leak what was collected */
}

void yaml_parse(YamlFile *file, const char *text, size_t n, Problems *problems)
{
    Reader *reader = xcalloc(1, sizeof(*reader));
    *reader = (Reader){ .file = file, .problems = problems, .line = 1, .column = 1 };
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark is no content */
        text += 3, n -= 3;
    if (text_is_fit(reader, text, n))
        run_parser(reader, text, n);
    if (reader->failed)
        file->root = NULL;
    for (size_t i = 0; i < reader->anchor_count; i++)
        free(reader->anchors[i].name);
    free(reader);
}
