/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own state, for the files of this floor that serve with it. Owned by server.c. */
#pragma once
#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/server.h"
#include "base/list.h"
#include "base/lock.h"
#include "call.h"

struct acceptor;
struct admission;
struct http_server;
struct node;
struct pool;
struct reflection;
struct rpc_metrics;

#define API_QUEUES_MAX  8
#define API_ACCEPTS     8 /* calls asked for ahead, per completion queue */
#define API_MESSAGE_MAX (4 << 20)

struct api_queue {
	struct api_server *server;
	grpc_completion_queue *cq;
	pthread_t thread;
	bool started;
	_Atomic unsigned accepts; /* request_calls that are out */
};

struct api_server {
	struct node *node; /* const after start, all of these */
	struct api_limits limits;
	uint64_t grace_ns;
	grpc_server *grpc;
	struct api_queue queues[API_QUEUES_MAX];
	unsigned queue_count;
	struct pool *pools[RPC_CLASS_COUNT]; /* RPC_INLINE: none */
	struct pool *closer;                 /* runs the ends of streams */
	struct acceptor *acceptor;
	struct http_server *http;
	struct reflection *reflection;
	struct rpc_metrics *metrics;
	struct admission *admission;
	uint16_t *ports; /* by index of api_config.listen; 0 for a Unix socket */
	unsigned listen_count;

	_Atomic bool serving;  /* grpc_server_start was called */
	_Atomic bool draining; /* health says so; calls still work */
	bool handing_over;     /* the sockets are a successor's; set before `stopping` */

	struct lock mu;
	struct cond changed;   /* call_count, accept_count or shut_down */
	struct list calls;     /* guarded by mu: accepted, not yet freed */
	unsigned call_count;   /* guarded by mu */
	unsigned accept_count; /* guarded by mu: asked for, and neither listed nor given back */
	unsigned stream_count; /* guarded by mu */
	bool stopping;         /* guarded by mu: no new streams, no new accepts */
	bool shut_down;        /* guarded by mu: grpc has no call left */
	struct list health_watchers; /* guarded by mu; see health.c */
	_Atomic size_t queued_bytes; /* of all streams */
	struct rpc_tag on_shutdown;
};

/* health.c: tell the watchers, after `draining` was set. */
void health_changed(struct api_server *s);
/* Why no call is begun any more, which only matters to who may come back: -ESHUTDOWN, reason
 * DRAINING or HANDING_OVER. After `stopping`. */
int api_say_stopping(const struct api_server *s, struct err *e);
