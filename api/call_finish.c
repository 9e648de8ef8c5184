/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call ends: exactly one status, whoever gets there first. The status, the first headers if
 * none were sent, and the reply of a unary call are one batch. When it completes, the call is
 * counted and logged, and its life reference goes.
 */
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "base/clock.h"
#include "base/err.h"
#include "call_internal.h"
#include "metrics_rpc.h"
#include "server_internal.h"
#include "status.h"

static void trailer_add(struct rpc_call *call, const char *key, grpc_slice value)
{
	grpc_metadata *m = &call->trailing[call->trailing_count++];

	m->key = grpc_slice_from_static_string(key);
	m->value = value;
}

/* Without memory for details the client still gets code and message. */
static void trailers_fill(struct rpc_call *call, grpc_status_code code, const struct err *e)
{
	uint8_t *details;
	size_t len;

	if (call->request_id[0])
		trailer_add(call, "x-request-id", grpc_slice_from_copied_string(call->request_id));
	if (code != GRPC_STATUS_OK && status_details(e, code, &details, &len) == 0) {
		trailer_add(call, "grpc-status-details-bin",
			grpc_slice_from_copied_buffer((const char *)details, len));
		free(details);
	}
}

void rpc_finish_locked(struct rpc_call *call, grpc_status_code code, const struct err *e)
{
	char message[STATUS_MESSAGE_MAX] = "";
	grpc_slice text;
	grpc_op ops[3] = {{0}};
	size_t n = 0;

	if (code != GRPC_STATUS_OK)
		status_message(e, message, sizeof(message));
	trailers_fill(call, code, e);
	call->code = code;
	call->finishing_ns = clock_mono_ns(&clock_system);
	rpc_move_locked(call, RPC_FINISHING);

	if (!call->headers_sent)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (call->reply) {
		ops[n].data.send_message.send_message = call->reply;
		ops[n++].op = GRPC_OP_SEND_MESSAGE;
	}
	text = grpc_slice_from_copied_string(message);
	ops[n].data.send_status_from_server.status = code;
	ops[n].data.send_status_from_server.status_details = message[0] ? &text : NULL;
	ops[n].data.send_status_from_server.trailing_metadata = call->trailing;
	ops[n].data.send_status_from_server.trailing_metadata_count = call->trailing_count;
	ops[n++].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	call->headers_sent = true;
	rpc_batch_locked(call, ops, n, &call->on_finish, rpc_finished);
	grpc_slice_unref(text);
	rpc_stream_over_locked(call);
}

void rpc_finished(struct rpc_tag *tag, bool ok)
{
	struct rpc_call *call = rpc_call_of(tag, on_finish);

	(void)ok; /* not delivered: the peer is gone; the outcome is counted all the same */
	lock_acquire(&call->mu);
	rpc_move_locked(call, RPC_DONE);
	lock_release(&call->mu);
	if (call->admitted)
		admission_leave(call->server->admission, call->tenant, call->method->class);
	rpc_metrics_done(call->server->metrics, call);
	(void)rpc_unref(call); /* of the batch */
	(void)rpc_unref(call); /* of its life */
}

int rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
	LOCK_GUARD(&call->mu);
	if (rpc_over_locked(call))
		return 0;
	call->reply = rpc_pack(message);
	if (!call->reply)
		return -ENOMEM;
	rpc_finish_locked(call, GRPC_STATUS_OK, NULL);
	return 0;
}

void rpc_fail_locked(struct rpc_call *call, int error, const struct err *e)
{
	struct err own = e ? *e : (struct err){0};

	if (call->state.state >= RPC_FINISHING)
		return;
	call->finish_pending = false;
	if (!own.code)
		own.code = error;
	/* A deadline reaches handlers as a cancellation. */
	if (own.code == -ECANCELED && clock_mono_ns(&clock_system) >= call->deadline_ns)
		own = (struct err){.code = -ETIMEDOUT};
	rpc_finish_locked(call, status_code(&own), &own);
}

void rpc_fail(struct rpc_call *call, int error, const struct err *e)
{
	LOCK_GUARD(&call->mu);
	rpc_fail_locked(call, error, e);
}

void rpc_stream_close(struct rpc_call *call)
{
	LOCK_GUARD(&call->mu);
	if (rpc_over_locked(call))
		return;
	if (call->stream.sending)
		call->finish_pending = true;
	else
		rpc_finish_locked(call, GRPC_STATUS_OK, NULL);
}
