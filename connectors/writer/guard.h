#pragma once
/*
 * The strict guard of tables of files: they are never migrated, so a table that is there has the columns of the
 * configuration and those that Wherry adds, or the file is refused with all that differs.
 *
 * A destination tells the guard, column by column, what is there; which column it means, what is extra or missing, and
 * how that is said, is decided here, the same for all.
 */
#include "connectors/writer/destination.h"

/* A column that Wherry adds to tables of files. */
typedef struct GuardOwn {
    const char *name;
    const char *type;    /* as messages call it */
    const char *missing; /* "_id (INTEGER PRIMARY KEY)": how its absence is said; NULL: it may be absent */
} GuardOwn;

typedef struct GuardRules {
    bool ignore_case;
    const GuardOwn *own;
    size_t own_count;
    void (*put_type)(Buffer *text, const FrameColumn *column); /* as a new table would have it */
} GuardRules;

typedef struct Guard {
    const GuardRules *rules;
    const Table *table;
    bool *found; /* owned; per column of the table, then of the own ones */
    Buffer differences;
} Guard;

/* Names that no table of files can have: those of own columns, and twice the same. DESTINATION: "SQLite". */
int guard_check_names(const GuardRules *rules, const Table *table, const char *destination, Error *error);

/* ERROR where `on_schema_change` forbids to make a table that is not there. */
int guard_may_create(Writer *writer, const Table *table, Error *error);

Guard guard_begin(const GuardRules *rules, const Table *table);
void guard_clear(Guard *guard); /* for _cleanup_ too */
/* The column NAME is there, of TYPE ("" where the destination has none). Which one it is: GUARD_TABLE and *RET in the
 * table's columns, GUARD_OWN and *RET in the own ones; GUARD_EXTRA is noted as a difference already. */
typedef enum GuardPlace { GUARD_TABLE, GUARD_OWN, GUARD_EXTRA } GuardPlace;
GuardPlace guard_find(Guard *guard, const char *name, const char *type, size_t *ret);
/* What GUARD_TABLE or GUARD_OWN is there has another type than it should. */
void guard_differs_in_type(Guard *guard, GuardPlace place, size_t i, const char *name, const char *type);
void guard_differs(Guard *guard, const char *format, ...) _public_printf_(2, 3);
/* The table's column I is compared there by COLLATION, which takes texts that differ for one (NULL or "": it does not).
 * Of a key that is a difference: of two keys that become one the last would stay alone. */
void guard_collates(Guard *guard, size_t i, const char *name, const char *collation);
/* After the last column: where `on_schema_change` allows it and nothing else differs, each column that is missing, in
 * *RET, as one that the caller adds, NULL for the rows that are there. False: no more. */
bool guard_next_to_add(Guard *guard, Writer *writer, size_t *ret);
/* After the last column, and those. WHERE: "in "shop.db"". */
int guard_end(Guard *guard, const char *where, Error *error);
