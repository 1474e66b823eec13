/*
 * Secrets are few (a handful per sync) and texts short, so each is looked for with memmem(). The longest are replaced
 * first: a secret that contains another one leaves no tail behind.
 */
#include "lib/basics/mask.h"

#include "lib/basics/buffer.h"

#define MASK_TEXT "****"

typedef struct Secret {
    char *text;
    size_t length;
} Secret;

struct Mask {
    Secret *secrets; /* longest first */
    size_t count;
};

static void wipe(char *text, size_t n)
{
    explicit_bzero(text, n);
    free(text);
}

Mask *mask_new(void)
{
    return xcalloc(1, sizeof(Mask));
}

Mask *mask_free(Mask *mask)
{
    if (mask) {
        for (size_t i = 0; i < mask->count; i++)
            wipe(mask->secrets[i].text, mask->secrets[i].length);
        free(mask->secrets);
        free(mask);
    }
    return NULL;
}

static void add(Mask *mask, const char *text, size_t length)
{
    if (length < MASK_MIN_LENGTH)
        return;
    size_t place = 0;
    for (; place < mask->count && mask->secrets[place].length >= length; place++)
        if (mask->secrets[place].length == length && memcmp(mask->secrets[place].text, text, length) == 0)
            return;
    mask->secrets = xrealloc(mask->secrets, (mask->count + 1) * sizeof(Secret));
    memmove(mask->secrets + place + 1, mask->secrets + place, (mask->count - place) * sizeof(Secret));
    mask->secrets[place] = (Secret){ xstrndup(text, length), length };
    mask->count++;
}

void mask_add(Mask *mask, const char *secret)
{
    size_t length = strlen(secret);
    add(mask, secret, length);
    if (memchr(secret, '\n', length))
        for (const char *line = secret; *line;) {
            size_t n = strcspn(line, "\n");
            add(mask, line, n);
            line += n + (line[n] == '\n');
        }
}

/* Replaces SECRET in TEXT; NULL where it does not stand there. */
static char *replace_all(const char *text, size_t n, const Secret *secret, size_t *ret_n)
{
    const char *found = memmem(text, n, secret->text, secret->length);
    if (!found)
        return NULL;
    _cleanup_(buffer_clear) Buffer result = { 0 };
    const char *end = text + n;
    while (found) {
        buffer_append(&result, text, (size_t)(found - text));
        buffer_append_string(&result, MASK_TEXT);
        text = found + secret->length;
        found = memmem(text, (size_t)(end - text), secret->text, secret->length);
    }
    buffer_append(&result, text, (size_t)(end - text));
    *ret_n = buffer_length(&result);
    return buffer_take_string(&result);
}

char *mask_apply(const Mask *mask, const char *text, size_t n)
{
    char *masked = NULL;
    for (size_t i = 0; mask && i < mask->count; i++) {
        size_t replaced_n;
        char *replaced = replace_all(masked ? masked : text, n, &mask->secrets[i], &replaced_n);
        if (replaced) {
            if (masked)
                wipe(masked, n);
            masked = replaced;
            n = replaced_n;
        }
    }
    return masked;
}
