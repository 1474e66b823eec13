/* CSV: the rules, every error's text, and that neither block boundaries nor the way a table is written change its rows.
 */
#include "tests/unit/files-reading.h"

#include "connectors/sources/files/scan.h"

static FileColumn columns[] = {
    { .source = (char *)"id", .type = COLUMN_INTEGER, .required = true },
    { .source = (char *)"note", .type = COLUMN_STRING },
};
static const FilesSettings plain = { .format = FORMAT_CSV,
                                     .columns = columns,
                                     .column_count = ELEMENTSOF(columns),
                                     .delimiter = ',',
                                     .quote = '"',
                                     .header = true,
                                     .max_value_size = 1 << 20 };

static void rows_as_written(void **state)
{
    static const Case cases[] = {
        { "", "" },
        { "\n\n", "" },
        { "id,note\n", "" },
        { "id,note", "" },
        { "id,note\n1,a\n2,b\n", "1|'a'\n2|'b'\n" },
        { "id,note\n1,a\n2,b", "1|'a'\n2|'b'\n" },
        { "id,note\r\n1,a\r\n2,b\r\n", "1|'a'\n2|'b'\n" },
        { "id,note\r1,a\r2,b\r", "1|'a'\n2|'b'\n" },
        { "\xef\xbb\xbfid,note\n1,a\n", "1|'a'\n" },
        { "\xef\xbb\xbf\"id\",note\n1,a\n", "1|'a'\n" },
        { "note,more,id\na,x,1\n", "1|'a'\n" },
        { "id,note\n\n1,a\n\r\n\n2,b\n\n", "1|'a'\n2|'b'\n" },
        { "id,note\n1,\"a,b\"\n", "1|'a,b'\n" },
        { "id,note\n1,\"a\nb\r\nc\"\n2,d\n", "1|'a\nb\r\nc'\n2|'d'\n" },
        { "id,note\n1,\"say \"\"hi\"\"\"\n2,\"\"\"\"\n", "1|'say \"hi\"'\n2|'\"'\n" },
        { "id,note\n\"1\",\"a\"", "1|'a'\n" },
        { "id,note\n1,a\"b\n2,a\"\"b\n", "1|'a\"b'\n2|'a\"\"b'\n" },
        { "id,note\n1,\n2,\"\"\n3\n", "1|NULL\n2|NULL\n3|NULL\n" },
        { "id\n1\n", "1|NULL\n" },
        { "id,note\n1, a \n", "1|' a '\n" },
        { "id,note\n1,\xc3\xa9\xf0\x9f\x98\x80\n", "1|'\xc3\xa9\xf0\x9f\x98\x80'\n" },
    };
    assert_cases(&plain, cases, ELEMENTSOF(cases));
}

