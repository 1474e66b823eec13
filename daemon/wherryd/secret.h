#pragma once
/*
 * Secret references: {"$secret": {"kind": "env"|"file"|"credential"|"json", "name": "…"}}; "json" is a
 * whole object from a file, whose texts are secrets. Of key material, which is bytes and
 * becomes base64 text, also {"prefix": written as env:NAME or secrets:/path, "minimum", "maximum": bytes (maximum 0:
 * any), "at": [file, line, column]}. A destination's own defaults may be of kind "variable": text of the daemon's
 * environment, or null.
 */
#include <jansson.h>

#include "lib/basics/error.h"
#include "lib/basics/mask.h"

#define SECRET_BYTES_MAX (64u << 10)
#define SECRET_OBJECT_MAX (1u << 20)

/* Replaces every reference inside VALUE (in place) by what it stands for, and adds that to MASK, as well as passwords
 * inside urls. ERROR_CONFIGURATION names the reference, never a value. */
int secret_resolve(json_t *value, Mask *mask, Error *error);

/* The password of "scheme://user:password@host", "…?password=x" or "host=db password=x", or NULL. */
const char *secret_in_url(const char *text, size_t *ret_n);
