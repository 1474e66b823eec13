/* NDJSON: the first byte says block size. */
#include "tests/fuzz/files-fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    FilesSettings settings = { .format = FORMAT_NDJSON,
                               .columns = fuzz_columns,
                               .column_count = ELEMENTSOF(fuzz_columns),
                               .max_value_size = 1 << 20 };
    fuzz_read_twice(&settings, data + 1, n - 1, data[0]);
    return 0;
}
