/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of NodeService that change the node's own life, admins only: no new mounts, the end.
 * What the process does as a whole (stop) it does on its main thread, which waits for signals: so
 * it is sent one. They run on pool threads.
 */
#include <coppice/v1/node.pb-c.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "arena.h"
#include "base/err.h"
#include "base/log.h"
#include "call.h"
#include "codec_mount.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"

static int put_holders(struct rpc_call *call, struct mounts *m, Coppice__V1__DrainStatus *out)
{
	struct mount_holder *holders = NULL;
	unsigned count = 0;
	int r = mounts_holders(m, NULL, &holders, &count);

	if (r < 0)
		return r;
	out->holders = codec_holders(holders, count, &call->arena);
	out->n_holders = out->holders ? count : 0;
	free(holders);
	return out->holders || !count ? 0 : -ENOMEM;
}

static void drain(struct rpc_call *call, bool on)
{
	struct node *n = call->server->node;

	if (atomic_exchange(&n->draining, on) == on)
		return;
	mounts_drain(n->mounts, on);
	health_changed(call->server);
	log_info(on ? "draining" : "drain_undone", LOG_U("mounts", mounts_live_count(n->mounts)));
}

int rpc_drain(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__DrainRequest *in = (const void *)message;
	struct node *n = call->server->node;
	Coppice__V1__DrainStatus out = COPPICE__V1__DRAIN_STATUS__INIT;
	int r = 0;

	if (in->undo && in->stop)
		return err_field(e, "undo", "undo and stop exclude each other");
	if (in->undo && atomic_load(&n->stopping))
		return err_set(e, -EBUSY, "STOPPING", "the service is stopping");
	drain(call, !in->undo);
	if (in->stop && !atomic_exchange(&n->stopping, true) && kill(getpid(), SIGTERM) < 0)
		return err_wrap(e, -errno, "stop the service");
	out.draining = atomic_load(&n->draining);
	out.stopping = atomic_load(&n->stopping);
	out.mounts = mounts_live_count(n->mounts);
	if (in->report_holders)
		r = put_holders(call, n->mounts, &out);
	return r < 0 ? r : rpc_reply(call, &out.base);
}

int rpc_upgrade(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	struct node *n = call->server->node;
	Coppice__V1__UpgradeResponse out = COPPICE__V1__UPGRADE_RESPONSE__INIT;
	int r;

	(void)message; /* has no fields */
	if (!n->upgrade)
		return err_set(e, -EOPNOTSUPP, "NOT_KEPT", "this service cannot be followed");
	r = n->upgrade(n, e);
	if (r < 0)
		return r;
	out.version = codec_text(node_version(), &call->arena);
	return out.version ? rpc_reply(call, &out.base) : -ENOMEM;
}
