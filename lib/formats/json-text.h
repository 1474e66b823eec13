#pragma once
/* JSON as sources take it and write it: how deep, and how text is quoted. */
#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

#include "lib/basics/buffer.h"

#define JSON_DEPTH_MAX 512 /* of a value that is loaded; deeper ones are refused */

/* Whether the nesting of VALUE is at most JSON_DEPTH_MAX. */
bool json_depth_is_fine(yyjson_val *value);
/* Appends TEXT (UTF-8) as a JSON string. */
void json_put_string(Buffer *to, const char *text, size_t n);
