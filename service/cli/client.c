// SPDX-License-Identifier: Apache-2.0
/*
 * The client's transport. Every call has its own completion queue and runs its batches one after
 * the other ("pluck" style), so there are no callbacks and no threads of ours. A failed call
 * carries google.rpc.Status in its trailing metadata; decode_details turns that into reason, field
 * and message.
 */
#include "client.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX    (64 << 20)
#define TOKEN_MAX      4096
#define RECONNECT_MS   100
#define RETRY_FIRST_NS (50 * NS_PER_MS)
#define RETRY_MAX_NS   (2 * NS_PER_S)

struct client {
	grpc_channel *channel;
	char *authorization; /* "Bearer ...", or NULL */
	char address[256];
	uint64_t timeout_ns;
};

/* One call under way, with what its batches fill. */
struct call {
	grpc_completion_queue *cq;
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
	bool has_details;
};

static void quiet_log(gpr_log_func_args *args)
{
	(void)args; /* what matters comes back as a status */
}

static gpr_timespec after(uint64_t ns)
{
	if (ns == NS_NEVER)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos((int64_t)ns, GPR_TIMESPAN));
}

static void status_set(struct client_status *st, int code, const char *reason, const char *message)
{
	*st = (struct client_status){.code = code};
	(void)snprintf(st->reason, sizeof(st->reason), "%s", reason);
	(void)snprintf(st->message, sizeof(st->message), "%s", message);
}

static int load_token(struct client *c, const char *path)
{
	_cleanup_free_ char *token = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, TOKEN_MAX, &token, &len);

	if (r < 0)
		return r;
	while (len && (token[len - 1] == '\n' || token[len - 1] == '\r' || token[len - 1] == ' '))
		token[--len] = '\0';
	if (len == 0 || strlen(token) != len)
		return -EINVAL;
	return asprintf(&c->authorization, "Bearer %s", token) < 0 ? -ENOMEM : 0;
}

struct client *client_new(const struct client_config *config, struct client_status *st)
{
	struct client *c = calloc(1, sizeof(*c));
	grpc_channel_credentials *creds;
	char why[256];

	if (!c) {
		status_set(st, GRPC_STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
		return NULL;
	}
	c->timeout_ns = config->timeout_ns;
	(void)snprintf(c->address, sizeof(c->address), "%s", config->address);
	int r = config->token_file ? load_token(c, config->token_file) : 0;
	if (r < 0) {
		(void)snprintf(why, sizeof(why), "cannot use the token file %s: %s",
			config->token_file, strerror(-r));
		status_set(st, GRPC_STATUS_INVALID_ARGUMENT, "TOKEN_FILE", why);
		free(c);
		return NULL;
	}

	gpr_set_log_function(quiet_log);
	grpc_init();
	grpc_arg args[] = {
		{.type = GRPC_ARG_INTEGER,
			.key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			.value.integer = MESSAGE_MAX},
		{.type = GRPC_ARG_INTEGER,
			.key = (char *)GRPC_ARG_ENABLE_RETRIES,
			.value.integer = 0},
		{.type = GRPC_ARG_INTEGER,
			.key = (char *)GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
			.value.integer = RECONNECT_MS},
		/* a socket path is no host name; some servers refuse it as :authority */
		{.type = GRPC_ARG_STRING,
			.key = (char *)GRPC_ARG_DEFAULT_AUTHORITY,
			.value.string = (char *)"localhost"},
	};
	grpc_channel_args channel_args = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};

	creds = grpc_insecure_credentials_create();
	c->channel = grpc_channel_create(config->address, creds, &channel_args);
	grpc_channel_credentials_release(creds);
	return c;
}

struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	grpc_channel_destroy(c->channel);
	grpc_shutdown_blocking();
	free(c->authorization);
	free(c);
	return NULL;
}

static int run_batch(struct call *call, const grpc_op *ops, size_t count)
{
	grpc_event event;

	if (grpc_call_start_batch(call->call, ops, count, call, NULL) != GRPC_CALL_OK)
		return -EIO;
	/* the call's own deadline ends every batch */
	event = grpc_completion_queue_pluck(
		call->cq, call, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	return event.type == GRPC_OP_COMPLETE && event.success ? 0 : -EIO;
}

static void call_begin(struct client *c, struct call *call, const char *method, uint64_t timeout_ns)
{
	grpc_slice path = grpc_slice_from_copied_string(method);

	*call = (struct call){.details = grpc_empty_slice()};
	grpc_metadata_array_init(&call->initial);
	grpc_metadata_array_init(&call->trailing);
	call->cq = grpc_completion_queue_create_for_pluck(NULL);
	call->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, call->cq,
		path, NULL, after(timeout_ns), NULL);
	grpc_slice_unref(path);
}

