/* NDJSON: what a line becomes, every error's text, and that no number loses a digit. */
#include "tests/unit/files-reading.h"

static FileColumn columns[] = {
    { .source = (char *)"id", .type = COLUMN_INTEGER, .required = true },
    { .source = (char *)"note", .type = COLUMN_STRING },
    { .source = (char *)"price", .type = COLUMN_DECIMAL },
    { .source = (char *)"more", .type = COLUMN_JSON },
    { .source = (char *)"ok", .type = COLUMN_BOOLEAN },
    { .source = (char *)"note", .type = COLUMN_JSON },
};
static FilesSettings settings = {
    .format = FORMAT_NDJSON, .columns = columns, .column_count = 4, .max_value_size = 1 << 20
};

static void lines_become_rows(void **state)
{
    static const Case cases[] = {
        { "", "" },
        { "\n \n\t\r\n", "" },
        { "{\"id\":1,\"note\":\"a\",\"price\":1.50,\"more\":{\"x\":[1,2]}}\n", "1|'a'|d'1.50'|j'{\"x\":[1,2]}'\n" },
        { "{\"id\":1}", "1|NULL|NULL|NULL\n" },
        { "{\"id\":1}\r\n{\"id\":2}\r\n", "1|NULL|NULL|NULL\n2|NULL|NULL|NULL\n" },
        { "\xef\xbb\xbf{\"id\":1}\n\n{\"id\":2}\n", "1|NULL|NULL|NULL\n2|NULL|NULL|NULL\n" },
        { "{\"id\":1,\"note\":null,\"price\":null,\"more\":null}\n", "1|NULL|NULL|NULL\n" },
        { "{\"id\":1,\"note\":\"\",\"price\":\"\",\"more\":\"\"}\n", "1|NULL|NULL|NULL\n" },
        /* keys that begin alike where another stood before */
        { "{\"id\":1,\"notes\":\"a\"}\n{\"id\":2,\"note\":\"b\"}\n{\"id\":3,\"notes\":\"c\"}\n",
          "1|NULL|NULL|NULL\n2|'b'|NULL|NULL\n3|NULL|NULL|NULL\n" },
        /* other order, keys nobody asked for, then the first order again */
        { "{\"id\":1,\"note\":\"a\"}\n{\"x\":{\"id\":9},\"note\":\"b\",\"id\":2}\n{\"id\":3,\"note\":\"c\"}\n",
          "1|'a'|NULL|NULL\n2|'b'|NULL|NULL\n3|'c'|NULL|NULL\n" },
        { "{\"id\":9223372036854775807,\"note\":12345678901234567890123.5,\"price\":0.1234567890123456789012345}\n",
          "9223372036854775807|'12345678901234567890123.5'|d'0.1234567890123456789012345'|NULL\n" },
        { "{\"id\":1.0,\"price\":\"2.50\",\"more\":1e400}\n", "1|NULL|d'2.50'|j'1e400'\n" },
        { "{\"id\":\"7\",\"more\":\"x\\\"y\"}\n", "7|NULL|NULL|j'\"x\\\"y\"'\n" },
        { "{\"id\":1,\"note\":\"\\u00e9\\ud83d\\ude00\\n\"}\n", "1|'é😀\n'|NULL|NULL\n" },
        { "{\"id\":1,\"note\":{\"a\": [1.50, true]},\"more\":[]}\n", "1|'{\"a\":[1.50,true]}'|NULL|j'[]'\n" },
        { "{\"id\":1,\"note\":true,\"more\":false}\n", "1|'true'|NULL|j'false'\n" },
        { "{\"i\\u0064\":1}\n", "1|NULL|NULL|NULL\n" },
        { "{\"id\":1,\"\":2}\n", "1|NULL|NULL|NULL\n" },
    };
    assert_cases(&settings, cases, ELEMENTSOF(cases));
}

static void what_is_wrong_is_said(void **state)
{
    static const Case cases[] = {
        { "{\"id\":1}\n\n{\"id\":\n",
          "1|NULL|NULL|NULL\nline 3, row 2: not valid JSON at byte 7 of the line: unexpected end "
          "of data" },
        { "[1]\n", "line 1, row 1: the line is not a JSON object" },
        { "{\"id\":1} {}\n",
          "line 1, row 1: not valid JSON at byte 10 of the line: unexpected content after document" },
        { "{\"note\":\"a\"}\n", "line 1, row 1, column \"id\": missing, but the column is required" },
        { "{\"id\":null}\n", "line 1, row 1, column \"id\": null, but the column is required" },
        { "{\"id\":\"\"}\n", "line 1, row 1, column \"id\": empty, but the column is required" },
        { "{\"id\":1,\"id\":2}\n",
          "line 1, row 1, column \"id\": the object names this key twice: which value is meant?" },
        { "{\"id\":9223372036854775808}\n",
          "line 1, row 1, column \"id\": an integer beyond 64 bits; a decimal or string "
          "column can hold it: \"9223372036854775808\"" },
        { "{\"id\":1.5}\n", "line 1, row 1, column \"id\": not an integer: \"1.5\"" },
        { "{\"id\":true}\n", "line 1, row 1, column \"id\": a boolean, which this column's type cannot hold" },
        { "{\"id\":[1]}\n",
          "line 1, row 1, column \"id\": an object or array, which only a json or string column can hold" },
        { "{\"id\":1,\"note\":\"a\\u0000b\"}\n", "line 1, row 1, column \"note\": a NUL character, which no text has: "
                                                 "\"a\\x00b\"" },
        { "{\"id\":NaN}\n",
          "line 1, row 1: not valid JSON at byte 7 of the line: unexpected character, expected a valid "
          "JSON value" },
    };
    assert_cases(&settings, cases, ELEMENTSOF(cases));
    char *shown = read_text(&settings, "{\"id\":1}\n{\"id\":2,\"note\":\"\xe9\"}\n", 29, 0, 1000);
    assert_string_equal(shown,
                        "1|NULL|NULL|NULL\nline 2, row 2: not valid UTF-8 at the byte 0xe9: set \"encoding:\" to what "
                        "the file is written in, such as latin-1 or cp1252");
    free(shown);
}

