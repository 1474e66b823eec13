#pragma once
/* Values of the control interface as a person, or with --json a program, reads them. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/wherryctl/table.h"

#define VALUE_TEXT_SIZE 48
/* Each fills RET and returns it. */
const char *print_count(int64_t n, char ret[static VALUE_TEXT_SIZE]);           /* "1,234,567" */
const char *print_bytes(int64_t n, char ret[static VALUE_TEXT_SIZE]);           /* "12.3 MB" */
const char *print_seconds(double seconds, char ret[static VALUE_TEXT_SIZE]);    /* "0.4 s", "12 s", "3m 20s", "2h 5m" */
const char *print_from_now(const char *time, char ret[static VALUE_TEXT_SIZE]); /* "in 4m", "now", "-" for NULL */
const char *print_ago(const char *time, char ret[static VALUE_TEXT_SIZE]);      /* "5m ago", "" for NULL */
const char *print_local_time(const char *time, char ret[static VALUE_TEXT_SIZE]); /* "2026-11-21 07:00:00" */

Style outcome_style(const char *outcome);
Style state_style(const char *state);

/* OBJECT on stdout, on one line, or indented on a terminal. EXACT: all 17 digits of a fraction (a state). */
void print_json(const json_t *object, bool exact);
/* Every line of TEXT printable; the caller frees. */
char *printable_lines(const char *text);

/* Field access: NULL, or FALLBACK, where it is absent or null. */
const char *field_text(const json_t *object, const char *name);
int64_t field_integer(const json_t *object, const char *name, int64_t fallback);
