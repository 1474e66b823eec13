#pragma once
/* `wherryd --check` (which `wherryctl check` executes): the same checks as the daemon's, offline. */
#include <stdio.h>

/* Checks FILES, or with FILE_COUNT 0 the whole of CONFIG_DIR. Prints every problem and warning to OUT, one a line, and
 * a summary ("3 connections, all good"). STATE_DIR as for config_load(). Returns the exit status: 0 good (warnings
 * allowed), 2 not. */
int config_check(const char *config_dir, const char *state_dir, const char *const *files, size_t file_count, FILE *out);
