#pragma once
/* The key tables of a connection and of wherry.yaml, and the sources and destinations that this daemon knows. */
#include "lib/formats/key.h"

extern const Key connection_keys[]; /* at the top level of every connection */
extern const Key operation_keys[];  /* besides, where the source emits operations */
extern const Key file_keys[];       /* besides, where it does not */
extern const Key daemon_keys[];     /* wherry.yaml */

typedef enum Role { ROLE_SOURCE, ROLE_DESTINATION } Role;

extern const ConnectorKeys *const connectors[2][8]; /* by Role; each ends with NULL */
extern const KeyLater connectors_later[2][8];       /* planned, by Role */

#define KEY_TABLES_MAX 16 /* of one level, with the NULL at their end */
/* The tables of the top level: of CONNECTION's source and destination, by Role; where one is NULL, of all of that kind.
 */
void top_level_keys(const ConnectorKeys *const connection[2], const Key *ret[static KEY_TABLES_MAX]);

/* TYPE may be NULL; NULL where there is none. */
const ConnectorKeys *connector_keys(Role role, const char *type);
const char *role_name(Role role); /* "source", "destination" */
