/*
 * A draft is read from the beginning of files that nobody vouches for, so that it happens in a sandbox: the descriptors
 * were opened by wherryctl with its user's rights, and this process can open nothing, connect to nothing and start
 * nothing. It reads some megabytes of each file at most, however large the file is, and says in the draft that it did.
 *
 * The columns of Parquet files are in their footers, which DuckDB reads; it opens them anew by their descriptors, so
 * that the sandbox has to know their paths.
 *
 * The first file decides format, encoding, delimiter and header; the others add columns and values. Whether a file is
 * UTF-8 shows only where it is not: then all begins again with the encoding that such files mostly have.
 */
#include "connectors/sources/files/draft.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "connectors/sources/files/charset.h"
#include "connectors/sources/files/parquet.h"
#include "connectors/sources/files/unpack.h"
#include "lib/basics/text.h"
#include "lib/system/sandbox.h"
#include "lib/system/spawn.h"
#include "wherry-build.h"

#define SAMPLE_BYTES (256u << 10) /* for detecting how a file is written */
#define RECORD_MAX (64u << 20)
#define VALUE_MAX (16u << 20) /* the default of max_value_size */
#define DATA_BYTES (UINT64_C(512) << 20)

enum { WRONG_USE = 2, FAILED = 1 };

/* In the order in which they are tried. */
enum { UTF8, UTF16, UTF16_LITTLE, UTF16_BIG, WESTERN, LATIN1, ENCODINGS };
static const char *const encodings[ENCODINGS] = { NULL, "utf-16", "utf-16le", "utf-16be", "cp1252", "latin-1" };

typedef struct Source {
    int fd;
    const char *path, *name;
    Compression compression;
    uint64_t size;
    uint64_t given; /* bytes of unpacked, decoded text */
    Unpacker *unpacker;
    ByteStream inner;
    Charset *charset; /* not owned */
} Source;

/* --- a file's text --- */

static int fd_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    const Source *source = context;
    ssize_t got;
    do
        got = read(source->fd, data, n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    *ret = (size_t)got;
    return 0;
}

static int counted_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Source *source = context;
    int r = source->inner.read(source->inner.context, data, n, ret, error);
    if (r == 0)
        source->given += *ret;
    return r;
}

static void source_close(Source *source)
{
    source->unpacker = unpacker_free(source->unpacker);
}

