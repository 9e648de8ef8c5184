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
	int r = b ? access_workspace(call, in->workspace, &wf, e) : -ENOMEM;

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

/* ---- changes ---- */

int rpc_add(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__AddRequest *in = (const void *)message;
	Coppice__V1__AddResponse out = COPPICE__V1__ADD_RESPONSE__INIT;
	struct wf_add_request rq;
	struct wf_add_result result;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = codec_add_request(in, &call->arena, &rq, e);
	if (r == 0)
		r = wf_add(&wf, &rq, &result, e);
	if (r < 0)
		return r;
	out.files = result.files;
	out.bytes = result.bytes;
	out.removed = result.removed;
	out.head = codec_head(&result.head, &call->arena);
	return out.head ? rpc_reply(call, &out.base) : -ENOMEM;
}

int rpc_reset(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__ResetRequest *in = (const void *)message;
	Coppice__V1__ResetResponse out = COPPICE__V1__RESET_RESPONSE__INIT;
	struct wf_reset_request rq;
	struct wf_reset_result result;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = codec_reset_request(in, &call->arena, &rq, e);
	if (r == 0)
		r = wf_reset(&wf, &rq, &result, e);
	if (r < 0)
		return r;
	out.staged = result.staged;
	out.files = result.files;
	out.head = codec_head(&result.head, &call->arena);
	return out.head ? rpc_reply(call, &out.base) : -ENOMEM;
}

int rpc_commit(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__CommitRequest *in = (const void *)message;
	Coppice__V1__CommitResponse out = COPPICE__V1__COMMIT_RESPONSE__INIT;
	struct wf_commit_request rq;
	struct wf_commit_result result;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = codec_commit_request(in, &rq, e);
	if (r == 0)
		r = wf_commit(&wf, &rq, &result, e);
	if (r < 0)
		return r;
	out.commit = result.commit;
	out.tree = result.tree;
	out.parents = codec_parents(result.parent, &call->arena);
	out.n_parents = 1;
	out.added = result.added;
	out.modified = result.modified;
	out.deleted = result.deleted;
	return out.parents ? rpc_reply(call, &out.base) : -ENOMEM;
}

/* ---- log ---- */

static int send_log_entry(void *arg, const struct wf_log_entry *entry)
{
	struct rpc_call *call = arg;
	Coppice__V1__LogResponse out = COPPICE__V1__LOG_RESPONSE__INIT;
	Coppice__V1__LogEntry *entries[1];
	struct arena a;
	int r;

	arena_init(&a, ARENA_MAX_BYTES);
	entries[0] = codec_log_entry(entry, &a);
	out.entries = entries;
	out.n_entries = 1;
	r = entries[0] ? rpc_stream_send_wait(call, &out.base) : -ENOMEM;
	arena_fini(&a);
	return r;
}

int rpc_log(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__LogRequest *in = (const void *)message;
	Coppice__V1__LogResponse out = COPPICE__V1__LOG_RESPONSE__INIT;
	struct wf_head head;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r == 0)
		r = wf_log(&wf, in->limit, send_log_entry, call, &head, e);
	if (r < 0)
		return r;
	out.head = codec_head(&head, &call->arena);
	r = out.head ? rpc_stream_send_wait(call, &out.base) : -ENOMEM;
	if (r == 0)
		rpc_stream_close(call);
	return r;
}

/* ---- diff ---- */

static int send_text(void *arg, const char *text, size_t len)
{
	struct rpc_call *call = arg;

	while (len) {
		size_t piece = len < BATCH_BYTES ? len : BATCH_BYTES;
		Coppice__V1__DiffResponse out = COPPICE__V1__DIFF_RESPONSE__INIT;
		int r;

		out.text = (ProtobufCBinaryData){piece, (uint8_t *)text};
		r = rpc_stream_send_wait(call, &out.base);
		if (r < 0)
			return r;
		text += piece;
		len -= piece;
	}
	return 0;
}

int rpc_diff(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__DiffRequest *in = (const void *)message;
	Coppice__V1__DiffResponse out = COPPICE__V1__DIFF_RESPONSE__INIT;
	struct wf_diff_request rq;
	struct wf_head head;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = codec_diff_request(in, &call->arena, &rq, e);
	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r == 0)
		r = wf_diff(&wf, &rq, send_text, call, &head, e);
	if (r < 0)
		return r;
	out.head = codec_head(&head, &call->arena);
	r = out.head ? rpc_stream_send_wait(call, &out.base) : -ENOMEM;
	if (r == 0)
		rpc_stream_close(call);
	return r;
}

/* ---- push ---- */

_Static_assert((int)WF_PUSH_LFS == COPPICE__V1__PUSH_PROGRESS__PHASE__LFS, "phase");

static int send_progress(void *arg, const struct wf_push_progress *p)
{
	struct rpc_call *call = arg;
	Coppice__V1__PushResponse out = COPPICE__V1__PUSH_RESPONSE__INIT;
	Coppice__V1__PushProgress progress = COPPICE__V1__PUSH_PROGRESS__INIT;

	progress.phase = (Coppice__V1__PushProgress__Phase)p->phase;
	progress.objects = p->objects;
	progress.total = p->total;
	progress.bytes = p->bytes;
	if (p->text)
		progress.text = (ProtobufCBinaryData){strlen(p->text), (uint8_t *)p->text};
	out.progress = &progress;
	return rpc_stream_send_wait(call, &out.base);
}

int rpc_push(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__PushRequest *in = (const void *)message;
	Coppice__V1__PushResponse out = COPPICE__V1__PUSH_RESPONSE__INIT;
	Coppice__V1__PushResult result = COPPICE__V1__PUSH_RESULT__INIT;
	struct wf_push_request rq;
	struct wf_push_result pushed;
	struct wf_call wf;
	int r = access_workspace(call, in->workspace, &wf, e);

	if (r == 0)
		r = codec_push_request(in, &rq, e);
	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r == 0)
		r = wf_push(&wf, &rq, send_progress, call, &pushed, e);
	if (r < 0)
		return r;
	result.ref = pushed.ref;
	result.old = pushed.old;
	result.new_ = pushed.new;
	result.created = pushed.created;
	result.up_to_date = pushed.up_to_date;
	result.change_list = pushed.change_list;
	out.result = &result;
	r = rpc_stream_send_wait(call, &out.base);
	if (r == 0)
		rpc_stream_close(call);
	return r;
}
