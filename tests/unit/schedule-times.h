#pragma once
/* Spans of time in the schedule's unit, and the moment at which its tests begin. */
#include <stdint.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START (INT64_C(1767225600) * SECOND) /* 2026-01-01T00:00:00Z */
