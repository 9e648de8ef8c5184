/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of MountService: decode, authorise, call the registry, encode. They run on pool threads
 * and may block. The deadline and the cancellation of the call go down to where the time is spent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "base/err.h"
#include "base/log.h"
#include "call.h"
#include "codec_mount.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"
#include "service/tenants.h"

/* Asked of the registry at once, and the size at which a page ends early: an answer must fit into a
 * message. */
#define LIST_BATCH     50
#define LIST_BYTES_MAX (2 << 20)

static struct mounts *mounts_of(const struct rpc_call *call)
{
	return call->server->node->mounts;
}

static int reply_mount(struct rpc_call *call, const struct mount_info *info)
{
	Coppice__V1__Mount *out = codec_mount(info, &call->arena);

	return out ? rpc_reply(call, &out->base) : -ENOMEM;
}

/* What the request leaves open: the tenant, its only origin, the owner. */
static int complete_request(const struct rpc_call *call, const Coppice__V1__CreateMountRequest *in,
	struct mount_request *rq, struct err *e)
{
	struct tenant *tenant = call->tenant;
	int r = access_tenant(call, in->tenant, &tenant, e);

	if (r < 0)
		return r;
	rq->tenant = tenant_name(tenant);
	if (!rq->origin[0])
		rq->origin = tenant_only_origin(tenant);
	if (!rq->origin)
		return err_field(e, "origin", "is needed: \"%s\" may use more than one, or none",
			rq->tenant);
	if (!in->owner && call->peer.kind == PEER_IS_UNIX) {
		rq->uid = call->peer.uid;
		rq->gid = call->peer.gid;
	}
	r = tenant_may_mount(tenant, rq->origin, rq->path, e);
	if (r < 0 || !rq->mountpoint || !rq->mountpoint[0])
		return r;
	return tenant_may_bind(tenant, call->admin,
		call->peer.kind == PEER_IS_UNIX ? &call->peer.uid : NULL, rq->mountpoint, e);
}

int rpc_create_mount(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__CreateMountRequest *in = (const void *)message;
	struct mount_request rq;
	struct mount_info info = {0};
	int r = codec_create_request(in, &call->arena, &rq, e);

	if (r == 0)
		r = complete_request(call, in, &rq, e);
	if (r == 0)
		r = mounts_create(mounts_of(call), &rq, call->cancel, call->deadline_ns, &info, e);
	if (r < 0)
		return r;
	r = reply_mount(call, &info);
	mount_info_fini(&info);
	return r;
}

/* Decode and complete what names a mount in four requests. */
static int find_key(const struct rpc_call *call, const char *mount_id, const char *job_id,
	const char *tenant, struct mount_key *ret_key, struct err *e)
{
	int r = codec_mount_key(mount_id, job_id, ret_key, e);

	return r < 0 ? r : access_key(call, tenant, ret_key, e);
}

int rpc_get_mount(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__GetMountRequest *in = (const void *)message;
	struct mount_info info = {0};
	struct mount_key key;
	int r = find_key(call, in->mount_id, in->job_id, in->tenant, &key, e);

	if (r == 0)
		r = mounts_get(mounts_of(call), &key, &info, e);
	if (r < 0)
		return r;
	r = reply_mount(call, &info);
	mount_info_fini(&info);
	return r;
}

/* Taken before the deletion, which ends what they use. */
static int note_holders(struct rpc_call *call, const struct mount_key *key,
	Coppice__V1__Holder ***ret_holders, unsigned *ret_count)
{
	struct mount_holder *holders = NULL;
	int r = mounts_holders(mounts_of(call), key, &holders, ret_count);

	if (r < 0)
		return r;
	*ret_holders = codec_holders(holders, *ret_count, &call->arena);
	if (*ret_count)
		log_info("mount_in_use", LOG_S("mount_id", holders[0].mount_id),
			LOG_U("processes", *ret_count), LOG_I("pid", holders[0].pid),
			LOG_S("command", holders[0].command));
	free(holders);
	return *ret_holders ? 0 : -ENOMEM;
}

