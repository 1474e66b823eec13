/* CSV in every dialect: the first byte says block size, the second the options. */
#include "tests/fuzz/files-fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    FilesSettings settings = { .format = FORMAT_CSV,
                               .columns = fuzz_columns,
                               .column_count = ELEMENTSOF(fuzz_columns),
                               .delimiter = data[1] & 1 ? ';' : ',',
                               .quote = data[1] & 2 ? '\'' : '"',
                               .header = !(data[1] & 4),
                               .keep_empty = data[1] & 8,
                               .null_text = (char *)(data[1] & 16 ? "NA" : NULL),
                               .max_value_size = data[1] & 32 ? 20 : 1 << 20 };
    /* With a small bound on values, which rows come before the error depends on the window: only one of the readings
     * counts. */
    if (data[1] & 32) {
        Buffer rows = { 0 };
        fuzz_read(&settings, data + 2, n - 2, 1 + data[0], &rows);
        buffer_clear(&rows);
        return 0;
    }
    fuzz_read_twice(&settings, data + 2, n - 2, data[0]);
    return 0;
}
