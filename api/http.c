/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread of libmicrohttpd with epoll serves a few connections at a time; a peer that is slow is
 * dropped after a time-out, and headers have a memory limit. The answers are made on that thread,
 * which may block on nothing but the metrics' callbacks, which do not block.
 */
#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fd_store.h"
#include "base/log.h"
#include "base/metrics.h"
#include "listen.h"
#include "listen_socket.h"
#include "server_internal.h"
#include "service/config.h"
#include "service/node.h"

#define CONNECTIONS        64
#define CONNECTIONS_PER_IP 32
#define TIMEOUT_S          10
#define CONNECTION_MEMORY  16384
#define METRICS_BYTES_MAX  ((size_t)32 << 20)

#define STORE_NAME "http" /* of the listening socket */

#define TEXT_PLAIN   "text/plain; charset=utf-8"
#define TEXT_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct http_server {
	struct api_server *api;
	struct MHD_Daemon *daemon;
	struct fd_store *store; /* may be NULL */
	int listen_fd;
	uint16_t port;
};

struct answer {
	unsigned code;
	const char *type;
	struct buf body;
};

static void answer_metrics(struct http_server *h, struct answer *out)
{
	out->type = TEXT_METRICS;
	if (h->api->node->metrics)
		metrics_render(h->api->node->metrics, &out->body);
	out->code = buf_error(&out->body) ? MHD_HTTP_INTERNAL_SERVER_ERROR : MHD_HTTP_OK;
}

static void answer_healthz(struct http_server *h, struct answer *out)
{
	(void)h;
	out->code = MHD_HTTP_OK;
	(void)buf_puts(&out->body, "ok\n"); /* a failure shows as an empty body */
}

static void answer_readyz(struct http_server *h, struct answer *out)
{
	bool draining = atomic_load(&h->api->draining) || atomic_load(&h->api->node->draining);

	out->code = draining ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
	(void)buf_puts(&out->body, draining ? "draining\n" : "ok\n"); /* as above */
}

static const struct {
	const char *path;
	void (*fn)(struct http_server *h, struct answer *out);
} routes[] = {
	{"/metrics", answer_metrics},
	{"/healthz", answer_healthz},
	{"/readyz", answer_readyz},
};

static void route(struct http_server *h, const char *method, const char *path, struct answer *out)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		out->code = MHD_HTTP_METHOD_NOT_ALLOWED;
		(void)buf_puts(&out->body, "GET or HEAD\n"); /* as above */
		return;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strcmp(routes[i].path, path) == 0) {
			routes[i].fn(h, out);
			return;
		}
	out->code = MHD_HTTP_NOT_FOUND;
	(void)buf_puts(
		&out->body, "not found; there are /metrics, /healthz and /readyz\n"); /* as above */
}

/* The response takes the body's memory. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *out)
{
	size_t len = buf_error(&out->body) ? 0 : out->body.len;
	char *body = buf_take(&out->body);
	struct MHD_Response *response = MHD_create_response_from_buffer(
		body ? len : 0, body, body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	if (!response) {
		free(body);
		return MHD_NO; /* closes the connection */
	}
	result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, out->type);
	if (result == MHD_YES && out->code == MHD_HTTP_METHOD_NOT_ALLOWED)
		result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (result == MHD_YES)
		result = MHD_queue_response(connection, out->code, response);
	MHD_destroy_response(response);
	return result;
}

/* Called by libmicrohttpd: once when the headers are in, then per piece of body and at its end. */
static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **request)
{
	struct http_server *h = arg;
	struct answer out = {.type = TEXT_PLAIN};
	enum MHD_Result result;

	(void)version;
	(void)upload;
	if (*upload_len)
		return MHD_NO; /* nobody here reads bodies */
	if (!*request) {
		*request = h; /* headers seen: answer at the next call, so that the connection can
				 be kept */
		return MHD_YES;
	}
	buf_init(&out.body, METRICS_BYTES_MAX);
	route(h, method, url, &out);
	result = send_answer(connection, &out);
	buf_fini(&out.body);
	return result;
}

__attribute__((format(printf, 2, 0))) static void log_line(
	void *arg, const char *format, va_list ap)
{
	char text[256];

	(void)arg;
	(void)vsnprintf(text, sizeof(text), format, ap); /* cut to fit by design */
	log_debug("http", LOG_S("message", text));
}

static struct MHD_Daemon *start_daemon(struct http_server *h)
{
	return MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_USE_ITC,
		0, NULL, NULL, serve, h, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
		MHD_OPTION_LISTEN_SOCKET, h->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_PER_IP, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
}

static int open_socket(const char *text, struct fd_store *store, int *ret_fd, struct err *e)
{
	struct listen_address address;
	int r = listen_parse(text, &address, e);

	if (r == 0 && address.unix_path)
		r = err_set(e, -EINVAL, "BAD_ADDRESS", "http.listen cannot be a Unix socket");
	if (r == 0)
		r = listen_open(&address, text, store, STORE_NAME, ret_fd, e);
	return r < 0 ? err_wrap(e, r, "http.listen") : 0;
}

int http_server_start(
	struct http_server **ret_http, struct api_server *s, struct fd_store *store, struct err *e)
{
	const char *text = s->node->cfg->http_listen;
	const union MHD_DaemonInfo *info;
	_cleanup_close_ int fd = -1;
	struct http_server *h;
	int r;

	*ret_http = NULL;
	if (!text || !text[0]) {
		if (store)
			(void)store->drop(store, STORE_NAME); /* who asks there waits */
		return 0;
	}
	r = open_socket(text, store, &fd, e);
	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->api = s;
	h->store = store;
	h->listen_fd = fd;
	h->daemon = start_daemon(h);
	if (!h->daemon) {
		free(h);
		return err_set(e, -EIO, "", "http.listen: cannot serve at %s", text);
	}
	(void)TAKE_FD(fd); /* libmicrohttpd's now */
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
	h->port = info ? info->port : 0;
	*ret_http = h;
	log_info("listening", LOG_S("address", text), LOG_S("protocol", "http"),
		LOG_U("port", h->port));
	return 0;
}

struct http_server *http_server_stop(struct http_server *h, bool keep)
{
	if (!h)
		return NULL;
	/* Hands the socket back unharmed: stopping would shut it down for all who have a copy. */
	if (MHD_quiesce_daemon(h->daemon) != MHD_INVALID_SOCKET)
		(void)close(h->listen_fd);
	MHD_stop_daemon(h->daemon);
	if (!keep && h->store)
		(void)h->store->drop(h->store, STORE_NAME); /* we end anyway */
	free(h);
	return NULL;
}

uint16_t http_server_port(const struct http_server *h)
{
	return h ? h->port : 0;
}
