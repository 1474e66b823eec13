/*
 * A requirements.txt of any bytes: either refused with a printable reason, or given to the installer as lines of which
 * none names the SDK, and the same again where they are read once more.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connectors/environment/requirements.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/dev/shm/fuzz-requirements-XXXXXX";

static void remove_folder(void)
{
    path_remove_tree(-1, folder);
}

static void put(const void *data, size_t n)
{
    int fd = open("requirements.txt", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t written = write(fd, data, n);
    assert(fd >= 0 && written == (ssize_t)n);
    close(fd);
}

static void check_text(const char *text, size_t n)
{
    assert(utf8_valid_length(text, n) == n && strlen(text) == n);
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        _cleanup_(freep) char *copy = xstrndup(line, length); /* of its own, so that reading past it is seen */
        _cleanup_(freep) char *name = requirement_name(copy);
        assert(line[length] == '\n' && length > 0);
        assert(!name || (*name && strcmp(name, "fivetran-connector-sdk") != 0));
        line += length + 1;
    }
}

/* The text, or NULL. */
static char *read_it(void)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(requirements_clear) Requirements requirements = { 0 };
    int r = requirements_read(folder, &requirements, &error);
    assert((r < 0) == (error.kind != ERROR_NONE));
    if (r == 0) {
        size_t n = buffer_length(&requirements.text);
        char *text = buffer_take_string(&requirements.text);
        check_text(text, n);
        return text;
    }
    assert(error.kind == ERROR_CONFIGURATION);
    for (const char *c = error.message; *c; c++)
        assert((unsigned char)*c >= ' ' && *c != 0x7f);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) {
        assert(mkdtemp(folder) && chdir(folder) == 0);
        made = atexit(remove_folder) == 0;
    }
    put(data, size);
    _cleanup_(freep) char *text = read_it();
    if (!text)
        return 0;
    put(text, strlen(text));
    _cleanup_(freep) char *again = read_it();
    /* what an option, a comment, a continuation or a mark at the beginning would be is read anew */
    if (!strpbrk(text, "-#\\") && strncmp(text, "\xef\xbb\xbf", 3) != 0)
        assert(again && strcmp(text, again) == 0);
    return 0;
}