static void call_end(struct call *call)
{
	grpc_slice_unref(call->details);
	grpc_metadata_array_destroy(&call->initial);
	grpc_metadata_array_destroy(&call->trailing);
	grpc_call_unref(call->call);
	grpc_completion_queue_shutdown(call->cq);
	grpc_completion_queue_destroy(call->cq);
}

static int call_send(struct client *c, struct call *call, const ProtobufCMessage *request)
{
	size_t size = protobuf_c_message_get_packed_size(request);
	grpc_slice body = grpc_slice_malloc(size);
	grpc_metadata metadata[1] = {0};
	grpc_op ops[4] = {0};
	int r;

	protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(body));
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&body, 1);
	grpc_slice_unref(body);

	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (c->authorization) {
		metadata[0].key = grpc_slice_from_static_string("authorization");
		metadata[0].value = grpc_slice_from_static_string(c->authorization);
		ops[0].data.send_initial_metadata.count = 1;
		ops[0].data.send_initial_metadata.metadata = metadata;
	}
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = buffer;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
	r = run_batch(call, ops, 4);
	grpc_byte_buffer_destroy(buffer);
	return r;
}

/* The next message, or NULL at the end of the stream (or if it cannot be decoded, which *ret_bad
 * tells). */
static ProtobufCMessage *call_receive(
	struct call *call, const ProtobufCMessageDescriptor *type, bool *ret_bad)
{
	grpc_byte_buffer *buffer = NULL;
	grpc_byte_buffer_reader reader;
	ProtobufCMessage *message;
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &buffer;
	if (run_batch(call, &op, 1) < 0 || !buffer)
		return NULL;
	if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
		grpc_byte_buffer_destroy(buffer);
		*ret_bad = true;
		return NULL;
	}
	grpc_slice all = grpc_byte_buffer_reader_readall(&reader);

	message = protobuf_c_message_unpack(
		type, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
	*ret_bad = !message;
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(buffer);
	return message;
}

static void decode_error_info(const Google__Protobuf__Any *any, struct client_status *st)
{
	Google__Rpc__ErrorInfo *info;

	if (!any->type_url || !strstr(any->type_url, "google.rpc.ErrorInfo"))
		return;
	info = google__rpc__error_info__unpack(NULL, any->value.len, any->value.data);
	if (!info)
		return;
	(void)snprintf(st->reason, sizeof(st->reason), "%s", info->reason);
	for (size_t i = 0; i < info->n_metadata; i++)
		if (strcmp(info->metadata[i]->key, "field") == 0)
			(void)snprintf(
				st->field, sizeof(st->field), "%s", info->metadata[i]->value);
	google__rpc__error_info__free_unpacked(info, NULL);
}

static void decode_details(const struct call *call, struct client_status *st)
{
	for (size_t i = 0; i < call->trailing.count; i++) {
		const grpc_metadata *m = &call->trailing.metadata[i];
		Google__Rpc__Status *status;

		if (grpc_slice_str_cmp(m->key, "grpc-status-details-bin") != 0)
			continue;
		status = google__rpc__status__unpack(
			NULL, GRPC_SLICE_LENGTH(m->value), GRPC_SLICE_START_PTR(m->value));
		if (!status)
			return;
		for (size_t d = 0; d < status->n_details; d++)
			decode_error_info(status->details[d], st);
		google__rpc__status__free_unpacked(status, NULL);
		return;
	}
}

static void call_status(struct client *c, struct call *call, struct client_status *st)
{
	grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	op.data.recv_status_on_client.trailing_metadata = &call->trailing;
	op.data.recv_status_on_client.status = &call->code;
	op.data.recv_status_on_client.status_details = &call->details;
	*st = (struct client_status){0};
	if (run_batch(call, &op, 1) < 0) {
		status_set(st, GRPC_STATUS_INTERNAL, "CLIENT", "the call ended without a status");
		return;
	}
	st->code = (int)call->code;
	(void)snprintf(st->message, sizeof(st->message), "%.*s",
		(int)GRPC_SLICE_LENGTH(call->details),
		(const char *)GRPC_SLICE_START_PTR(call->details));
	decode_details(call, st);
	if (st->code == GRPC_STATUS_UNAVAILABLE && !*st->reason)
		(void)snprintf(st->message, sizeof(st->message),
			"cannot reach coppiced at %s (%.*s). Is it running? --address or "
			"COPPICE_ADDRESS names another one",
			c->address, (int)GRPC_SLICE_LENGTH(call->details),
			(const char *)GRPC_SLICE_START_PTR(call->details));
}

