/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of WorkflowService: decode, authorise, call the service, encode. They run on threads of
 * their own class, block for as long as the verb takes, and wait for a slow reader of a stream.
 */
#include <errno.h>
#include <string.h>

#include "access.h"
#include "arena.h"
#include "base/err.h"
#include "call.h"
#include "codec_workflow.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/node.h"

#define BATCH_COUNT 256u
#define BATCH_BYTES (64u << 10)

/* Decode and complete what names the workspace. */
static int find_workspace(const struct rpc_call *call, const Coppice__V1__WorkspaceRef *in,
	struct wf_call *ret_call, struct err *e)
{
	int r = codec_workspace(in, ret_call, e);

	ret_call->mounts = call->server->node->mounts;
	ret_call->cancel = call->cancel;
	ret_call->deadline_ns = call->deadline_ns;
	return r == 0 ? access_key(call, in->tenant, &ret_call->key, e) : r;
}

/* ---- status ---- */

struct status_batch {
	struct rpc_call *call;
	struct arena arena; /* of the batch */
	Coppice__V1__StatusResponse out;
	Coppice__V1__StatusEntry *entries[BATCH_COUNT];
	size_t bytes;
};

static void batch_begin(struct status_batch *b)
{
	arena_init(&b->arena, ARENA_MAX_BYTES);
	coppice__v1__status_response__init(&b->out);
	b->out.entries = b->entries;
	b->bytes = 0;
}

static int batch_send(struct status_batch *b)
{
	int r = 0;

	if (b->out.n_entries || b->out.head)
		r = rpc_stream_send_wait(b->call, &b->out.base);
	arena_fini(&b->arena);
	batch_begin(b);
	return r;
}

static int batch_add(void *arg, const struct wf_status_entry *entry)
{
	struct status_batch *b = arg;
	Coppice__V1__StatusEntry *out = codec_status_entry(entry, &b->arena);

	if (!out)
		return -ENOMEM;
	b->entries[b->out.n_entries++] = out;
	b->bytes += out->path.len + out->old_path.len + 32;
	return b->out.n_entries == BATCH_COUNT || b->bytes >= BATCH_BYTES ? batch_send(b) : 0;
}

int rpc_status(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__StatusRequest *in = (const void *)message;
	struct status_batch *b = arena_alloc(&call->arena, sizeof(*b));
	struct wf_status_request rq;
	struct wf_head head = {0};
	struct wf_call wf;
	int r = b ? find_workspace(call, in->workspace, &wf, e) : -ENOMEM;

	if (r == 0)
		r = codec_status_request(in, &call->arena, &rq, e);
	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r < 0)
		return r;
	b->call = call;
	batch_begin(b);
	r = wf_status(&wf, &rq, batch_add, b, &head, e);
	if (r == 0) { /* the last one tells where it stands */
		b->out.head = codec_head(&head, &b->arena);
		r = b->out.head ? batch_send(b) : -ENOMEM;
	}
	arena_fini(&b->arena);
	if (r == 0)
		rpc_stream_close(call);
	return r;
}
