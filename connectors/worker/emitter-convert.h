#pragma once
/* Values as the columns that a source has declared take them. Private to the emitter. */
#include "connectors/worker/emitter.h"

enum {
    CONVERSION_WIDENS = 1,    /* the value is out of the column's range, and the column becomes a wider one */
    CONVERSION_NOT_FINITE = 2 /* it was NaN or infinite */
};

typedef struct Conversion {
    bool base64;        /* text in a BINARY column is base64 */
    Buffer text;        /* what the converted value may point into */
    unsigned notes;     /* CONVERSION_… of this value; cleared by the caller */
    EmitterFault fault; /* with the error */
} Conversion;

/* RET holds until the next call. The error has a message and a value, no place. */
int conversion_apply(Conversion *conversion, Kind kind, const EmitterField *field, Value *ret, Error *error);
/* The same for a column that was not declared. */
int conversion_natural(Conversion *conversion, const EmitterField *field, Value *ret, Error *error);
