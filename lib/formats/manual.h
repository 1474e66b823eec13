#pragma once
/*
 * A manual page as man(7) has it, written piece by piece into a buffer. Text is UTF-8, and given as a person writes it:
 * what roff would take for its own is escaped, and a word in `backticks` stands in bold.
 */
#include "lib/basics/buffer.h"

/* NAME and SECTION of the page, and the version of the programs. */
void manual_begin(Buffer *page, const char *name, int section, const char *version);
void manual_heading(Buffer *page, const char *heading);    /* in capitals, as manuals have them */
void manual_subheading(Buffer *page, const char *heading); /* as it is */
void manual_paragraph(Buffer *page, const char *text);     /* its newlines are spaces; an empty line parts paragraphs */
/* TERM in bold, then AFTER (may be NULL) as it is; what manual_text() says next explains it. */
void manual_term(Buffer *page, const char *term, const char *after);
void manual_text(Buffer *page, const char *text); /* goes on where the last piece ended, on a line of its own */
void manual_indent(Buffer *page);                 /* what follows belongs to the last term, until: */
void manual_outdent(Buffer *page);
void manual_example(Buffer *page, const char *text); /* line for line */
