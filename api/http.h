/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP listener for operators: GET and HEAD of /metrics (Prometheus text), /healthz (the
 * process is up) and /readyz (it takes work). Nothing else is served and nothing is read from a
 * request but its line. Its door to libmicrohttpd is http.c.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct api_server;
struct err;
struct fd_store;
struct http_server;

/* At node->cfg->http_listen; "" or NULL: off, and *ret_http is NULL. `store`, may be NULL, keeps
 * the socket over a restart, as "http". -EADDRINUSE, -EINVAL, naming the address. */
int http_server_start(
	struct http_server **ret_http, struct api_server *s, struct fd_store *store, struct err *e);
/* With `keep` who connects from now on waits for a successor. */
struct http_server *http_server_stop(struct http_server *h, bool keep);
uint16_t http_server_port(const struct http_server *h);
