/* Fixed-width lines: positions count characters, slices are stripped as Python does, and every error's text. */
#include "tests/unit/files-reading.h"

static FileColumn columns[] = {
    { .source = (char *)"id", .type = COLUMN_INTEGER, .required = true, .start = 0, .width = 4 },
    { .source = (char *)"name", .type = COLUMN_STRING, .start = 4, .width = 6 },
    { .source = (char *)"flag", .type = COLUMN_BOOLEAN, .start = 12, .width = 1 },
};
static const FilesSettings settings = {
    .format = FORMAT_FIXED_WIDTH, .columns = columns, .column_count = ELEMENTSOF(columns), .max_value_size = 1 << 20
};

static void slices(void **state)
{
    static const Case cases[] = {
        { "", "" },
        { "   1Ann   xx1\n", "1|'Ann'|true\n" },
        { "   1Ann   xx1", "1|'Ann'|true\n" },
        { "   1Ann   xx1and more that nobody wants\r\n   2      xx0\r\n", "1|'Ann'|true\n2|NULL|false\n" },
        { "   1Ann   xx1\r   2Bob   xx0\r", "1|'Ann'|true\n2|'Bob'|false\n" },
        { "   1Ann   xx1\n\n        \n   2Bob   xx0\n", "1|'Ann'|true\n2|'Bob'|false\n" },
        { "\xef\xbb\xbf   1Ann   xx1\n", "1|'Ann'|true\n" },
        { "   1Zoé😀  xx1\n   2日本語日本語xx0\n", "1|'Zoé😀'|true\n2|'日本語日本語'|false\n" },
        { "   1 a  b xx1\n", "1|'a  b'|true\n" },
        { "   1\xc2\xa0\xe3\x80\x80x\xe2\x80\x83\xc2\x85\x1fxx1\n", "1|'x'|true\n" },
        { "   1Ann   xx \n", "1|'Ann'|NULL\n" },
    };
    assert_cases(&settings, cases, ELEMENTSOF(cases));
}

static void what_is_wrong_is_said(void **state)
{
    static const Case cases[] = {
        { "   1Ann   xx1\n   2Bob\n",
          "1|'Ann'|true\nline 2, row 2, column \"flag\": the line has 7 characters, but the column "
          "ends at character 13" },
        { "   1日本語   x\n",
          "line 1, row 1, column \"flag\": the line has 11 characters, but the column ends at character "
          "13" },
        { "\n\n    Ann   xx1\n", "line 3, row 1, column \"id\": empty, but the column is required" },
        { "   1Ann   xx1\r\n\r\n\r  x1Ann   xx1\n",
          "1|'Ann'|true\nline 4, row 2, column \"id\": not an integer: \"x1\"" },
        { "  x1Ann   xx1\n", "line 1, row 1, column \"id\": not an integer: \"x1\"" },
        { "   1Ann   xx2\n", "line 1, row 1, column \"flag\": not a boolean (true, 1, yes, false, 0 or no): \"2\"" },
    };
    assert_cases(&settings, cases, ELEMENTSOF(cases));
    char *shown = read_text(&settings,
                            "   1Ann   xx1\n   2B\xfc"
                            "b   xx1\n",
                            28, 0, 1000);
    assert_string_equal(shown,
                        "1|'Ann'|true\nline 2, row 2: not valid UTF-8 at the byte 0xfc: set \"encoding:\" to what the "
                        "file is written in, such as latin-1 or cp1252");
    free(shown);
}

static void columns_need_not_be_in_order(void **state)
{
    FileColumn turned[] = { columns[2], columns[1], columns[0] };
    FilesSettings other = settings;
    other.columns = turned;
    assert_reads(&other, "   1Zoé😀  xx1\n   2Bob   xx0\n", "true|'Zoé😀'|1\nfalse|'Bob'|2\n");
}

/* Characters of one to four bytes, padded by an independent count, in blocks of every size. */
static void a_table_reads_as_it_was_meant(void **state)
{
    static const char *const letters[] = { "a", "B", "-", "é", "ß", "日", "語", "😀" };
    static const char *const line_ends[] = { "\n", "\r\n", "\r" };
    for (unsigned round = 0; round < 1000; round++) {
        unsigned seed = round;
        Buffer text = { 0 }, expected = { 0 };
        for (int row = rand_r(&seed) % 10; row > 0; row--) {
            int id = rand_r(&seed) % 10000, length = rand_r(&seed) % 7, left = rand_r(&seed) % (7 - length);
            buffer_printf(&text, "%*d%*s", rand_r(&seed) % 2 ? 4 : -4, id, left, "");
            buffer_printf(&expected, length > 0 ? "%d|'" : "%d|NULL", id);
            for (int i = 0; i < length; i++) {
                const char *letter = letters[(size_t)rand_r(&seed) % ELEMENTSOF(letters)];
                buffer_append_string(&text, letter);
                buffer_append_string(&expected, letter);
            }
            int flag = rand_r(&seed) % 2;
            buffer_printf(&text, "%*s??%d", 6 - length - left, "", flag);
            buffer_append_string(&text, rand_r(&seed) % 2 ? "é trailing" : "");
            buffer_append_string(&text, line_ends[round % 3]);
            buffer_append_string(&expected, length > 0 ? flag ? "'|true\n" : "'|false\n"
                                            : flag     ? "|true\n"
                                                       : "|false\n");
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
        cmocka_unit_test(slices),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(columns_need_not_be_in_order),
        cmocka_unit_test(a_table_reads_as_it_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
