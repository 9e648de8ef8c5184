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
#include "codec_workflow.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"
#include "service/workflow.h"

/* Which mount, as the caller may name it. */
struct target {
	const char *mount_id, *job_id, *tenant;
	uint64_t expected_generation;
};

static int find_key(const struct rpc_call *call, const struct target *t, struct mount_key *ret_key,
	struct err *e)
{
	int r = codec_mount_key(t->mount_id, t->job_id, ret_key, e);

	return r < 0 ? r : access_key(call, t->tenant, ret_key, e);
}

/* Ends `info`. */
static int reply(struct rpc_call *call, struct mount_info *info)
{
	Coppice__V1__Mount *out = codec_mount(info, &call->arena);
	int r = out ? rpc_reply(call, &out->base) : -ENOMEM;

	mount_info_fini(info);
	return r;
}

static int switch_list(struct rpc_call *call, const struct target *t,
	const struct mount_change_source *source, struct err *e)
{
	struct mount_key key;
	const struct mount_switch_call rq = {.key = &key,
		.expected_generation = t->expected_generation,
		.cancel = call->cancel,
		.deadline_ns = call->deadline_ns};
	struct mount_info info = {0};
	int r = find_key(call, t, &key, e);

	if (r == 0)
		r = mounts_set_change_list(call->server->node->mounts, &rq, source, &info, e);
	return r < 0 ? r : reply(call, &info);
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

static int decode_choice(
	Coppice__V1__OnConflict in, enum wf_conflict_choice *ret_choice, struct err *e)
{
	switch (in) {
	case COPPICE__V1__ON_CONFLICT__FAIL:
		*ret_choice = WF_CONFLICT_FAIL;
		return 0;
	case COPPICE__V1__ON_CONFLICT__KEEP_MINE:
		*ret_choice = WF_CONFLICT_KEEP_MINE;
		return 0;
	case COPPICE__V1__ON_CONFLICT__TAKE_THEIRS:
		*ret_choice = WF_CONFLICT_TAKE_THEIRS;
		return 0;
	case COPPICE__V1__ON_CONFLICT__MERGE_LINES:
		*ret_choice = WF_CONFLICT_MERGE;
		return 0;
	default:
		return err_field(e, "on_conflict", "%d is not a known value", (int)in);
	}
}

/* Ends both. */
static int reply_rebased(
	struct rpc_call *call, struct mount_info *info, struct wf_rebase_result *result)
{
	Coppice__V1__Mount *out = codec_mount(info, &call->arena);
	int r = out ? codec_rebased(result, &call->arena, out) : -ENOMEM;

	if (r == 0)
		r = rpc_reply(call, &out->base);
	mount_info_fini(info);
	wf_rebase_result_fini(result);
	return r;
}

int rpc_rebase(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__RebaseRequest *in = (const void *)message;
	struct wf_rebase_request rq = {.revision = in->revision};
	struct wf_call wf = {.mounts = call->server->node->mounts,
		.cancel = call->cancel,
		.admin = call->admin,
		.deadline_ns = call->deadline_ns,
		.expected_generation = in->expected_generation};
	struct wf_rebase_result result = {.commits = NULL};
	struct mount_info info = {0};
	int r = decode_choice(in->on_conflict, &rq.on_conflict, e);

	if (r == 0 && in->committer)
		r = codec_signature(in->committer, "committer", &rq.committer, e);
	if (r == 0)
		r = find_key(call, &(struct target){in->mount_id, in->job_id, in->tenant, 0},
			&wf.key, e);
	if (r == 0)
		r = wf_rebase(&wf, &rq, &info, &result, e);
	return r < 0 ? r : reply_rebased(call, &info, &result);
}

static int send_entry(void *arg, const struct wf_list_entry *entry)
{
	struct rpc_call *call = arg;
	Coppice__V1__ListChangeListResponse out = COPPICE__V1__LIST_CHANGE_LIST_RESPONSE__INIT;
	Coppice__V1__ChangeListEntry one = COPPICE__V1__CHANGE_LIST_ENTRY__INIT, *entries = &one;

	one.path = (ProtobufCBinaryData){entry->path_len, (uint8_t *)(uintptr_t)entry->path};
	one.mode = entry->mode;
	one.old_mode = entry->old_mode;
	out.entries = &entries;
	out.n_entries = 1;
	return rpc_stream_send_wait(call, &out.base);
}

int rpc_list_change_list(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__ListChangeListRequest *in = (const void *)message;
	Coppice__V1__ListChangeListResponse out = COPPICE__V1__LIST_CHANGE_LIST_RESPONSE__INIT;
	struct wf_head head;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r == 0)
		r = wf_list_entries(&wf, send_entry, call, &head, e);
	if (r < 0)
		return r;
	out.head = codec_head(&head, &call->arena);
	r = out.head ? rpc_stream_send_wait(call, &out.base) : -ENOMEM;
	if (r == 0)
		rpc_stream_close(call);
	return r;
}

int rpc_fetch(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__FetchRequest *in = (const void *)message;
	Coppice__V1__FetchResponse out = COPPICE__V1__FETCH_RESPONSE__INIT;
	struct wf_fetch_result result;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = wf_fetch(&wf, in->revision, &result, e);
	if (r < 0)
		return r;
	out.revision = result.revision;
	out.commit = result.commit;
	out.time = result.time_s;
	out.moved = result.moved;
	out.head = codec_head(&result.head, &call->arena);
	return out.head ? rpc_reply(call, &out.base) : -ENOMEM;
}
