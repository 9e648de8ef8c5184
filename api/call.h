/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One RPC, from the accept to the last byte. A single structure owns everything that it needs, and
 *is freed when its last reference goes.
 *
 *	ACCEPTING ──► RECEIVING ──► QUEUED ──► RUNNING ──► FINISHING ──► DONE
 *	                 │  ▲                   │    │         ▲
 *	                 │  └──── RPC_BIDI ─────┘    ▼         │
 *	                 └──────────────────► STREAMING ───────┤   (every state but ACCEPTING may go
 *to FINISHING)
 *
 * It waits (is held by nobody's stack) in: ACCEPTING, RECEIVING, QUEUED (a pool's queue), STREAMING
 *(events, or the peer), FINISHING. References: one for its life, until the status is sent; one per
 *batch that is out; one for a queued or running handler; one for whoever feeds a stream.
 */
#pragma once
#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "auth.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/ref.h"
#include "base/sm.h"
#include "methods.h"

struct api_server;
struct cancel;
struct err;
struct tenant;

enum rpc_state {
	RPC_ACCEPTING,
	RPC_RECEIVING,
	RPC_QUEUED,
	RPC_RUNNING,
	RPC_STREAMING,
	RPC_FINISHING,
	RPC_DONE
};
extern const struct sm_table rpc_sm;

#define RPC_REQUEST_ID_MAX 64

/* What completes on a completion queue: `fn` is called on that queue's thread. */
struct rpc_tag {
	void (*fn)(struct rpc_tag *tag, bool ok);
	/* A completion queue orders what was written before a tag was given to it and what is read
	 * after; this flag says so in terms that a thread sanitizer sees, for which grpc's inside
	 * is dark. */
	_Atomic bool out;
};
static inline void rpc_tag_give(struct rpc_tag *tag, void (*fn)(struct rpc_tag *tag, bool ok))
{
	tag->fn = fn;
	atomic_store_explicit(&tag->out, true, memory_order_release);
}
static inline void rpc_tag_run(struct rpc_tag *tag, bool ok)
{
	(void)atomic_load_explicit(&tag->out, memory_order_acquire);
	tag->fn(tag, ok);
}

/* Called once, on the closing thread, when a stream is over; may block briefly (it unsubscribes).
 */
typedef void (*rpc_stream_end)(struct rpc_call *call, void *arg);

/* Messages on their way to the peer. All guarded by the call's `mu`. */
struct rpc_stream {
	struct list queue;   /* struct rpc_message, the first is being sent if `sending` */
	size_t queued_bytes; /* of the queue, the one being sent included */
	bool sending;        /* a SEND_MESSAGE batch is out */
	bool counted;        /* in the server's count of streams */
	struct cond room;    /* something was sent, or it is over */
	rpc_stream_end end;  /* NULL: nothing attached */
	bool end_queued;     /* `end` is with the closing thread */
	void *end_arg;
};

struct rpc_call {
	struct api_server *server;
	struct ref refs;
	struct list in_calls; /* guarded by server->mu */
	bool accepted;        /* in the list; set once, before anyone else can know the call */
	unsigned queue_index; /* of the completion queue that it lives on */

	/* const after the accept */
	const struct rpc_method *method; /* NULL: unknown path */
	struct peer peer;
	struct tenant *tenant; /* NULL if the method is for anyone */
	bool admin;
	bool admitted; /* counts in its tenant's share */
	char request_id[RPC_REQUEST_ID_MAX + 1];
	uint64_t started_ns, deadline_ns;
	struct cancel *cancel; /* fired when the peer is gone, gives up, or its deadline comes */

	struct arena arena; /* of the thread that holds the call: accept, then handler */
	const ProtobufCMessage *input;

	struct lock mu;  /* around every batch that is started */
	struct sm state; /* guarded by mu */
	struct rpc_stream stream;
	bool headers_sent;         /* guarded by mu */
	bool finish_pending;       /* guarded by mu: the status goes out when the queue is empty */
	grpc_status_code code;     /* guarded by mu until FINISHING, then const */
	uint64_t finishing_ns;     /* likewise */
	grpc_byte_buffer *reply;   /* guarded by mu; unary answer in flight */
	grpc_metadata trailing[2]; /* lives until the status is sent */
	size_t trailing_count;

	/* grpc's side */
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *received;
	int cancelled;
	struct rpc_tag on_accept, on_close, on_receive, on_send, on_finish;
};

/* call.c */
/* Ask for the next call on a completion queue. -ENOMEM, -ESHUTDOWN. */
int rpc_accept(struct api_server *s, unsigned queue_index);
struct rpc_call *rpc_ref(struct rpc_call *call);
struct rpc_call *rpc_unref(struct rpc_call *call);

/* call_finish.c: the end of a call. Each is without effect on one that has ended; none blocks. Any
 * thread. */
/* Answer a unary call: the message is packed now. -ENOMEM: not answered. */
int rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* End with a status: `error` is a negative errno, `e` may add to it. */
void rpc_fail(struct rpc_call *call, int error, const struct err *e);
/* End a stream with OK, after what is queued. */
void rpc_stream_close(struct rpc_call *call);

/* call_run.c: from the accepted call to the handler's return. */
void rpc_begin(struct rpc_call *call);

/* stream.c */
/* From now on messages may be sent. -EAGAIN reason OVERLOADED (too many streams), -ESHUTDOWN reason
 * DRAINING, -ECANCELED. */
int rpc_stream_open(struct rpc_call *call, struct err *e);
/* `end` will be called with `arg` when the stream is over; a reference is held until then. False:
 * it is over already, nothing will be called. */
bool rpc_stream_attach(struct rpc_call *call, rpc_stream_end end, void *arg);
/* Queue a message. -EPIPE: the stream is over. -ENOBUFS: the peer is too slow; the stream has been
 * ended. -ENOMEM likewise. Does not block; may be called under locks of lower rank than
 * LOCK_RANK_API_CALL. */
int rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *message);
/* The same, but waits while the peer is slow, until the call's deadline: for feeders that may
 * block. */
int rpc_stream_send_wait(struct rpc_call *call, const ProtobufCMessage *message);
