#pragma once
/*
 * What the module in the connector's interpreter (connectors/python/extension/stream.h) says on its socket, and what it
 * is answered. It is in the hands of foreign code: every frame is held against what may come, and its length.
 */
#include "connectors/worker/worker.h"
#include "lib/system/channel.h"

typedef struct Conversation {
    Channel channel; /* its socket is owned */
    bool done;
    uint64_t rows; /* that DONE counts */
    Error failure; /* that the connector reported */
} Conversation;

void conversation_init(Conversation *conversation, int fd);
void conversation_clear(Conversation *conversation);
/* BEGIN, written in the background of reading: MORE until all of it is out. */
int conversation_begin(Conversation *conversation, const char *configuration, const char *state, Error *error);
/* Takes what is there. Negative: of the worker (the pipe, cancelled), or broken protocol. */
int conversation_take(Conversation *conversation, Worker *worker, Error *error);
/* Whether bytes wait to be sent, and sends what the socket takes. */
bool conversation_has_output(const Conversation *conversation);
void conversation_send(Conversation *conversation);
