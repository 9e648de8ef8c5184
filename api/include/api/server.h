/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC server: completion-queue threads, a bounded worker pool for handlers, watch streams, health and reflection. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct api_server;
struct err;
struct node;

struct api_config {
	struct node *node;
	const char *const *listen; /* "unix:/path" or "host:port" (loopback unless TLS is configured) */
	unsigned listen_count;
	unsigned worker_threads;   /* 0 = 4 */
	uint64_t shutdown_grace_ns; /* 0 = 10 s */
};
/* Binds (a port or live socket in use is -EADDRINUSE, naming it), starts serving. */
int api_server_start(struct api_server **ret_server, const struct api_config *config, struct err *e);
/* health goes NOT_SERVING. */
void api_server_drain(struct api_server *s);
/* Drains, lets calls in flight finish within the grace time, ends streams with UNAVAILABLE, joins all threads, frees. */
struct api_server *api_server_stop(struct api_server *s);
