#pragma once
/*
 * The configuration of a connector, as configuration.json holds it: an object of at most CONFIGURATION_KEYS_MAX texts.
 * Messages name keys and never quote a value.
 */
#include <jansson.h>
#include <stdbool.h>

#include "lib/basics/error.h"

#define CONFIGURATION_KEYS_MAX 100
/* How a value begins that Fivetran's command line has encrypted; see lib/formats/encrypted-configuration.h. */
#define CONFIGURATION_ENCRYPTED "fivetran_encrypted:"
#define CONFIGURATION_BYTES_MAX (512u << 10) /* of keys and values together */

/* Whether what is called KEY is likely to be a secret: "api_key", "dbPassword". */
bool configuration_names_secret(const char *key);
/* ERROR_CONFIGURATION where CONFIGURATION is no such object. */
int configuration_check(const json_t *configuration, Error *error);
