/* Fixed width: the first byte says block size, the second how many of the columns there are. */
#include "tests/fuzz/files-fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    FilesSettings settings = { .format = FORMAT_FIXED_WIDTH,
                               .columns = fuzz_columns,
                               .column_count = 1 + data[1] % ELEMENTSOF(fuzz_columns),
                               .max_value_size = 1 << 20 };
    fuzz_read_twice(&settings, data + 2, n - 2, data[0]);
    return 0;
}
