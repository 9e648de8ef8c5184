/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking gRPC client on the core C API: unary calls and server streams, with a deadline on
 * everything. One thread. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct client;

struct client_config {
	const char *address;    /* "unix:/path" or "host:port" */
	const char *token_file; /* bearer token, or NULL */
	uint64_t timeout_ns;    /* of one call, retries included */
};

/* How a call ended. */
struct client_status {
	int code;           /* gRPC status code; 0 = OK */
	char reason[64];    /* ErrorInfo.reason, "" if the service sent none */
	char field[64];     /* ErrorInfo.metadata["field"] */
	char message[1024]; /* for a person */
};

/* NULL after having filled `st`. */
struct client *client_new(const struct client_config *config, struct client_status *st);
struct client *client_free(struct client *c);
/* Unary. Retries UNAVAILABLE with growing waits until the time-out when `idempotent`. The answer
 * goes to the caller (free with protobuf_c_message_free_unpacked); NULL after having filled `st`.
 */
ProtobufCMessage *client_call(struct client *c, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, bool idempotent, struct client_status *st);
/* Server stream without a time-out: `fn` gets each message (not owned); false from it ends the
 * call, which is then OK. A connection that breaks before the first message is made again, until
 * the time-out of the client: so use it for what may be repeated. */
typedef bool (*client_message)(void *arg, const ProtobufCMessage *message);
void client_stream(struct client *c, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, client_message fn, void *arg,
	struct client_status *st);
/* "NOT_FOUND" ... */
const char *client_code_name(int code);
