/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the accepted call to the return of its handler: who calls what, may it, the request message,
 * the queue, the handler. A check that fails ends the call at once; what costs memory or time comes
 * after what is cheap.
 *
 * Threads: rpc_begin, rpc_received and rpc_closed on completion-queue threads, where nothing may
 * block; run() on a pool.
 */
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <string.h>

#include "acceptor.h"
#include "admission.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/pool.h"
#include "call_internal.h"
#include "metrics_rpc.h"
#include "prescan.h"
#include "server_internal.h"
#include "service/node.h"
#include "service/tenants.h"

static const char request_id_set[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";

/* The caller's, if it is one that can be logged, else our own. */
static void request_id_choose(struct rpc_call *call)
{
	uint64_t number = 0;

	if (auth_metadata(
		    &call->metadata, "x-request-id", call->request_id, sizeof(call->request_id)) &&
		call->request_id[0] && !call->request_id[strspn(call->request_id, request_id_set)])
		return;
	(void)io_random(&number, sizeof(number)); /* without: all zero, which is still an id */
	(void)snprintf(
		call->request_id, sizeof(call->request_id), "%016llx", (unsigned long long)number);
}

static uint64_t deadline_of(const struct rpc_call *call)
{
	gpr_timespec t = gpr_convert_clock_type(call->details.deadline, GPR_CLOCK_MONOTONIC);
	uint64_t theirs = NS_NEVER, ours = NS_NEVER;

	if (t.tv_sec < 0)
		theirs = 0;
	else if ((uint64_t)t.tv_sec < NS_NEVER / NS_PER_S - 1)
		theirs = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
	if (call->method && call->method->deadline_max_s)
		ours = call->started_ns + call->method->deadline_max_s * NS_PER_S;
	return theirs < ours ? theirs : ours;
}

static int check_method(const struct rpc_call *call, struct err *e)
{
	if (call->method)
		return 0;
	err_set(e, -ENOSYS, "METHOD_NOT_FOUND", "this version has no such method");
	return e->code;
}

static int check_caller(struct rpc_call *call, struct err *e)
{
	struct api_server *s = call->server;
	char *name;
	int r;

	if (call->method->role == RPC_ANYONE)
		return 0;
	name = grpc_call_get_peer(call->call);
	r = auth_peer(name ? name : "", acceptor_peers(s->acceptor), &call->peer, e);
	gpr_free(name);
	if (r == 0)
		r = auth_identify(s->node->tenants, &call->peer, &call->metadata, &call->tenant,
			&call->admin, e);
	if (r == 0 && call->method->role == RPC_ADMIN && !call->admin)
		r = err_set(e, -EACCES, "ADMIN_ONLY",
			"only an admin may call this; \"%s\" is not one",
			tenant_name(call->tenant));
	/* Streams have a limit of their own, and stay for hours. */
	if (r == 0 && call->method->shape == RPC_UNARY) {
		r = admission_enter(s->admission, call->tenant, call->method->class, e);
		call->admitted = r == 0;
	}
	return r;
}

/* From the accepts into the list of calls; the server waits for both when it stops. */
static int enlist(struct rpc_call *call, struct err *e)
{
	struct api_server *s = call->server;

	call->accepted = true;
	LOCK_GUARD(&s->mu);
	list_push_back(&s->calls, &call->in_calls);
	s->call_count++;
	s->accept_count--;
	if (s->stopping)
		return api_say_stopping(s, e);
	if (s->call_count > s->limits.calls_max)
		return err_set(
			e, -EAGAIN, "OVERLOADED", "too many calls in flight; try again later");
	return 0;
}

void rpc_begin(struct rpc_call *call)
{
	grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
	struct err e = {0};
	int r;

	call->started_ns = clock_mono_ns(&clock_system);
	call->method = rpc_method_find((const char *)GRPC_SLICE_START_PTR(call->details.method),
		GRPC_SLICE_LENGTH(call->details.method));
	call->deadline_ns = deadline_of(call);
	request_id_choose(call);
	rpc_metrics_begin(call->server->metrics);
	r = enlist(call, &e);
	if (r == 0)
		r = check_method(call, &e);
	if (r == 0)
		r = check_caller(call, &e);

	LOCK_GUARD(&call->mu);
	op.data.recv_close_on_server.cancelled = &call->cancelled;
	rpc_batch_locked(call, &op, 1, &call->on_close, rpc_closed);
	if (r == 0)
		rpc_receive_locked(call);
	else
		rpc_fail_locked(call, r, &e);
}

/* The peer has what it wanted, or does not want it any more. */
void rpc_closed(struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = rpc_call_of(tag, on_close);

	if (!ok || call->cancelled) {
		cancel_fire(call->cancel);
		lock_acquire(&call->mu);
		/* A handler that runs will end the call itself, when it has seen the token. */
		if (call->state.state == RPC_STREAMING || call->state.state == RPC_RECEIVING)
			rpc_fail_locked(call, -ECANCELED, NULL);
		lock_release(&call->mu);
	}
	(void)rpc_unref(call);
}

/* Unpack into the arena what has been received. */
static int unpack(struct rpc_call *call, struct err *e)
{
	grpc_byte_buffer_reader reader;
	grpc_slice bytes;
	int r;

	if (!grpc_byte_buffer_reader_init(&reader, call->received))
		return err_set(
			e, -EINVAL, "MALFORMED_REQUEST", "the request message cannot be read");
	bytes = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	r = prescan(call->method->input, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes),
		&prescan_default, e);
	if (r == 0) {
		call->input = protobuf_c_message_unpack(call->method->input, &call->arena.allocator,
			GRPC_SLICE_LENGTH(bytes), GRPC_SLICE_START_PTR(bytes));
		if (!call->input)
			r = err_set(e, -EINVAL, "MALFORMED_REQUEST",
				"the request is not a valid %s", call->method->input->name);
	}
	grpc_slice_unref(bytes);
	grpc_byte_buffer_destroy(call->received);
	call->received = NULL;
	return r;
}

