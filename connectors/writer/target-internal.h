#pragma once
/* Between the two halves of a target: its columns (target.c) and its rows (target-rows.c). */
#include "connectors/writer/target.h"

static inline Kind column_kind(const FrameColumn *column)
{
    return (Kind){ .type = column->type, .precision = column->precision, .scale = column->scale };
}

/* A value that column I does not hold for sure: where it does not, the column widens or the value is refused. */
int target_take_odd_value(Target *target, size_t i, const Value *value, Error *error);