static ProtobufCMessage *call_once(struct client *c, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
	uint64_t timeout_ns, struct client_status *st)
{
	ProtobufCMessage *message = NULL;
	struct call call;
	bool bad = false;

	call_begin(c, &call, method, timeout_ns);
	if (call_send(c, &call, request) == 0)
		message = call_receive(&call, answer, &bad);
	call_status(c, &call, st);
	call_end(&call);
	if (st->code == 0 && !message)
		status_set(st, GRPC_STATUS_INTERNAL, "CLIENT", "the answer could not be decoded");
	if (st->code != 0 && message) {
		protobuf_c_message_free_unpacked(message, NULL);
		message = NULL;
	}
	return message;
}

/* Nobody listens, unlike a connection that broke, or that ended while it was made because the
 * daemon that had accepted it was replaced. grpc tells by the words of strerror only. */
static bool refused(struct client *c, const struct client_status *st)
{
	return grpc_channel_check_connectivity_state(c->channel, 0) ==
		       GRPC_CHANNEL_TRANSIENT_FAILURE &&
	       (strstr(st->message, strerror(ECONNREFUSED)) ||
		       strstr(st->message, strerror(ENOENT)));
}

/* A refused connection is final for a person at a terminal; a service that answered "not now", or
 * whose connection broke because it is replaced, is asked again, after a pause. */
static bool ask_again(
	struct client *c, const struct client_status *st, uint64_t deadline_ns, uint64_t *wait_ns)
{
	struct timespec pause = clock_timespec(*wait_ns);

	if (st->code != GRPC_STATUS_UNAVAILABLE || (!*st->reason && refused(c, st)) ||
		clock_after(&clock_system, *wait_ns) >= deadline_ns)
		return false;
	(void)nanosleep(&pause, NULL); /* a signal only shortens the wait */
	*wait_ns = *wait_ns * 2 > RETRY_MAX_NS ? RETRY_MAX_NS : *wait_ns * 2;
	return true;
}

/* The daemon that is being replaced did not look at it any more. */
static bool was_not_begun(const struct client_status *st)
{
	return strcmp(st->reason, "HANDING_OVER") == 0;
}

ProtobufCMessage *client_call(struct client *c, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, bool idempotent, struct client_status *st)
{
	uint64_t deadline_ns = clock_after(&clock_system, c->timeout_ns), wait_ns = RETRY_FIRST_NS;

	for (;;) {
		uint64_t now_ns = clock_mono_ns(&clock_system);
		ProtobufCMessage *message = call_once(c, method, request, answer,
			deadline_ns > now_ns ? deadline_ns - now_ns : 0, st);

		if (message || !(idempotent || was_not_begun(st)) ||
			!ask_again(c, st, deadline_ns, &wait_ns))
			return message;
	}
}

/* True if a message came, whatever became of the rest. */
static bool stream_once(struct client *c, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, client_message fn, void *arg,
	struct client_status *st)
{
	bool bad = false, stopped = false, came = false;
	struct call call;

	call_begin(c, &call, method, NS_NEVER);
	if (call_send(c, &call, request) == 0) {
		ProtobufCMessage *message;

		while (!stopped && (message = call_receive(&call, answer, &bad))) {
			came = true;
			stopped = !fn(arg, message);
			protobuf_c_message_free_unpacked(message, NULL);
		}
	}
	if (stopped || bad)
		(void)grpc_call_cancel(call.call, NULL);
	call_status(c, &call, st);
	call_end(&call);
	if (stopped)
		*st = (struct client_status){0};
	else if (bad)
		status_set(st, GRPC_STATUS_INTERNAL, "CLIENT", "an event could not be decoded");
	return came;
}

void client_stream(struct client *c, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, client_message fn, void *arg,
	struct client_status *st)
{
	uint64_t deadline_ns = clock_after(&clock_system, c->timeout_ns), wait_ns = RETRY_FIRST_NS;

	while (!stream_once(c, method, request, answer, fn, arg, st) &&
		(!*st->reason || was_not_begun(st)) && ask_again(c, st, deadline_ns, &wait_ns))
		;
}

const char *client_code_name(int code)
{
	static const char *const names[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};

	return code >= 0 && code < (int)(sizeof(names) / sizeof(names[0])) ? names[code]
									   : "UNKNOWN";
}
