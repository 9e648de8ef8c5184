/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.reflection.v1 and v1alpha, which are the same on the wire: one answer per request over the
 * const index. Extensions do not exist in proto3 services like ours, so questions about them are
 * answered NOT_FOUND. Inline: nothing here waits.
 */
#include "reflection.h"

#include <errno.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <grpc/status.h>
#include <stdlib.h>
#include <string.h>

#include "reflection_index.h"
#include "rpc.h"
#include "server_internal.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

/* descriptors.S */
extern const uint8_t api_descriptors_start[], api_descriptors_end[];

int reflection_new(struct reflection **ret_reflection)
{
	struct reflection *r = calloc(1, sizeof(*r));
	int result;

	if (!r)
		return -ENOMEM;
	arena_init(&r->arena, ARENA_MAX_BYTES);
	result = reflection_index_build(
		r, api_descriptors_start, (size_t)(api_descriptors_end - api_descriptors_start));
	if (result < 0) {
		(void)reflection_free(r);
		return result;
	}
	*ret_reflection = r;
	return 0;
}

struct reflection *reflection_free(struct reflection *r)
{
	if (!r)
		return NULL;
	arena_fini(&r->arena);
	free(r);
	return NULL;
}

static int answer_error(
	reflection_response *out, struct arena *a, grpc_status_code code, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse *error = arena_alloc(a, sizeof(*error));

	if (!error)
		return -ENOMEM;
	grpc__reflection__v1__error_response__init(error);
	error->error_code = (int32_t)code;
	error->error_message = (char *)text; /* packing only reads */
	out->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	out->error_response = error;
	return 0;
}

/* The file, and after it everything it imports, each once. `taken` has a flag per file. */
static void collect(const struct reflection *r, const struct reflection_file *file, bool *taken,
	ProtobufCBinaryData *list, size_t *count)
{
	size_t done = *count;

	taken[file - r->files] = true;
	list[(*count)++] =
		(ProtobufCBinaryData){.data = (uint8_t *)file->raw, .len = file->raw_len};
	/* breadth first over the list itself, so depth costs no stack */
	for (; done < *count; done++) {
		const struct reflection_file *from = r->files;

		while (from->raw != list[done].data)
			from++;
		for (size_t i = 0; i < from->parsed->n_dependency; i++) {
			const struct reflection_file *next =
				reflection_file_find(r, from->parsed->dependency[i]);

			if (!next || taken[next - r->files])
				continue;
			taken[next - r->files] = true;
			list[(*count)++] = (ProtobufCBinaryData){
				.data = (uint8_t *)next->raw, .len = next->raw_len};
		}
	}
}

static int answer_file(const struct reflection *r, const struct reflection_file *file,
	reflection_response *out, struct arena *a)
{
	Grpc__Reflection__V1__FileDescriptorResponse *files;
	bool *taken;

	if (!file)
		return answer_error(out, a, GRPC_STATUS_NOT_FOUND, "no such file or symbol here");
	files = arena_alloc(a, sizeof(*files));
	taken = arena_array(a, r->file_count, sizeof(*taken));
	if (!files || !taken)
		return -ENOMEM;
	grpc__reflection__v1__file_descriptor_response__init(files);
	files->file_descriptor_proto =
		arena_array(a, r->file_count, sizeof(files->file_descriptor_proto[0]));
	if (!files->file_descriptor_proto)
		return -ENOMEM;
	collect(r, file, taken, files->file_descriptor_proto, &files->n_file_descriptor_proto);
	out->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	out->file_descriptor_response = files;
	return 0;
}

/* "coppice.v1.MountService" of "/coppice.v1.MountService/CreateMount". NULL: no memory. */
static char *service_name(const struct rpc_method *method, struct arena *a)
{
	char *name = arena_strdup(a, method->path + 1);

	if (name)
		*strchrnul(name, '/') = '\0';
	return name;
}

/* What is served is what the table of methods says. */
static int answer_services(reflection_response *out, struct arena *a)
{
	Grpc__Reflection__V1__ListServiceResponse *list = arena_alloc(a, sizeof(*list));
	const char *last = "";

	if (!list)
		return -ENOMEM;
	grpc__reflection__v1__list_service_response__init(list);
	list->service = arena_array(a, rpc_method_count, sizeof(list->service[0]));
	for (size_t i = 0; i < rpc_method_count; i++) {
		Grpc__Reflection__V1__ServiceResponse *service = arena_alloc(a, sizeof(*service));
		char *name = service_name(&rpc_methods[i], a);

		if (!list->service || !service || !name)
			return -ENOMEM;
		if (strcmp(name, last) == 0)
			continue; /* the table is sorted: services are runs */
		grpc__reflection__v1__service_response__init(service);
		service->name = name;
		list->service[list->n_service++] = service;
		last = name;
	}
	out->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	out->list_services_response = list;
	return 0;
}

static int answer(const struct reflection *r, const reflection_request *in,
	reflection_response *out, struct arena *a)
{
	switch (in->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		return answer_services(out, a);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		return answer_file(r, reflection_file_find(r, in->file_by_filename), out, a);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		return answer_file(
			r, reflection_symbol_find(r, in->file_containing_symbol), out, a);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		return answer_error(out, a, GRPC_STATUS_NOT_FOUND, "there are no extensions here");
	default:
		return answer_error(out, a, GRPC_STATUS_INVALID_ARGUMENT, "an empty request");
	}
}

int rpc_reflection(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const reflection_request *in = (const void *)message;
	reflection_response out = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	int r = answer(call->server->reflection, in, &out, &call->arena);

	(void)e;
	if (r < 0)
		return r;
	out.valid_host = in->host;
	out.original_request = (reflection_request *)in; /* packing only reads */
	r = rpc_stream_send(call, &out.base);
	return r == -EPIPE ? 0 : r; /* it is over: nothing more to say */
}
