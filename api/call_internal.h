/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that move a call along: call.c, call_run.c, call_finish.c, stream.c. */
#pragma once
#include "call.h"

#define rpc_call_of(tag_pointer, member) container_of(tag_pointer, struct rpc_call, member)

/* Start a batch; `fn` runs when it completes, and drops the reference that is held for it. Under
 * mu. */
void rpc_batch_locked(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag,
	void (*fn)(struct rpc_tag *tag, bool ok));
/* Wait for the next request message. Under mu. */
void rpc_receive_locked(struct rpc_call *call);
void rpc_move_locked(struct rpc_call *call, enum rpc_state to);
bool rpc_over_locked(const struct rpc_call *call);
/* One byte buffer with the packed message. NULL: no memory. */
grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message);

/* call_finish.c */
void rpc_fail_locked(struct rpc_call *call, int error, const struct err *e);
void rpc_finish_locked(struct rpc_call *call, grpc_status_code code, const struct err *e);
void rpc_finished(struct rpc_tag *tag, bool ok);

/* stream.c */
void rpc_stream_init(struct rpc_stream *stream);
/* Drop what is queued, and hand the attached subscription to the closing thread. Under mu. */
void rpc_stream_over_locked(struct rpc_call *call);
void rpc_stream_fini(struct rpc_call *call);
void rpc_stream_sent(struct rpc_tag *tag, bool ok);

/* call_run.c */
void rpc_received(struct rpc_tag *tag, bool ok);
void rpc_closed(struct rpc_tag *tag, bool ok);
