/*
 * Each installer has its own way to say what is wrong: pip lines that begin with "ERROR: ", and of a package that could
 * not be built the last line of its output, behind "× … did not run successfully."; uv "error: " with causes below it,
 * or a paragraph behind an arrow. Where none is found, as when pip ends with an exception, the last words are the
 * reason.
 */
#include "connectors/environment/words.h"

#include <string.h>

#include "lib/basics/text.h"

#define LINE_MAX_KEPT 4000
#define REASON_MAX 800
#define ARROW "╰─▶ "

void words_clear(Words *words)
{
    buffer_clear(&words->line);
    buffer_clear(&words->reason);
    buffer_clear(&words->last);
}

static void append_bounded(Buffer *buffer, const char *separator, const char *text)
{
    size_t length = buffer_length(buffer);
    if (length >= REASON_MAX)
        return;
    _cleanup_(freep) char *shortened = text_escape_shortened(text, strlen(text), REASON_MAX - length);
    buffer_printf(buffer, "%s%s", length > 0 ? separator : "", shortened);
}

/* What follows PREFIX in TEXT; NULL: TEXT does not begin so. */
static const char *behind(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* Lines that only say that there are others. */
static bool is_empty_word(const char *text)
{
    static const char *const words[] = { "ERROR: Exception:", "error: subprocess-exited-with-error",
                                         "error: metadata-generation-failed" };
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return strncmp(text, "ERROR: ", 7) == 0 && strstr(text, "pip subprocess to install");
}

/* TEXT is a line; words->last still the one before. */
static void look_for_reason(Words *words, const char *text)
{
    const char *said;
    if (is_empty_word(text))
        words->in_reason = false;
    else if ((said = behind(text, "ERROR: ")) || (said = behind(text, "error: ")))
        append_bounded(&words->reason, "; ", said);
    else if ((said = behind(text, "cause: ")))
        append_bounded(&words->reason, ": ", said);
    else if ((said = behind(text, ARROW)))
        words->in_reason = true, append_bounded(&words->reason, "; ", said);
    else if ((said = behind(text, "× ")) && strstr(text, "did not run successfully.")) {
        _cleanup_(freep) char *what = xstrndup(said, strcspn(said, "."));
        if (!memmem(buffer_bytes(&words->reason), buffer_length(&words->reason), what, strlen(what)))
            append_bounded(&words->reason, "; ", what); /* pip says it twice */
    } else if (strcmp(text, "[end of output]") == 0) {
        _cleanup_(freep) char *last = xstrndup((const char *)buffer_bytes(&words->last), buffer_length(&words->last));
        append_bounded(&words->reason, ": ", last);
    } else if (words->in_reason && !behind(text, "hint:"))
        append_bounded(&words->reason, " ", text);
}

static void take_line(Words *words, FILE *to)
{
    char *line = buffer_take_string(&words->line);
    for (char *tab = line; (tab = strchr(tab, '\t'));)
        *tab = ' ';
    _cleanup_(freep) char *printable = text_escape(line, strlen(line));
    fprintf(to, "%s\n", printable);
    const char *text = line + strspn(line, " ");
    if (*text) {
        look_for_reason(words, text);
        buffer_reset(&words->last);
        append_bounded(&words->last, "", text);
    }
    free(line);
}

void words_take(Words *words, const char *bytes, size_t n, FILE *to)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            take_line(words, to);
        else if (buffer_length(&words->line) < LINE_MAX_KEPT && bytes[i] != '\r' && bytes[i] != '\0')
            buffer_append(&words->line, &bytes[i], 1);
    }
}

void words_end(Words *words, FILE *to)
{
    if (buffer_length(&words->line) > 0)
        take_line(words, to);
}

char *words_reason(const Words *words)
{
    const Buffer *why = buffer_length(&words->reason) > 0 ? &words->reason : &words->last;
    return xstrndup((const char *)buffer_bytes(why), buffer_length(why));
}