static void what_is_wrong_is_said(void **state)
{
    static const Case cases[] = {
        { "id,note\n1,a,b\n",
          "line 2, row 1: the row has 3 fields, the header 2: is a quote or a delimiter missing, or "
          "\"csv.delimiter\" wrong?" },
        { "id,note\n1,a\n2,\"b\n3,c\n",
          "1|'a'\nline 3, row 2, column \"note\": the file ends within a quoted field: its "
          "closing quote is missing: \"\"b\\x0A3,c\\x0A\"" },
        { "id,note\n1,\"a\"b\n",
          "line 2, row 1, column \"note\": text after a closing quote; a quote inside a quoted field "
          "is written twice: \"\"a\"b\"" },
        { "id,note\n1,a\nx,b\n", "1|'a'\nline 3, row 2, column \"id\": not an integer: \"x\"" },
        { "id,note\n1,\"a\n\n\"\nx,b\n", "1|'a\n\n'\nline 5, row 2, column \"id\": not an integer: \"x\"" },
        { "id,note\r\n1,\"a\r\n\r\n\"\r\nx,b\r\n",
          "1|'a\r\n\r\n'\nline 5, row 2, column \"id\": not an integer: \"x\"" },
        { "id,note\n,b\n", "line 2, row 1, column \"id\": empty, but the column is required" },
        { "note,id\nb\n",
          "line 2, row 1, column \"id\": missing, but the column is required: the row is shorter than the "
          "header" },
        { "1,a\n2,b\n",
          "line 1, column \"id\": the header lacks this required column: it has \"1\", \"a\"; a file without "
          "a header needs \"csv: {header: false}\"" },
        { "id,note,id\n1,a,2\n",
          "line 1, column \"id\": the header names this column twice: rename one of them in the file" },
        { "id,note\n1,a\nid,note\n2,b\n",
          "1|'a'\nline 3, row 2: the header stands here again: are two files joined into "
          "one?" },
        { "id,note\n1,a\n2,\xff\n",
          "1|'a'\nline 3, row 2, column \"note\": not valid UTF-8 at the byte 0xff: set "
          "\"encoding:\" to what the file is written in, such as latin-1 or cp1252: \"\\xFF\"" },
        { "id,note\n1,a\n2,Caf\xe9\n", "1|'a'\nline 3, row 2, column \"note\": not valid UTF-8 at the byte 0xe9: set "
                                       "\"encoding:\" to what the file is written in, such as latin-1 or cp1252: "
                                       "\"Caf\\xE9\"" },
        { "id,note\n99999999999999999999,a\n",
          "line 2, row 1, column \"id\": an integer beyond 64 bits; a decimal or string "
          "column can hold it: \"99999999999999999999\"" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        /* How much of a value is in the window when its fault is found depends on the block: one is enough here. */
        char *shown = read_text(&plain, cases[i].text, strlen(cases[i].text), 0, 1000000);
        char *start = strstr(shown, "not valid UTF-8");
        if (start) {
            /* … and so does what follows the bad byte. */
            const char *expected = strstr(cases[i].expected, "not valid UTF-8");
            assert_memory_equal(start, expected, strlen(expected) - 1);
            assert_memory_equal(shown, cases[i].expected, (size_t)(start - shown));
        } else {
            assert_string_equal(shown, cases[i].expected);
        }
        free(shown);
    }
}

static void nul_bytes_are_refused(void **state)
{
    static const char text[] = "id,note\n1,a\n2,b\0c\n";
    char *shown = read_text(&plain, text, sizeof(text) - 1, 0, 1000000);
    assert_non_null(strstr(shown,
                           "1|'a'\nline 3, row 2, column \"note\": a NUL byte, which no text has; UTF-16 text needs "
                           "\"encoding: utf-16\", other binary files cannot be loaded: \"b\\x00"));
    free(shown);
    static const char utf16[] = "\xff\xfei\0d\0\n\0";
    shown = read_text(&plain, utf16, sizeof(utf16) - 1, 0, 1000000);
    assert_non_null(strstr(shown, "line 1: the file begins as UTF-16 text does: set \"encoding: utf-16\""));
    free(shown);
}

static void values_have_a_limit(void **state)
{
    FilesSettings small = plain;
    small.max_value_size = 100;
    char text[400];
    int n = snprintf(text, sizeof(text), "id,note\n1,%0100d\n2,%0101d\n", 7, 7);
    char *shown = read_text(&small, text, (size_t)n, 16, 0);
    assert_non_null(strstr(shown, "line 3, row 2, column \"note\":"));
    assert_non_null(strstr(shown, "longer than \"max_value_size\" allows; raise it to load this value: \"000"));
    free(shown);
    /* A quote that is never closed must not swallow the rest of a large file. */
    n = snprintf(text, sizeof(text), "id,note\n1,\"%0300d", 7);
    shown = read_text(&small, text, (size_t)n, 16, 0);
    assert_non_null(strstr(shown,
                           "line 2, row 1, column \"note\": a quoted field longer than \"max_value_size\" allows; is "
                           "its closing quote missing?: \"\"000"));
    free(shown);
}

static void options_change_the_dialect(void **state)
{
    FilesSettings settings = plain;
    settings.delimiter = ';';
    settings.quote = '\'';
    assert_reads(&settings, "id;note\n1;'a;''b\"'\n", "1|'a;'b\"'\n");

    settings = plain;
    settings.null_text = (char *)"NA";
    assert_reads(&settings, "id,note\n1,NA\n2,\"NA\"\n3,NAN\n", "1|NULL\n2|'NA'\n3|'NAN'\n");
    assert_reads(&settings, "id,note\nNA,a\n", "line 2, row 1, column \"id\": NULL, but the column is required");

    settings = plain;
    settings.keep_empty = true;
    assert_reads(&settings, "id,note\n1,\n2\n", "1|''\n2|NULL\n");
    assert_reads(&settings, "id,note\n,a\n", "line 2, row 1, column \"id\": empty, but the column is required");
}

static void positions_without_a_header(void **state)
{
    FileColumn by_position[] = { { .source = (char *)"3", .position = 3, .type = COLUMN_STRING },
                                 { .source = (char *)"1", .position = 1, .type = COLUMN_INTEGER, .required = true } };
    FilesSettings settings = plain;
    settings.header = false;
    settings.columns = by_position;
    assert_reads(&settings, "1,a,b\n2\n3,a,b,c,d\n3,a,b\n", "'b'|1\nNULL|2\n'b'|3\n'b'|3\n");
    assert_reads(&settings, "1,a,b\nx,a\n", "'b'|1\nline 2, row 2, column \"1\": not an integer: \"x\"");
}

static void none_of_the_columns_is_an_error(void **state)
{
    FileColumn optional[] = { { .source = (char *)"a", .type = COLUMN_STRING } };
    FilesSettings settings = plain;
    settings.columns = optional;
    settings.column_count = 1;
    assert_reads(
        &settings, "b,c\n1,2\n",
        "line 1: the header has none of the columns: it has \"b\", \"c\"; a file without a header needs \"csv: "
        "{header: false}\"");
}

/* --- properties --- */

#define WIDTH 4

static void random_field(Buffer *field, unsigned *seed)
{
    static const char *const parts[] = { "a",
                                         "bc",
                                         "\"",
                                         "\"\"",
                                         ",",
                                         "\n",
                                         "\r\n",
                                         "\r",
                                         " ",
                                         "\t",
                                         "é",
                                         "日",
                                         "😀",
                                         "0",
                                         "''",
                                         ";",
                                         "long enough to cross a block of 64" };
    buffer_reset(field);
    for (int n = rand_r(seed) % 6; n > 0; n--)
        buffer_append_string(field, parts[(size_t)rand_r(seed) % ELEMENTSOF(parts)]);
}

static bool needs_quotes(const Buffer *field)
{
    const char *text = (const char *)buffer_bytes(field);
    for (size_t i = 0; i < buffer_length(field); i++)
        if (text[i] == ',' || text[i] == '\n' || text[i] == '\r' || (i == 0 && text[i] == '"'))
            return true;
    return false;
}

static void write_field(Buffer *to, const Buffer *field, unsigned *seed)
{
    const char *text = (const char *)buffer_bytes(field);
    if (!needs_quotes(field) && rand_r(seed) % 3 > 0) {
        buffer_append(to, text, buffer_length(field));
        return;
    }
    buffer_append_string(to, "\"");
    for (size_t i = 0; i < buffer_length(field); i++)
        if (text[i] == '"')
            buffer_append_string(to, "\"\"");
        else
            buffer_append(to, &text[i], 1);
    buffer_append_string(to, "\"");
}

static void a_table_reads_as_it_was_meant(void **state)
{
    FileColumn four[WIDTH] = { { .source = (char *)"a", .type = COLUMN_STRING },
                               { .source = (char *)"b", .type = COLUMN_STRING },
                               { .source = (char *)"c", .type = COLUMN_STRING },
                               { .source = (char *)"d", .type = COLUMN_STRING } };
    FilesSettings settings = plain;
    settings.columns = four;
    settings.column_count = WIDTH;
    settings.keep_empty = true;
    static const char *const line_ends[] = { "\n", "\r\n", "\r" };
    for (unsigned round = 0; round < 1500; round++) {
        unsigned seed = round;
        Buffer text = { 0 }, expected = { 0 }, field = { 0 };
        const char *line_end = line_ends[round % 3];
        buffer_append_string(&text, "a,b,c,d");
        buffer_append_string(&text, line_end);
        int rows = rand_r(&seed) % 12;
        for (int row = 0; row < rows; row++) {
            for (int i = 0; i < WIDTH; i++) {
                random_field(&field, &seed);
                write_field(&text, &field, &seed);
                buffer_append_string(&text, i < WIDTH - 1 ? "," : row < rows - 1 || round % 2 ? line_end : "");
                buffer_append_string(&expected, i > 0 ? "|'" : "'");
                buffer_append(&expected, buffer_bytes(&field), buffer_length(&field));
                buffer_append_string(&expected, "'");
            }
            buffer_append_string(&expected, "\n");
        }
        buffer_append(&expected, "", 1);
        char *shown = read_text(&settings, (const char *)buffer_bytes(&text), buffer_length(&text), 1 + round % 97, 0);
        assert_string_equal(shown, (const char *)buffer_bytes(&expected));
        free(shown);
        buffer_clear(&text);
        buffer_clear(&expected);
        buffer_clear(&field);
    }
}

static void every_boundary_is_like_any_other(void **state)
{
    static const char text[] = "id,note\r\n1,\"a \"\"quoted\"\", one\"\r\n2,\"\"\r\n\r\n3,\"line\r\nbreak\"\n4,é😀\n"
                               "5,\"\"\"\"\n6,plain\r7,\"x\"\r\n8,last\r\n\r\nx,bad";
    char *expected = read_text(&plain, text, sizeof(text) - 1, 0, 1000000);
    assert_string_equal(expected, "1|'a \"quoted\", one'\n2|NULL\n3|'line\r\nbreak'\n4|'é😀'\n5|'\"'\n6|'plain'\n7|'x'\n"
                                  "8|'last'\nline 13, row 9, column \"id\": not an integer: \"x\"");
    for (size_t block = 1; block < sizeof(text) + 2; block++)
        for (size_t piece = 1; piece < 40; piece += 3) {
            char *shown = read_text(&plain, text, sizeof(text) - 1, block, piece);
            assert_string_equal(shown, expected);
            free(shown);
        }
    free(expected);
}

static void the_fast_scan_is_the_plain_one(void **state)
{
    unsigned seed = 1;
    char text[SCAN_BLOCK];
    for (int round = 0; round < 20000; round++) {
        uint64_t expected = 0;
        for (size_t i = 0; i < sizeof(text); i++) {
            static const char interesting[] = { ',',      '\n', '\r',   ',' ^ 1, '\n' ^ 1,
                                                '\r' + 1, 0,    '\x80', '\xff',  ',' | '\x80' };
            text[i] =
                rand_r(&seed) % 2 ? interesting[(size_t)rand_r(&seed) % sizeof(interesting)] : (char)rand_r(&seed);
            if (text[i] == ',' || text[i] == '\n' || text[i] == '\r')
                expected |= UINT64_C(1) << i;
        }
        assert_true(scan_mask(text, ',') == expected);
        assert_true(scan_mask_portable(text, ',') == expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_as_written),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(values_have_a_limit),
        cmocka_unit_test(options_change_the_dialect),
        cmocka_unit_test(positions_without_a_header),
        cmocka_unit_test(none_of_the_columns_is_an_error),
        cmocka_unit_test(a_table_reads_as_it_was_meant),
        cmocka_unit_test(every_boundary_is_like_any_other),
        cmocka_unit_test(the_fast_scan_is_the_plain_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