/* From the first byte; CHARSET may be NULL. */
static int source_open(Source *source, Charset *charset, ByteStream *ret, Error *error)
{
    uint8_t first[COMPRESSION_MAGIC_MAX];
    ssize_t n = pread(source->fd, first, sizeof(first), 0);
    off_t size = lseek(source->fd, 0, SEEK_END);
    if (n < 0 || size < 0 || lseek(source->fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    if (compression_detect(source->name, first, (size_t)n, &source->compression, error) < 0)
        return -1;
    source_close(source);
    source->given = 0;
    source->size = (uint64_t)size;
    source->inner = (ByteStream){ .read = fd_read, .context = source };
    if (source->compression != COMPRESSION_NONE) {
        if (unpacker_new(&source->unpacker, source->inner, source->compression, source->size, error) < 0)
            return -1;
        source->inner = unpacker_stream(source->unpacker);
    }
    if (charset)
        source->inner = charset_stream(charset, source->inner);
    *ret = (ByteStream){ .read = counted_read, .context = source };
    return 0;
}

/* --- what kind of file --- */

static bool begins(const char *text, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static int refuse_binary(const char *first, size_t n, Error *error)
{
    if (begins(first, n, "PARE"))
        return error_set(error, ERROR_DATA, "an encrypted parquet file, which cannot be read");
    if (begins(first, n, "PK\x03\x04"))
        return error_set(error, ERROR_DATA, "a zip archive, or an Excel workbook: save the sheet as CSV");
    if (begins(first, n, "\xd0\xcf\x11\xe0"))
        return error_set(error, ERROR_DATA, "an Excel workbook: save the sheet as CSV");
    return 0;
}

/* UTF-16 shows at once: in its mark, or in the zeros of its ASCII characters. */
static int detect_encoding(const char *first, size_t n, size_t *ret)
{
    if (begins(first, n, "\xff\xfe") || begins(first, n, "\xfe\xff"))
        *ret = UTF16;
    else if (n >= 4 && first[0] && !first[1] && first[2] && !first[3])
        *ret = UTF16_LITTLE;
    else if (n >= 4 && !first[0] && first[1] && !first[2] && first[3])
        *ret = UTF16_BIG;
    else
        return 0;
    return 1;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcasecmp(name + n - m, suffix) == 0;
}

/* NDJSON is told by its first line, not by the file's name. */
static int detect_format(Draft *draft, const Source *source, const char *text, size_t n, Error *error)
{
    size_t at = 0;
    while (at < n && (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r')))
        at++;
    if (at == n)
        return error_set(error, ERROR_DATA, "empty: a draft needs some rows, or at least a header");
    const char *end = memchr(text + at, '\n', n - at);
    size_t line = end ? (size_t)(end - text) - at : n - at;
    if (text[at] == '{' && json_validate(&draft->json, text + at, line) == NULL) {
        draft->format = FORMAT_NDJSON;
        return 0;
    }
    if ((text[at] == '[' || text[at] == '{') && (ends_with(source->name, "json") || ends_with(source->name, "jsonl")))
        return error_set(error, ERROR_DATA,
                         "one JSON document over several lines: a file needs one JSON object on each line (NDJSON)");
    draft->format = FORMAT_CSV;
    return 0;
}

/* --- reading --- */

static bool has_more(const Draft *draft, void *context)
{
    const uint64_t *const *bounds = context;
    return draft->rows < *bounds[0] && *bounds[1] < DRAFT_BYTES_MAX;
}

static int take_object(Draft *draft, yyjson_val *object, Error *error)
{
    size_t i, count;
    yyjson_val *key, *value;
    if (!yyjson_is_obj(object))
        return error_set(error, ERROR_DATA, "the line is not a JSON object");
    for (size_t k = 0; k < draft->column_count; k++)
        draft->columns[k].seen_here = false;
    yyjson_obj_foreach(object, i, count, key, value)
    {
        DraftColumn *column = draft_column(draft, yyjson_get_str(key), yyjson_get_len(key));
        if (!column)
            return error_set(error, ERROR_DATA,
                             "objects with more than %d different keys: are these values, not names?",
                             DRAFT_COLUMNS_MAX);
        if (column->seen_here)
            column->left_out = "stands in one object twice";
        column->seen_here = true;
        draft_column_json(column, &draft->inferrer, value);
    }
    for (size_t k = 0; k < draft->column_count; k++)
        draft->columns[k].nulls += !draft->columns[k].seen_here;
    draft->rows++;
    return 0;
}

static int read_objects(Draft *draft, TextInput *input, void *context, Error *error)
{
    uint64_t line = 0;
    int r = 0;
    while (r == 0 && has_more(draft, context)) {
        char *text = NULL;
        size_t n = 0;
        r = text_input_line(input, &text, &n, error);
        line++;
        while (n > 0 && (text[n - 1] == ' ' || (text[n - 1] >= '\t' && text[n - 1] <= '\r')))
            n--;
        if (r != 0 || n == 0)
            continue;
        yyjson_read_err why;
        yyjson_doc *document = yyjson_read_opts(text, n, YYJSON_READ_NUMBER_AS_RAW, &draft->json.allocator, &why);
        r = document ? take_object(draft, yyjson_doc_get_root(document), error)
                     : error_set(error, ERROR_DATA, "not valid JSON at byte %zu of the line: %s", why.pos + 1, why.msg);
        yyjson_doc_free(document);
    }
    if (r < 0)
        error_at_row(error, line, 0);
    if (r == 0)
        draft->whole = false;
    return r < 0 ? -1 : 0;
}

/* The first of the text, as it will be parsed. *RET_BAD: what stopped it is no text. */
static int sample(Source *source, Charset *charset, Buffer *ret, bool *ret_whole, bool *ret_bad, Error *error)
{
    ByteStream stream = { 0 };
    _cleanup_(text_input_clear) TextInput input;
    if (source_open(source, charset, &stream, error) < 0)
        return -1;
    text_input_init(&input, stream, 0, SAMPLE_BYTES);
    int r = 0;
    while (r == 0 && !input.ended && input.end - input.begin < SAMPLE_BYTES)
        r = text_input_more(&input, error);
    *ret_bad = r < 0 && text_input_has_bad_byte(&input);
    *ret_whole = input.ended;
    buffer_reset(ret);
    buffer_append(ret, input.data + input.begin, input.end - input.begin);
    return r < 0 ? -1 : 0;
}

static int read_file(Draft *draft, Source *source, Charset *charset, bool first, bool *ret_bad, Error *error)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    bool whole = false;
    FileFormat format = draft->format;
    if (sample(source, charset, &text, &whole, ret_bad, error) < 0)
        return -1;
    if (detect_format(draft, source, (const char *)buffer_bytes(&text), buffer_length(&text), error) < 0)
        return -1;
    if (!first && draft->format != format)
        return error_set(error, ERROR_DATA, "of another format than the first file: a pipeline has one");
    if (first && draft->format == FORMAT_CSV)
        draft_csv_detect(draft, (const char *)buffer_bytes(&text), buffer_length(&text), whole);

    ByteStream stream = { 0 };
    _cleanup_(text_input_clear) TextInput input;
    if (source_open(source, charset, &stream, error) < 0)
        return -1;
    text_input_init(&input, stream, 0, RECORD_MAX);
    uint64_t last_row = draft->rows + DRAFT_ROWS_MAX;
    const uint64_t *bounds[] = { &last_row, &source->given };
    int r = draft->format == FORMAT_CSV ? draft_csv_read(draft, &input, has_more, bounds, error)
                                        : read_objects(draft, &input, bounds, error);
    *ret_bad = r < 0 && text_input_has_bad_byte(&input);
    return r;
}

/* --- all files --- */

static void draft_reset(Draft *draft)
{
    for (size_t i = 0; i < draft->column_count; i++)
        draft_column_clear(&draft->columns[i]);
    free(draft->columns);
    draft->columns = NULL;
    draft->column_count = 0;
    draft->rows = draft->long_row = 0;
    draft->whole = true;
}

static int check_usable(const Draft *draft, Error *error)
{
    for (size_t i = 0; i < draft->column_count; i++)
        if (!draft_column_left_out(&draft->columns[i]))
            return 0;
    return error_set(error, ERROR_DATA, "no field has a name that a column could be read by");
}

static int read_all(Draft *draft, Source *sources, Charset *charset, bool *ret_bad, Error *error)
{
    draft_reset(draft);
    for (size_t i = 0; i < draft->path_count; i++)
        if (read_file(draft, &sources[i], charset, i == 0, ret_bad, error) < 0) {
            _cleanup_(freep) char *shown = text_escape(sources[i].path, strlen(sources[i].path));
            return error_at_file(error, shown);
        }
    return check_usable(draft, error);
}

/* What a file begins with, unpacked. */
static int first_bytes(Source *source, char *ret, size_t n, size_t *ret_n, Error *error)
{
    ByteStream stream = { 0 };
    *ret_n = 0;
    if (source_open(source, NULL, &stream, error) < 0)
        return -1;
    assert(stream.read); /* else it has failed */
    for (size_t got = 1; got > 0 && *ret_n < n; *ret_n += got)
        if (stream.read(stream.context, ret + *ret_n, n - *ret_n, &got, error) < 0)
            return -1;
    return 0;
}

static int look(Draft *draft, Source *sources, Charset *const charsets[static ENCODINGS], Error *error)
{
    char first[8];
    size_t n, encoding = UTF8;
    if (first_bytes(&sources[0], first, sizeof(first), &n, error) < 0 || refuse_binary(first, n, error) < 0)
        return error_at_file(error, sources[0].path);
    bool known = detect_encoding(first, n, &encoding) > 0, bad = false;
    for (;;) {
        draft->encoding = encodings[encoding];
        draft->encoding_guessed = encoding >= WESTERN;
        _cleanup_(error_clear) Error why = { 0 };
        if (read_all(draft, sources, charsets[encoding], &bad, &why) == 0)
            return 0;
        /* A NUL is in no text of any of these; and cp1252 does not know each byte, Latin-1 does. */
        bool again = why.kind == ERROR_DATA && !known && encoding != LATIN1 && (bad || encoding == WESTERN);
        if (!again) {
            error_move(error, &why);
            return -1;
        }
        encoding = encoding == UTF8 ? WESTERN : LATIN1;
    }
}

static int enter_sandbox(Error *error)
{
    SandboxPolicy policy = { .network = SANDBOX_NETWORK_NONE, .data_bytes = DATA_BYTES };
    unsigned layers;
    return sandbox_enter(&policy, &layers, error);
}

/* --- Parquet --- */

static bool is_parquet(const Source *source)
{
    char first[4];
    return pread(source->fd, first, sizeof(first), 0) == sizeof(first) && begins(first, sizeof(first), "PAR1");
}

#if WHERRY_DUCKDB
static int enter_parquet_sandbox(const Draft *draft, Error *error)
{
    SandboxPath paths[DRAFT_FILES_MAX + 2];
    SandboxPolicy policy = { .network = SANDBOX_NETWORK_NONE,
                             .data_bytes = DATA_BYTES + 2 * PARQUET_MEMORY_DEFAULT,
                             .paths = paths };
    /* DuckDB looks for its group's limits, and ends the process where such a file is there and cannot be read. */
    static const char *const limits[] = { "/proc/self/cgroup", "/sys/fs/cgroup" };
    for (size_t i = 0; i < ELEMENTSOF(limits); i++)
        paths[policy.path_count++] = (SandboxPath){ .path = limits[i], .access = SANDBOX_READ };
    for (size_t i = 0; i < draft->path_count; i++)
        paths[policy.path_count++] = (SandboxPath){ .path = draft->paths[i], .access = SANDBOX_READ };
    unsigned layers;
    return sandbox_enter(&policy, &layers, error);
}

static int read_parquet(Draft *draft, Parquet *parquet, const Source *source, Error *error)
{
    off_t size = lseek(source->fd, 0, SEEK_END);
    DataFile file = { .fd = source->fd, .name = source->name, .size = size > 0 ? (uint64_t)size : 0 };
    if (!is_parquet(source))
        return error_set(error, ERROR_DATA, "of another format than the first file: a pipeline has one");
    return draft_parquet_read(draft, parquet, &file, error);
}

static int run_parquet(Draft *draft, Source *sources, Error *error)
{
    Parquet *parquet = NULL;
    draft->format = FORMAT_PARQUET;
    draft->whole = true;
    int r = parquet_open(NULL, PARQUET_MEMORY_DEFAULT, &parquet, error);
    if (r == 0)
        r = enter_parquet_sandbox(draft, error);
    for (size_t i = 0; i < draft->path_count && r == 0; i++)
        if ((r = read_parquet(draft, parquet, &sources[i], error)) < 0) {
            _cleanup_(freep) char *shown = text_escape(sources[i].path, strlen(sources[i].path));
            error_at_file(error, shown);
        }
    parquet_free(parquet);
    return r < 0 ? -1 : check_usable(draft, error);
}
#else
static int run_parquet(Draft *draft, Source *sources, Error *error)
{
    error_set(error, ERROR_DATA,
              "a Parquet file, and this wherry was built without DuckDB, which reads it: write its columns down by "
              "hand, with \"format: parquet\"");
    return error_at_file(error, sources[0].path);
}
#endif

static int run(Draft *draft, Source *sources, Error *error)
{
    Charset *charsets[ENCODINGS] = { NULL };
    int r = 0;
    if (is_parquet(&sources[0]))
        return run_parquet(draft, sources, error);
    /* iconv loads modules from disk, which the sandbox does not show. */
    for (size_t i = UTF16; i < ENCODINGS && r == 0; i++)
        r = charset_new(&charsets[i], encodings[i], error);
    if (r == 0)
        r = enter_sandbox(error);
    if (r == 0)
        r = look(draft, sources, charsets, error);
    for (size_t i = 0; i < ENCODINGS; i++)
        charset_free(charsets[i]);
    return r;
}

static int print(const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(STDOUT_FILENO, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            perror("wherryctl: the output cannot be written");
            return FAILED;
        }
        text += n;
        left -= (size_t)n;
    }
    return 0;
}

int draft_main(int argc, char *argv[])
{
    if (argc < 1 || argc > DRAFT_FILES_MAX || fcntl(DRAFT_FD_FIRST, F_GETFD) < 0) {
        fputs("source-files --draft is started by \"wherryctl draft FILE…\"\n", stderr);
        return WRONG_USE;
    }
    spawn_close_from(DRAFT_FD_FIRST + argc);
    _cleanup_(error_clear) Error error = { 0 };
    Source sources[DRAFT_FILES_MAX] = { { 0 } };
    Draft draft = { .paths = argv, .path_count = (size_t)argc };
    json_memory_init(&draft.json);
    draft.inferrer.converter = (Converter){ .max_value_size = VALUE_MAX, .json = &draft.json };
    for (int i = 0; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        sources[i] = (Source){ .fd = DRAFT_FD_FIRST + i, .path = argv[i], .name = slash ? slash + 1 : argv[i] };
    }
    int status = FAILED;
    if (run(&draft, sources, &error) < 0) {
        _cleanup_(freep) char *why = error_format(&error);
        fprintf(stderr, "wherryctl: %s\n", why);
    } else {
        _cleanup_(freep) char *text = draft_write(&draft);
        status = print(text);
    }
    for (int i = 0; i < argc; i++)
        source_close(&sources[i]);
    draft_reset(&draft);
    buffer_clear(&draft.inferrer.scratch);
    json_memory_clear(&draft.json);
    return status;
}
