/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of the calls that move a mount while jobs use it. They run on pool threads and may
 * block.
 */
#include <errno.h>

#include "access.h"
#include "base/err.h"
#include "call.h"
#include "codec_mount.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"

/* Which mount, as the caller may name it. */
struct target {
	const char *mount_id, *job_id, *tenant;
	uint64_t expected_generation;
};

static int switch_list(struct rpc_call *call, const struct target *t,
	const struct mount_change_source *source, struct err *e)
{
	struct mount_key key;
	const struct mount_switch_call rq = {.key = &key,
		.expected_generation = t->expected_generation,
		.cancel = call->cancel,
		.deadline_ns = call->deadline_ns};
	struct mount_info info = {0};
	Coppice__V1__Mount *out;
	int r = codec_mount_key(t->mount_id, t->job_id, &key, e);

	if (r == 0)
		r = access_key(call, t->tenant, &key, e);
	if (r == 0)
		r = mounts_set_change_list(call->server->node->mounts, &rq, source, &info, e);
	if (r < 0)
		return r;
	out = codec_mount(&info, &call->arena);
	r = out ? rpc_reply(call, &out->base) : -ENOMEM;
	mount_info_fini(&info);
	return r;
}

int rpc_set_change_list(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__SetChangeListRequest *in = (const void *)message;
	const struct mount_change_source *source;
	int r;

	if (!in->change_list)
		return err_field(e, "change_list", "is needed; ClearChangeList takes it away");
	r = codec_change_source(in->change_list, &call->arena, &source, e);
	return r < 0 ? r
		     : switch_list(call,
			       &(struct target){in->mount_id, in->job_id, in->tenant,
				       in->expected_generation},
			       source, e);
}

int rpc_clear_change_list(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__ClearChangeListRequest *in = (const void *)message;

	return switch_list(call,
		&(struct target){in->mount_id, in->job_id, in->tenant, in->expected_generation},
		NULL, e);
}
