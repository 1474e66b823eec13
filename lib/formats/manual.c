/*
 * Manual pages. The macros are those of man(7) that every man program knows: TH, SH, SS, PP, TP, RS, RE, EX, EE. A line
 * that begins with a dot or an apostrophe is a request to roff, a backslash begins an escape, and a bare hyphen may be
 * printed as another character than the one to be typed: see groff_man_style(7).
 */
#include "lib/formats/manual.h"

#include <stdbool.h>

static void put_escaped(Buffer *page, const char *text, size_t n, bool line_start)
{
    for (size_t i = 0; i < n; i++) {
        if (line_start && (text[i] == '.' || text[i] == '\''))
            buffer_append_string(page, "\\&");
        line_start = text[i] == '\n';
        if (text[i] == '\\')
            buffer_append_string(page, "\\e");
        else if (text[i] == '-')
            buffer_append_string(page, "\\-");
        else
            buffer_append(page, &text[i], 1);
    }
}

/* `words` in bold; a backtick without a second one stands for itself. */
static void put_marked(Buffer *page, const char *text, size_t n)
{
    bool line_start = true;
    while (n > 0) {
        const char *open = memchr(text, '`', n);
        const char *close = open ? memchr(open + 1, '`', (size_t)(text + n - open - 1)) : NULL;
        size_t plain = close ? (size_t)(open - text) : n;
        put_escaped(page, text, plain, line_start);
        if (!close)
            return;
        buffer_append_string(page, "\\fB");
        put_escaped(page, open + 1, (size_t)(close - open - 1), false);
        buffer_append_string(page, "\\fR");
        n -= (size_t)(close + 1 - text);
        text = close + 1;
        line_start = false;
    }
}

void manual_begin(Buffer *page, const char *name, int section, const char *version)
{
    buffer_printf(page, ".TH %s %d \"\" \"Wherry %s\" \"Wherry\"\n", name, section, version);
    /* no hyphenation, and a ragged right margin: keys and paths stay whole */
    buffer_append_string(page, ".nh\n.ad l\n");
}

static void put_macro(Buffer *page, const char *macro, const char *text)
{
    buffer_printf(page, ".%s ", macro);
    put_escaped(page, text, strlen(text), false);
    buffer_append_string(page, "\n");
}

void manual_heading(Buffer *page, const char *heading)
{
    put_macro(page, "SH", heading);
}

void manual_subheading(Buffer *page, const char *heading)
{
    put_macro(page, "SS", heading);
}

void manual_text(Buffer *page, const char *text)
{
    put_marked(page, text, strlen(text));
    buffer_append_string(page, "\n");
}

void manual_paragraph(Buffer *page, const char *text)
{
    for (const char *end; text; text = end ? end + 2 : NULL) {
        end = strstr(text, "\n\n");
        buffer_append_string(page, ".PP\n");
        put_marked(page, text, end ? (size_t)(end - text) : strlen(text));
        buffer_append_string(page, "\n");
    }
}

void manual_term(Buffer *page, const char *term, const char *after)
{
    buffer_append_string(page, ".TP\n\\fB");
    put_escaped(page, term, strlen(term), false);
    buffer_append_string(page, "\\fR");
    if (after && *after) {
        buffer_append_string(page, " ");
        put_escaped(page, after, strlen(after), false);
    }
    buffer_append_string(page, "\n");
}

void manual_indent(Buffer *page)
{
    buffer_append_string(page, ".RS\n");
}

void manual_outdent(Buffer *page)
{
    buffer_append_string(page, ".RE\n");
}

void manual_example(Buffer *page, const char *text)
{
    buffer_append_string(page, ".PP\n.RS 4\n.EX\n");
    put_escaped(page, text, strlen(text), true);
    buffer_append_string(page, "\n.EE\n.RE\n");
}
