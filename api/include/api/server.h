/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC server: completion-queue threads, bounded worker pools for handlers, watch streams,
 * health and reflection; and the small HTTP listener for /metrics, /healthz and /readyz
 * (node->cfg->http_listen).
 *
 * Starting it initialises grpc, whose threads inherit the signal mask: block signals first, and
 * never fork without exec after.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_server;
struct err;
struct fd_store;
struct node;

/* Bounds that a test makes small; 0 = the default. */
struct api_limits {
	unsigned calls_max;   /* in flight at once; 8192 */
	unsigned streams_max; /* open watches of all callers; 1024 */
	unsigned queue_max; /* calls waiting per pool; 2048. A tenant has at most three quarters of
			       it */
	unsigned create_threads;    /* 16 */
	unsigned delete_threads;    /* 4 */
	size_t stream_queue_bytes;  /* waiting in one stream; 16 MiB */
	size_t streams_queue_bytes; /* waiting in all streams; 128 MiB */
};

struct api_config {
	struct node *node;         /* outlives the server */
	const char *const *listen; /* "unix:/path" or "host:port" (loopback unless TLS is
				      configured); port 0: any free one */
	unsigned listen_count;
	struct fd_store *fds;       /* keeps the listening sockets over a restart; may be NULL */
	unsigned worker_threads;    /* 0 = 4 */
	uint64_t shutdown_grace_ns; /* 0 = 10 s */
	struct api_limits limits;
};
/* Binds, starts serving. -EADDRINUSE (a port or live socket in use), -EINVAL (an address that is
 * malformed or needs TLS), each naming the address. */
int api_server_start(
	struct api_server **ret_server, const struct api_config *config, struct err *e);
/* The port of a "host:port" listener, as bound; 0 for a Unix socket or a wrong index. */
uint16_t api_server_port(const struct api_server *s, unsigned listen_index);
/* The port of the HTTP listener; 0 if it is off. */
uint16_t api_server_http_port(const struct api_server *s);
/* health goes NOT_SERVING, /readyz 503; calls are still served. */
void api_server_drain(struct api_server *s);
/* A successor takes the listening sockets: api_server_stop leaves them open. For the thread that
 * stops it. */
void api_server_hand_over(struct api_server *s);
/* Drains, lets calls in flight finish within the grace time, ends streams with UNAVAILABLE, joins
 * all threads, frees. Blocks. NULL is fine; returns NULL. */
struct api_server *api_server_stop(struct api_server *s);