static void one_key_may_fill_two_columns(void **state)
{
    FilesSettings six = settings;
    six.column_count = 6;
    assert_reads(&six, "{\"id\":1,\"note\":\"a\",\"ok\":\"yes\"}\n", "1|'a'|NULL|NULL|true|j'\"a\"'\n");
    assert_reads(&six, "{\"id\":1,\"ok\":false}\n", "1|NULL|NULL|NULL|false|NULL\n");
}

static void depth_and_size_are_bounded(void **state)
{
    FilesSettings small = settings;
    small.max_value_size = 1200;
    Buffer text = { 0 };
    buffer_append_string(&text, "{\"id\":1,\"more\":");
    for (int i = 0; i < 600; i++)
        buffer_append_string(&text, "[");
    for (int i = 0; i < 600; i++)
        buffer_append_string(&text, "]");
    buffer_append_string(&text, "}\n");
    buffer_append(&text, "", 1);
    assert_reads(&small, (const char *)buffer_bytes(&text),
                 "line 1, row 1, column \"more\": JSON nested too deeply (more than 512 levels)");
    buffer_reset(&text);
    buffer_printf(&text, "{\"id\":1,\"note\":\"%01200d\"}\n{\"id\":2,\"note\":\"%01201d\"}\n", 1, 1);
    char *shown = read_text(&small, (const char *)buffer_bytes(&text), buffer_length(&text), 0, 0);
    assert_non_null(strstr(shown,
                           "line 2, row 2, column \"note\": longer than \"max_value_size\" allows; raise it to load "
                           "this value: \"0000"));
    free(shown);
    buffer_clear(&text);
}

static void write_string(Buffer *to, const char *text, unsigned *seed)
{
    buffer_append_string(to, "\"");
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            buffer_printf(to, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || (rand_r(seed) % 8 == 0 && (unsigned char)*text < 0x80))
            buffer_printf(to, "\\u%04x", (unsigned)*text);
        else
            buffer_append(to, text, 1);
    buffer_append_string(to, "\"");
}

/* Random objects, keys in random order, some missing: written here, read in blocks of every size. */
static void a_table_reads_as_it_was_meant(void **state)
{
    static const char *const notes[] = { "a",           "say \"hi\"",
                                         "back\\slash", "é日😀",
                                         "line\nbreak", "tab\t",
                                         "{\"id\":3}",  "long enough to cross a block of sixty-four bytes" };
    for (unsigned round = 0; round < 1000; round++) {
        unsigned seed = round;
        Buffer text = { 0 }, expected = { 0 };
        for (int row = rand_r(&seed) % 8; row > 0; row--) {
            int id = rand_r(&seed);
            const char *note = rand_r(&seed) % 4 ? notes[(size_t)rand_r(&seed) % ELEMENTSOF(notes)] : NULL;
            bool first = rand_r(&seed) % 2;
            buffer_append_string(&text, rand_r(&seed) % 2 ? "{" : " { ");
            if (first)
                buffer_printf(&text, "\"id\" : %d", id);
            if (note) {
                buffer_append_string(&text, first ? ",\"note\":" : "\"note\":");
                write_string(&text, note, &seed);
            }
            if (rand_r(&seed) % 3 == 0)
                buffer_printf(&text, "%s\"other%d\":[{\"id\":1}]", first || note ? "," : "", rand_r(&seed) % 3);
            else if (!first)
                buffer_append_string(&text, note ? ",\"x\":0" : "\"x\":0");
            else
                buffer_append_string(&text, "");
            if (!first)
                buffer_printf(&text, ", \"id\":%d", id);
            buffer_append_string(&text, rand_r(&seed) % 2 ? "}\n" : " } \r\n");
            buffer_printf(&expected, note ? "%d|'%s'|NULL|NULL\n" : "%d|NULL|NULL|NULL\n", id, note);
        }
        buffer_append(&expected, "", 1);
        char *shown = read_text(&settings, (const char *)buffer_bytes(&text), buffer_length(&text), 1 + round % 97, 0);
        assert_string_equal(shown, (const char *)buffer_bytes(&expected));
        free(shown);
        buffer_clear(&text);
        buffer_clear(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_rows),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(one_key_may_fill_two_columns),
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(a_table_reads_as_it_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
