/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object: made when a call is asked for, freed with its last reference; and the moves that
 * every part of its life needs. The parts are call_run.c (accept to handler), call_finish.c
 * (status), stream.c (messages in between).
 *
 * Threads: tags run on the completion-queue threads; handlers on the pools; anyone with a reference
 * may send, fail or reply. The call's `mu` is around every grpc_call_start_batch, which is not
 * thread-safe for one call.
 */
#include "call.h"

#include <assert.h>
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"
#include "call_internal.h"
#include "server_internal.h"

static const struct sm_state states[] = {
	[RPC_ACCEPTING] = {"ACCEPTING", SM_BIT(RPC_RECEIVING) | SM_BIT(RPC_FINISHING)},
	[RPC_RECEIVING] = {"RECEIVING", SM_BIT(RPC_QUEUED) | SM_BIT(RPC_RUNNING) |
						SM_BIT(RPC_STREAMING) | SM_BIT(RPC_FINISHING)},
	[RPC_QUEUED] = {"QUEUED", SM_BIT(RPC_RUNNING) | SM_BIT(RPC_FINISHING)},
	[RPC_RUNNING] = {"RUNNING",
		SM_BIT(RPC_RECEIVING) | SM_BIT(RPC_STREAMING) | SM_BIT(RPC_FINISHING)},
	[RPC_STREAMING] = {"STREAMING", SM_BIT(RPC_FINISHING)},
	[RPC_FINISHING] = {"FINISHING", SM_BIT(RPC_DONE)},
	[RPC_DONE] = {"DONE", 0},
};
const struct sm_table rpc_sm = {"rpc", states, sizeof(states) / sizeof(states[0])};

static struct rpc_call *call_new(struct api_server *s, unsigned queue_index)
{
	struct rpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->cancel = cancel_new();
	if (!call->cancel) {
		free(call);
		return NULL;
	}
	call->server = s;
	call->queue_index = queue_index;
	ref_init(&call->refs);
	list_init(&call->in_calls);
	lock_init(&call->mu, LOCK_RANK_API_CALL);
	sm_init(&call->state, &rpc_sm, RPC_ACCEPTING);
	rpc_stream_init(&call->stream);
	arena_init(&call->arena, ARENA_MAX_BYTES);
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	return call;
}

/* Off the list before anything of it is taken apart: who walks the list may lock what it finds
 * there. */
static bool unlist(struct rpc_call *call)
{
	struct api_server *s = call->server;

	if (!call->accepted)
		return false;
	LOCK_GUARD(&s->mu);
	list_remove(&call->in_calls);
	if (call->stream.counted)
		s->stream_count--;
	return true;
}

/* The last one out wakes whoever stops the server. */
static void uncount(struct api_server *s)
{
	LOCK_GUARD(&s->mu);
	if (--s->call_count == 0)
		cond_broadcast(&s->changed);
}

static void call_free(struct rpc_call *call)
{
	struct api_server *s = call->server;
	bool counted = unlist(call);

	rpc_stream_fini(call);
	if (call->reply)
		grpc_byte_buffer_destroy(call->reply);
	if (call->received)
		grpc_byte_buffer_destroy(call->received);
	for (size_t i = 0; i < call->trailing_count; i++)
		grpc_slice_unref(call->trailing[i].value); /* keys are static */
	grpc_metadata_array_destroy(&call->metadata);
	grpc_call_details_destroy(&call->details);
	if (call->call)
		grpc_call_unref(call->call);
	arena_fini(&call->arena);
	call->cancel = cancel_unref(call->cancel);
	lock_fini(&call->mu);
	free(call);
	if (counted)
		uncount(s);
}

struct rpc_call *rpc_ref(struct rpc_call *call)
{
	ref_get(&call->refs);
	return call;
}

struct rpc_call *rpc_unref(struct rpc_call *call)
{
	if (call && ref_put(&call->refs))
		call_free(call);
	return NULL;
}

/* An accept that no call has come for. */
static void give_back(struct api_server *s)
{
	LOCK_GUARD(&s->mu);
	s->accept_count--;
	cond_broadcast(&s->changed);
}

/* The tag of grpc_server_request_call: a call has come, or (not ok) the server is shutting down. */
static void accepted(struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = rpc_call_of(tag, on_accept);
	struct api_server *s = call->server;

	atomic_fetch_sub_explicit(&s->queues[call->queue_index].accepts, 1, memory_order_relaxed);
	if (!ok) {
		(void)rpc_unref(call);
		give_back(s);
		return;
	}
	/* The next one first. Without memory for it the queue's tick asks again. */
	(void)rpc_accept(s, call->queue_index);
	rpc_begin(call);
}

int rpc_accept(struct api_server *s, unsigned queue_index)
{
	struct api_queue *queue = &s->queues[queue_index];
	struct rpc_call *call;

	LOCK_GUARD(&s->mu);
	if (s->stopping)
		return -ESHUTDOWN;
	call = call_new(s, queue_index);
	if (!call)
		return -ENOMEM;
	rpc_tag_give(&call->on_accept, accepted);
	if (grpc_server_request_call(s->grpc, &call->call, &call->details, &call->metadata,
		    queue->cq, queue->cq, &call->on_accept) != GRPC_CALL_OK) {
		call_free(call);
		return -ESHUTDOWN;
	}
	s->accept_count++;
	/* relaxed: a count for the tick, nothing hangs on its order */
	atomic_fetch_add_explicit(&queue->accepts, 1, memory_order_relaxed);
	return 0;
}

void rpc_move_locked(struct rpc_call *call, enum rpc_state to)
{
	int r;

	lock_assert_held(&call->mu);
	r = sm_move(&call->state, to);
	assert(r == 0);
	(void)r;
}

bool rpc_over_locked(const struct rpc_call *call)
{
	return call->finish_pending || call->state.state >= RPC_FINISHING;
}

void rpc_batch_locked(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag,
	void (*fn)(struct rpc_tag *tag, bool ok))
{
	grpc_call_error error;

	lock_assert_held(&call->mu);
	ref_get(&call->refs);
	rpc_tag_give(tag, fn);
	error = grpc_call_start_batch(call->call, ops, count, tag, NULL);
	if (error != GRPC_CALL_OK) {
		/* Wrong use of grpc, not bad luck: a reference is lost rather than one too few. */
		log_error("rpc_batch", LOG_S("grpc_error", grpc_call_error_to_string(error)),
			LOG_S("state", sm_name(&rpc_sm, call->state.state)));
		assert(error == GRPC_CALL_OK);
	}
}

void rpc_receive_locked(struct rpc_call *call)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	rpc_move_locked(call, RPC_RECEIVING);
	op.data.recv_message.recv_message = &call->received;
	rpc_batch_locked(call, &op, 1, &call->on_receive, rpc_received);
}

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	grpc_slice slice = grpc_slice_malloc(size); /* aborts without memory, as all of grpc does */
	grpc_byte_buffer *buffer;

	(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}
