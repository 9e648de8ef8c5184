/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of methods: one row says everything about an RPC but what it does. Adding one touches a
 * row in methods.c and one handler. A found row is a row; an unknown path is answered
 * UNIMPLEMENTED.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct rpc_call;

/* Where a handler runs. Creation and deletion have threads of their own, so that nothing short
 * waits behind an origin or a disk. */
enum rpc_class {
	RPC_INLINE,
	RPC_WORK,
	RPC_CREATE,
	RPC_DELETE,
	RPC_WORKFLOW, /* may take minutes, and waits for slow readers */
	RPC_PREFETCH, /* may take hours */
	RPC_CLASS_COUNT
};
/* How many messages go each way. */
enum rpc_shape { RPC_UNARY, RPC_SERVER_STREAM, RPC_BIDI };
/* Who may call. */
enum rpc_role { RPC_ANYONE, RPC_TENANT, RPC_ADMIN };

/*
 * Called once per request message, on a thread of its class (RPC_INLINE: on a completion-queue
 * thread; must not block). 0: it has answered (rpc_reply), or opened a stream (rpc_stream_open)
 * that ends later. A negative errno ends the call with what is in `e`. `in` and all that is taken
 * from the call's arena live as long as the call, for RPC_BIDI until it returns.
 */
typedef int (*rpc_handler)(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);

struct rpc_method {
	const char *path; /* "/coppice.v1.MountService/CreateMount" */
	const ProtobufCMessageDescriptor *input;
	rpc_handler handle;
	enum rpc_class class;
	enum rpc_shape shape;
	enum rpc_role role;
	unsigned deadline_max_s; /* a longer one, or none, is cut to this; 0: a stream, may stay
				    open */
};

extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;
/* NULL: unknown. */
const struct rpc_method *rpc_method_find(const char *path, size_t len);
