#pragma once
/* How a sync that is followed gets on: a bar on a terminal, a line now and then elsewhere. */
#include <jansson.h>
#include <stdio.h>

typedef struct Progress Progress;
/* FILE: where to; a bar is drawn only where that is a terminal. CONNECTION stays the caller's. */
Progress *progress_new(FILE *file, const char *connection);
void progress_show(Progress *progress, const json_t *report); /* a Progress of the control interface */
Progress *progress_free(Progress *progress);                  /* clears the bar */
