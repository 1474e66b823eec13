#pragma once
/*
 * The Varlink wire (https://varlink.org/Wire-Protocol), sans-I/O: one JSON object and one NUL per message. Calls are
 * {method, parameters?, more?, oneway?, upgrade?}, replies {parameters?, continues?, error?}, in strict order.
 */
#include <jansson.h>

#include "lib/basics/buffer.h"
#include "lib/basics/error.h"

#define VARLINK_MESSAGE_MAX (16u << 20) /* the client's bound on replies; the daemon's bound on calls is smaller */
#define VARLINK_DEPTH_MAX 64

enum { VARLINK_E_MORE = 1 };

/* Takes one message off the front of INPUT. VARLINK_E_MORE: no NUL yet. Negative: too long (even while incomplete), not
 * JSON, or not an object. */
int varlink_take(Buffer *input, size_t message_max, json_t **ret, Error *error);
/* Appends OBJECT and its NUL. The reference stays the caller's. */
void varlink_put(Buffer *output, const json_t *object);

json_t *varlink_call(const char *method, json_t *parameters /* stolen, may be NULL */, bool more);
json_t *varlink_reply(json_t *parameters /* stolen, may be NULL */, bool continues);
json_t *varlink_error(const char *error, json_t *parameters /* stolen, may be NULL */);
