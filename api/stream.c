/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a stream on their way out: a queue that is bounded in bytes, per stream and over all
 * of them, with one message in grpc's hands at a time. Who feeds it (a registry with its lock held)
 * never waits: a peer that does not read fast enough loses its stream with RESOURCE_EXHAUSTED and
 * resumes later.
 *
 * The subscription that feeds a stream is taken down on the closing thread, because that may have
 * to wait for a feeder, and the end of a stream may be noticed by the feeder itself.
 */
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "call_internal.h"
#include "server_internal.h"

struct rpc_message {
	struct list link;
	grpc_byte_buffer *buffer;
	size_t bytes;
};

void rpc_stream_init(struct rpc_stream *stream)
{
	list_init(&stream->queue);
	cond_init(&stream->room);
}

static void message_drop(struct rpc_call *call, struct rpc_message *m)
{
	list_remove(&m->link);
	call->stream.queued_bytes -= m->bytes;
	/* relaxed: a sum that is compared with a limit, nothing is published by it */
	atomic_fetch_sub_explicit(&call->server->queued_bytes, m->bytes, memory_order_relaxed);
	grpc_byte_buffer_destroy(m->buffer);
	free(m);
}

void rpc_stream_fini(struct rpc_call *call)
{
	while (!list_empty(&call->stream.queue))
		message_drop(call,
			list_entry(list_first(&call->stream.queue), struct rpc_message, link));
	cond_fini(&call->stream.room);
}

static void run_end(void *arg)
{
	struct rpc_call *call = arg;

	call->stream.end(call, call->stream.end_arg);
	(void)rpc_unref(call);
}

void rpc_stream_over_locked(struct rpc_call *call)
{
	struct rpc_stream *stream = &call->stream;

	cond_broadcast(&stream->room);
	list_for_each_safe (it, &stream->queue) {
		struct rpc_message *m = list_entry(it, struct rpc_message, link);

		if (!stream->sending || it != list_first(&stream->queue))
			message_drop(call, m);
	}
	if (stream->end && !stream->end_queued &&
		pool_submit(call->server->closer, run_end, call, false) == 0)
		stream->end_queued = true; /* else the server's tick tries again */
}

/* Under mu, with something in the queue and nothing being sent. */
static void send_next(struct rpc_call *call)
{
	struct rpc_message *m =
		list_entry(list_first(&call->stream.queue), struct rpc_message, link);
	grpc_op ops[2] = {{0}};
	size_t n = 0;

	if (!call->headers_sent)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[n].data.send_message.send_message = m->buffer;
	ops[n++].op = GRPC_OP_SEND_MESSAGE;
	call->headers_sent = true;
	call->stream.sending = true;
	rpc_batch_locked(call, ops, n, &call->on_send, rpc_stream_sent);
}

void rpc_stream_sent(struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = rpc_call_of(tag, on_send);

	(void)ok; /* not sent: RECV_CLOSE ends the call */
	lock_acquire(&call->mu);
	call->stream.sending = false;
	message_drop(call, list_entry(list_first(&call->stream.queue), struct rpc_message, link));
	cond_broadcast(&call->stream.room);
	if (call->state.state < RPC_FINISHING) {
		if (!list_empty(&call->stream.queue))
			send_next(call);
		else if (call->finish_pending)
			rpc_finish_locked(call, GRPC_STATUS_OK, NULL);
	}
	lock_release(&call->mu);
	(void)rpc_unref(call);
}

int rpc_stream_open(struct rpc_call *call, struct err *e)
{
	struct api_server *s = call->server;

	LOCK_GUARD(&s->mu);
	if (s->stopping)
		return api_say_stopping(s, e);
	if (s->stream_count >= s->limits.streams_max)
		return err_set(e, -EAGAIN, "OVERLOADED", "too many streams are open");
	LOCK_GUARD(&call->mu);
	if (cancel_fired(call->cancel) || rpc_over_locked(call))
		return -ECANCELED;
	rpc_move_locked(call, RPC_STREAMING);
	call->stream.counted = true;
	s->stream_count++;
	return 0;
}

bool rpc_stream_attach(struct rpc_call *call, rpc_stream_end end, void *arg)
{
	LOCK_GUARD(&call->mu);
	if (rpc_over_locked(call))
		return false;
	call->stream.end = end;
	call->stream.end_arg = arg;
	ref_get(&call->refs);
	return true;
}

/* Room for `bytes` more, in this stream and in all? Takes it. */
static bool charge(struct rpc_call *call, size_t bytes)
{
	const struct api_limits *limits = &call->server->limits;
	size_t all;

	if (call->stream.queued_bytes + bytes > limits->stream_queue_bytes)
		return false;
	/* relaxed: as in message_drop */
	all = atomic_fetch_add_explicit(&call->server->queued_bytes, bytes, memory_order_relaxed);
	if (all + bytes > limits->streams_queue_bytes) {
		atomic_fetch_sub_explicit(&call->server->queued_bytes, bytes, memory_order_relaxed);
		return false;
	}
	call->stream.queued_bytes += bytes;
	return true;
}

static struct rpc_message *message_new(const ProtobufCMessage *message)
{
	struct rpc_message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	list_init(&m->link);
	m->buffer = rpc_pack(message);
	if (!m->buffer) {
		free(m);
		return NULL;
	}
	m->bytes = grpc_byte_buffer_length(m->buffer) + sizeof(*m);
	return m;
}

int rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *message)
{
	struct rpc_message *m = message_new(message);
	struct err e = {0};
	int r = 0;

	LOCK_GUARD(&call->mu);
	if (rpc_over_locked(call))
		r = -EPIPE;
	else if (!m)
		r = -ENOMEM;
	else if (!charge(call, m->bytes))
		r = err_set(&e, -ENOBUFS, "SLOW_CONSUMER",
			"the stream is not read fast enough; resume after the last event seen");
	if (r < 0) {
		if (m) {
			grpc_byte_buffer_destroy(m->buffer);
			free(m);
		}
		if (r != -EPIPE)
			rpc_fail_locked(call, r, &e);
		return r;
	}
	list_push_back(&call->stream.queue, &m->link);
	if (!call->stream.sending)
		send_next(call);
	return 0;
}

int rpc_stream_send_wait(struct rpc_call *call, const ProtobufCMessage *message)
{
	int r = 0;

	lock_acquire(&call->mu);
	while (r == 0 && !rpc_over_locked(call) &&
		call->stream.queued_bytes > call->server->limits.stream_queue_bytes / 4)
		if (!cond_wait_until(&call->stream.room, &call->mu, call->deadline_ns))
			r = -ETIMEDOUT;
	lock_release(&call->mu);
	return r < 0 ? r : rpc_stream_send(call, message);
}
