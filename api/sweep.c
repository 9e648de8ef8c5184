/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing waits without a deadline: a handler has the call's, grpc enforces the client's, and what
 * is left is ended here. Both walks hold the server's lock and take each call's in turn; nothing
 * they do blocks.
 */
#include "sweep.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "call_internal.h"
#include "server_internal.h"

#define RECEIVE_MAX_NS (60 * NS_PER_S) /* for the request, if the client set no deadline */
#define FINISH_MAX_NS  (10 * NS_PER_S) /* for the peer to take the status */

static uint64_t receive_deadline(const struct rpc_call *call)
{
	uint64_t own = call->started_ns + RECEIVE_MAX_NS;

	/* A conversation may be silent between its messages until its own end. */
	if (call->method && call->method->shape == RPC_BIDI)
		return call->deadline_ns;
	return call->deadline_ns < own ? call->deadline_ns : own;
}

static void sweep_one(struct rpc_call *call, uint64_t now_ns)
{
	LOCK_GUARD(&call->mu);
	switch (call->state.state) {
	case RPC_RECEIVING:
		if (now_ns >= receive_deadline(call))
			rpc_fail_locked(call, -ETIMEDOUT, NULL);
		break;
	case RPC_STREAMING:
		if (now_ns >= call->deadline_ns)
			rpc_fail_locked(call, -ETIMEDOUT, NULL);
		break;
	case RPC_FINISHING:
		/* It does not read, so the status cannot leave; without it the call would stay for
		 * ever. */
		if (now_ns >= call->finishing_ns + FINISH_MAX_NS)
			(void)grpc_call_cancel(call->call, NULL);
		break;
	default:
		break;
	}
	if (call->state.state >= RPC_FINISHING)
		rpc_stream_over_locked(call);
}

void sweep_calls(struct api_server *s, uint64_t now_ns)
{
	LOCK_GUARD(&s->mu);
	list_for_each (it, &s->calls)
		sweep_one(list_entry(it, struct rpc_call, in_calls), now_ns);
}

static void end_one(struct rpc_call *call)
{
	struct err e = {0};

	LOCK_GUARD(&call->mu);
	if (call->state.state != RPC_STREAMING &&
		!(call->state.state == RPC_RECEIVING && call->method->shape == RPC_BIDI))
		return;
	if (call->method->class == RPC_WORKFLOW)
		return; /* it has an end of its own: it has the grace time, like any other call */
	rpc_fail_locked(call, api_say_stopping(call->server, &e), &e);
}

void sweep_end_streams(struct api_server *s)
{
	LOCK_GUARD(&s->mu);
	list_for_each (it, &s->calls)
		end_one(list_entry(it, struct rpc_call, in_calls));
}
