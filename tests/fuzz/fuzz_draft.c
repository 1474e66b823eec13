/* Drafting from any bytes: what is detected can be read, and what is written is text. */
#include "connectors/sources/files/draft.h"
#include "lib/basics/text.h"
#include "tests/fuzz/files-fuzzing.h"

#define ROWS_MAX 100

static bool few_more(const Draft *draft, void *context)
{
    return draft->rows < ROWS_MAX;
}

/* The text at the beginning, as the draft's sample is. */
static void read_text(const uint8_t *data, size_t n, Buffer *ret)
{
    FuzzSource source = { .data = data, .n = n, .piece = n + 1 };
    TextInput input;
    int r = 0;
    text_input_init(&input, (ByteStream){ fuzz_source_read, &source }, 0, n + 1);
    while (r == 0 && !input.ended)
        r = text_input_more(&input, NULL);
    buffer_append(ret, input.data + input.begin, input.end - input.begin);
    text_input_clear(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *paths[] = { (char *)"/in/some-2024-01.csv.gz" };
    FuzzSource source = { .data = data, .n = n, .piece = 64 };
    Draft draft = { .paths = paths, .path_count = 1, .whole = true };
    Buffer text = { 0 };
    TextInput input;
    Error error = { 0 };
    json_memory_init(&draft.json);
    draft.inferrer.converter = (Converter){ .max_value_size = 1 << 20, .json = &draft.json };
    read_text(data, n, &text);
    draft_csv_detect(&draft, (const char *)buffer_bytes(&text), buffer_length(&text), n % 2 == 0);
    text_input_init(&input, (ByteStream){ fuzz_source_read, &source }, 64, 1 << 20);
    if (draft_csv_read(&draft, &input, few_more, NULL, &error) == 0) {
        char *written = draft_write(&draft);
        assert(utf8_valid_length(written, strlen(written)) == strlen(written));
        free(written);
    }
    for (size_t i = 0; i < draft.column_count; i++)
        draft_column_clear(&draft.columns[i]);
    free(draft.columns);
    text_input_clear(&input);
    buffer_clear(&text);
    buffer_clear(&draft.inferrer.scratch);
    json_memory_clear(&draft.json);
    error_clear(&error);
    return 0;
}