/* After the handler: a failure ends the call, a conversation goes on with the next message. */
static void handled(struct rpc_call *call, int r, const struct err *e)
{
	LOCK_GUARD(&call->mu);
	if (r < 0) {
		rpc_fail_locked(call, r, e);
	} else if (call->state.state == RPC_RUNNING && call->method->shape == RPC_BIDI) {
		if (cancel_fired(call->cancel))
			rpc_fail_locked(call, -ECANCELED, NULL);
		else
			rpc_receive_locked(call);
	} else if (call->state.state == RPC_RUNNING && !call->finish_pending) {
		/* a handler that returned 0 without an answer: a bug, but not one that may hang a
		 * client */
		rpc_fail_locked(call, -EPROTO, NULL);
	}
}

static void run(void *arg)
{
	struct rpc_call *call = arg;
	struct err e = {0};
	int r;

	log_context(call->tenant ? tenant_name(call->tenant) : NULL, NULL, call->request_id);
	lock_acquire(&call->mu);
	rpc_move_locked(call, RPC_RUNNING);
	lock_release(&call->mu);
	r = cancel_check(
		call->cancel, call->deadline_ns); /* it may have waited in the queue for too long */
	if (r == 0)
		r = call->method->handle(call, call->input, &e);
	handled(call, r, &e);
	log_context_clear();
	(void)rpc_unref(call);
}

/* RECEIVING → QUEUED, and into the pool of its class. */
static void dispatch(struct rpc_call *call)
{
	struct pool *pool = call->server->pools[call->method->class];
	int r;

	ref_get(&call->refs); /* for run() */
	if (!pool) {
		run(call);
		return;
	}
	lock_acquire(&call->mu);
	rpc_move_locked(call, RPC_QUEUED);
	lock_release(&call->mu);
	r = pool_submit(pool, run, call, false);
	if (r < 0) {
		struct err e = {0};

		err_set(&e, r, r == -ESHUTDOWN ? "DRAINING" : "OVERLOADED",
			"too many calls are waiting; try again later");
		rpc_fail(call, r, &e);
		(void)rpc_unref(call);
	}
}

/* No message came: the peer has sent all it had, or the call was broken off (too large, cancelled).
 */
static void received_nothing(struct rpc_call *call)
{
	struct err e = {0};

	LOCK_GUARD(&call->mu);
	if (rpc_over_locked(call))
		return;
	if (call->method->shape == RPC_BIDI && !cancel_fired(call->cancel)) {
		if (call->stream.sending)
			call->finish_pending = true;
		else
			rpc_finish_locked(call, GRPC_STATUS_OK, NULL);
		return;
	}
	err_set(&e, -EINVAL, "MALFORMED_REQUEST", "the call has no request message");
	rpc_fail_locked(call, cancel_fired(call->cancel) ? -ECANCELED : -EINVAL,
		cancel_fired(call->cancel) ? NULL : &e);
}

void rpc_received(struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = rpc_call_of(tag, on_receive);
	struct err e = {0};
	bool over;
	int r = 0;

	lock_acquire(&call->mu);
	over = rpc_over_locked(call);
	lock_release(&call->mu);
	if (!over && ok && call->received) {
		if (call->method->shape == RPC_BIDI) {
			/* each message of a conversation starts with an empty arena */
			arena_fini(&call->arena);
			arena_init(&call->arena, ARENA_MAX_BYTES);
		}
		r = unpack(call, &e);
		if (r == 0)
			dispatch(call);
		else
			rpc_fail(call, r, &e);
	} else if (!over) {
		received_nothing(call);
	}
	(void)rpc_unref(call);
}
