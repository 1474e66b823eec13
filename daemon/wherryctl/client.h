#pragma once
/*
 * A blocking Varlink client of the daemon's control socket.
 *
 * Functions return 0, or the exit status that the failure means to wherryctl, with ERROR filled by what to say.
 */
#include <jansson.h>
#include <signal.h>

#include "daemon/wherryctl/commands.h"
#include "lib/basics/error.h"

typedef struct Client Client;
int client_connect(const Options *options, Client **ret, Error *error);
Client *client_free(Client *client);
DEFINE_CLEANUP(Client, client_free)

/* MASK: the signals blocked while waiting for a reply (as for ppoll()), so that one blocked otherwise can end the wait:
 * EXIT_INTERRUPTED, without an error. */
void client_set_wait_mask(Client *client, const sigset_t *mask);

/* {"connection": NAME}; like every word of a command line that is no path, NAME may be of any bytes. */
json_t *client_parameters(const char *name);
/* METHOD without the interface's name; PARAMETERS are stolen, may be NULL. */
int client_send(Client *client, const char *method, json_t *parameters, bool more, Error *error);
/* The next reply's parameters, a new reference. */
int client_receive(Client *client, json_t **ret, bool *ret_continues, Error *error);

/* Connects, calls, and receives. With LIST, the name of the reply's array, one that comes in pieces is put together. */
int client_ask(const Options *options, const char *method, json_t *parameters, const char *list, json_t **ret,
               Error *error);
/* As client_ask(), and says on stderr what went wrong. */
int client_ask_or_say(const Options *options, const char *method, json_t *parameters, const char *list, json_t **ret);
/* Prints ERROR as wherryctl's and returns STATUS. */
int say_error(int status, const Error *error);
