/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WatchMounts: a subscription in the registry that feeds a stream. The registry calls event() in
 *order and with its lock held, so all it does is pack and queue. The subscription ends on the
 *closing thread, where waiting for a running event() is harmless.
 *
 *	opened ──► subscribed (events flow) ──► attached: the stream's end unsubscribes
 *	              └─ the stream ended before that: the handler unsubscribes itself
 */
#include <errno.h>
#include <string.h>

#include "access.h"
#include "arena.h"
#include "base/err.h"
#include "call.h"
#include "codec_mount.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"

/* Lives in the call's arena. */
struct watch {
	struct rpc_call *call;
	const char *mount_id; /* NULL: all of the filter */
	struct mount_filter filter;
	struct mount_watch *subscription;
};

static bool wanted(const struct watch *w, const struct mount_event *event)
{
	return !w->mount_id || !event->mount || strcmp(event->mount->mount_id, w->mount_id) == 0;
}

static void event(void *arg, const struct mount_event *ev)
{
	struct watch *w = arg;
	Coppice__V1__MountEvent *out;
	struct arena a;

	if (!wanted(w, ev))
		return;
	arena_init(&a, ARENA_MAX_BYTES);
	out = codec_mount_event(ev, &a);
	if (out)
		(void)rpc_stream_send(w->call, &out->base); /* a failure has ended the stream */
	else
		rpc_fail(w->call, -ENOMEM, NULL);
	arena_fini(&a);
}

static void unsubscribe(struct rpc_call *call, void *arg)
{
	struct watch *w = arg;

	mounts_unwatch(call->server->node->mounts, w->subscription);
}

static int decode(struct rpc_call *call, const Coppice__V1__WatchMountsRequest *in, struct watch *w,
	struct err *e)
{
	struct mount_key key;
	int r = in->mount_id[0] ? codec_mount_key(in->mount_id, "", &key, e) : 0;

	if (r < 0)
		return r;
	w->call = call;
	w->mount_id = in->mount_id[0] ? in->mount_id : NULL;
	return access_scope(call, in->tenant, &w->filter.tenant, e);
}

int rpc_watch_mounts(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__WatchMountsRequest *in = (const void *)message;
	struct mounts *mounts = call->server->node->mounts;
	struct watch *w = arena_alloc(&call->arena, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = decode(call, in, w, e);
	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r == 0)
		r = mounts_watch(
			mounts, &w->filter, in->since_sequence, event, w, &w->subscription);
	if (r < 0)
		return r;
	if (!rpc_stream_attach(call, unsubscribe, w))
		mounts_unwatch(mounts, w->subscription);
	return 0;
}