int rpc_delete_mount(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__DeleteMountRequest *in = (const void *)message;
	Coppice__V1__Holder **holders = NULL;
	Coppice__V1__Mount *out;
	struct mount_info info = {0};
	struct mount_key key;
	unsigned count = 0;
	int r = find_key(call, in->mount_id, in->job_id, in->tenant, &key, e);

	if (r == 0 && in->report_holders)
		r = note_holders(call, &key, &holders, &count);
	if (r == 0)
		r = mounts_delete(mounts_of(call), &key, call->deadline_ns, &info, e);
	if (r < 0)
		return r;
	out = codec_mount(&info, &call->arena);
	if (out) {
		out->holders = holders;
		out->n_holders = count;
	}
	r = out ? rpc_reply(call, &out->base) : -ENOMEM;
	mount_info_fini(&info);
	return r;
}

int rpc_renew_lease(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__RenewLeaseRequest *in = (const void *)message;
	struct mount_info info = {0};
	struct mount_key key;
	int r = find_key(call, in->mount_id, in->job_id, in->tenant, &key, e);

	if (r == 0)
		r = codec_lease(in->lease_seconds, e);
	if (r == 0)
		r = mounts_renew(mounts_of(call), &key, in->lease_seconds, &info, e);
	if (r < 0)
		return r;
	r = reply_mount(call, &info);
	mount_info_fini(&info);
	return r;
}

int rpc_update_mount(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__UpdateMountRequest *in = (const void *)message;
	struct mount_update update;
	struct mount_info info = {0};
	struct mount_key key;
	int r = find_key(call, in->mount_id, in->job_id, in->tenant, &key, e);

	if (r == 0)
		r = codec_update_request(in, &call->arena, &update, e);
	if (r == 0)
		r = mounts_update(mounts_of(call), &key, &update, &info, e);
	if (r < 0)
		return r;
	r = reply_mount(call, &info);
	mount_info_fini(&info);
	return r;
}

/* The registry's answer into the page; frees it. */
static int add_page(Coppice__V1__ListMountsResponse *out, struct mount_info *infos, unsigned count,
	size_t *bytes, struct arena *a)
{
	int r = 0;

	for (unsigned i = 0; i < count; i++) {
		Coppice__V1__Mount *mount = r == 0 ? codec_mount(&infos[i], a) : NULL;

		mount_info_fini(&infos[i]);
		if (!mount) {
			r = -ENOMEM;
			continue;
		}
		*bytes += coppice__v1__mount__get_packed_size(mount);
		out->mounts[out->n_mounts++] = mount;
	}
	free(infos);
	return r;
}

/* In small steps, so that the registry is never held for long and the answer never grows past a
 * message. */
static int list_page(struct rpc_call *call, struct mount_filter *filter,
	Coppice__V1__ListMountsResponse *out, char token[64], struct err *e)
{
	unsigned wanted = filter->page_size;
	char from[64] = "";
	size_t bytes = 0;
	int r = 0;

	out->mounts = arena_array(&call->arena, wanted, sizeof(out->mounts[0]));
	if (!out->mounts)
		return -ENOMEM;
	do {
		struct mount_info *infos = NULL;
		unsigned count = 0, left = wanted - (unsigned)out->n_mounts;

		filter->page_size = left < LIST_BATCH ? left : LIST_BATCH;
		r = mounts_list(mounts_of(call), filter, &infos, &count, token, e);
		if (r == 0)
			r = add_page(out, infos, count, &bytes, &call->arena);
		memcpy(from, token, sizeof(from));
		filter->page_token = from;
	} while (r == 0 && token[0] && out->n_mounts < wanted && bytes < LIST_BYTES_MAX);
	return r;
}

int rpc_list_mounts(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__ListMountsRequest *in = (const void *)message;
	Coppice__V1__ListMountsResponse out = COPPICE__V1__LIST_MOUNTS_RESPONSE__INIT;
	struct mount_filter filter;
	char token[64] = "";
	int r = codec_list_request(in, &call->arena, &filter, e);

	if (r == 0)
		r = access_scope(call, in->tenant, &filter.tenant, e);
	if (r == 0)
		r = list_page(call, &filter, &out, token, e);
	if (r < 0)
		return r;
	out.next_page_token = token;
	return rpc_reply(call, &out.base);
}
