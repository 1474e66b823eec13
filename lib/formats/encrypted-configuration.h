#pragma once
/*
 * Values of a connector's configuration.json that Fivetran's command line has encrypted (`fivetran configuration`,
 * since 2.13): "fivetran_encrypted:" and, in base64, a nonce of 12 bytes, the text under AES-256-GCM, and its tag of
 * 16; the value's key is the additional data. The key is 32 bytes in base64, in
 * ~/.fivetran/connector_sdk/config_encryption_key (read in fivetran_connector_sdk 2.13.1, MIT).
 */
#include <jansson.h>

#include "lib/basics/error.h"

/* Decrypts such values of CONFIGURATION in place; one without any is left alone. ERROR_CONFIGURATION names the value's
 * key and the key's file, and never quotes either's content. */
int configuration_decrypt(json_t *configuration, Error *error);
