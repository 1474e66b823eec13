#pragma once
/* Folders watched for files that arrive: closed after writing, or renamed in. A folder may come, go and come again. */
#include <uv.h>

#include "lib/basics/error.h"

typedef struct Watches Watches;
typedef struct Watch Watch;

#define WATCH_SETTLE_MS 50 /* files that arrive together are one sync */

int watches_new(uv_loop_t *loop, Watches **ret, Error *error);
Watches *watches_free(Watches *watches); /* all of its watches must be freed */

/* ARRIVED is called, from the loop, after files matching PATTERN (a glob on names) have arrived in FOLDER (absolute),
 * after FOLDER itself has appeared, and where events were lost. ERROR_TEMPORARY where the kernel's bound on watches is
 * reached, saying which. */
int watch_new(Watches *watches, const char *folder, const char *pattern, void (*arrived)(void *userdata),
              void *userdata, Watch **ret, Error *error);
Watch *watch_free(Watch *watch);
