#pragma once
/*
 * The control socket: a Varlink server (org.varlink.service and org.wherry.Manager) on the daemon's loop. Peer
 * credentials decide who may call; sizes, connections, idle time and output queues are bounded, and a slow reader is
 * dropped, never waited for.
 */
#include <uv.h>

#include "daemon/wherryd/manager.h"

#define CONTROL_MESSAGE_MAX (1u << 20) /* of a call */
#define CONTROL_OUTPUT_MAX (16u << 20) /* queued for one peer; past it the peer is dropped */
#define CONTROL_CONNECTIONS_MAX 256
#define CONTROL_CONNECTIONS_PER_USER_MAX 64
#define CONTROL_IDLE_MS (45 * 1000) /* without a call in progress, or without reading what was answered */
#define CONTROL_SOCKET_NAME "org.wherry.Manager"
#define CONTROL_GROUP "wherry"

typedef struct Control Control;
/* LISTEN_FD: from socket activation, or -1: bind RUNTIME_DIR/org.wherry.Manager (0660, group `wherry` where it exists;
 * a stale socket is replaced). */
int control_new(uv_loop_t *loop, Manager *manager, const char *runtime_dir, int listen_fd, Control **ret, Error *error);
/* One client only, which holds the other end of FD (taken over) and has our rights, having started us. GONE is called
 * when it has hung up. */
int control_new_for(uv_loop_t *loop, Manager *manager, int fd, void (*gone)(void *userdata), void *userdata,
                    Control **ret, Error *error);
/* Answers pending calls with Stopping, closes all, unlinks the socket where it bound it itself. The handles close when
 * the loop runs next: run it once more before it is closed. MANAGER must still be there. */
Control *control_free(Control *control);
