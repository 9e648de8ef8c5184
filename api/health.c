/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1: SERVING for the server and each of its services until it drains, NOT_SERVING
 * after. Watchers are a list in the server, guarded by its lock, and get the present status at once
 * and one message when it changes.
 *
 * Threads: handlers inline; health_changed on whichever thread drains; watch_end on the closing
 * thread.
 */
#include <errno.h>
#include <grpc/health/v1/health.pb-c.h>
#include <string.h>

#include "base/err.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/node.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

struct health_watcher {
	struct list link; /* guarded by the server's mu */
	struct rpc_call *call;
	bool known; /* a service of ours */
};

/* "" or the service part of some method's path. */
static bool known_service(const char *name)
{
	size_t len = strlen(name);

	if (!len)
		return true;
	for (size_t i = 0; i < rpc_method_count; i++)
		if (strncmp(rpc_methods[i].path + 1, name, len) == 0 &&
			rpc_methods[i].path[1 + len] == '/')
			return true;
	return false;
}

static health_status status_now(struct api_server *s)
{
	return atomic_load(&s->draining) || atomic_load(&s->node->draining)
		       ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
		       : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

int rpc_health_check(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Grpc__Health__V1__HealthCheckRequest *in = (const void *)message;
	Grpc__Health__V1__HealthCheckResponse out = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	if (!known_service(in->service))
		return err_set(
			e, -ENOENT, "SERVICE_NOT_FOUND", "no service \"%s\" here", in->service);
	out.status = status_now(call->server);
	return rpc_reply(call, &out.base);
}

static void send_status(const struct health_watcher *w)
{
	Grpc__Health__V1__HealthCheckResponse out = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	out.status =
		w->known ? status_now(w->call->server)
			 : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
	(void)rpc_stream_send(w->call, &out.base); /* a failure has ended the stream */
}

static void watch_end(struct rpc_call *call, void *arg)
{
	struct health_watcher *w = arg;

	LOCK_GUARD(&call->server->mu);
	list_remove(&w->link);
}

int rpc_health_watch(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Grpc__Health__V1__HealthCheckRequest *in = (const void *)message;
	struct health_watcher *w = arena_alloc(&call->arena, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = rpc_stream_open(call, e);
	if (r < 0)
		return r;
	list_init(&w->link);
	w->call = call;
	w->known = known_service(in->service);

	LOCK_GUARD(&call->server->mu);
	if (rpc_stream_attach(call, watch_end, w)) {
		list_push_back(&call->server->health_watchers, &w->link);
		send_status(w);
	}
	return 0;
}

void health_changed(struct api_server *s)
{
	LOCK_GUARD(&s->mu);
	list_for_each (it, &s->health_watchers)
		send_status(list_entry(it, struct health_watcher, link));
}
