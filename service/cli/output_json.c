// SPDX-License-Identifier: Apache-2.0
/* Any protobuf-c message as JSON, by walking its descriptor: a new field of the API appears without
 * a change here. */
#include "output.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <errno.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <jansson.h>
#include <string.h>

static json_t *message_json(const ProtobufCMessage *message);

static json_t *timestamp_json(const Google__Protobuf__Timestamp *ts)
{
	char text[40];

	return json_string(clock_rfc3339(
		(uint64_t)ts->seconds * NS_PER_S + (uint64_t)ts->nanos, text, sizeof(text)));
}

static json_t *hex_json(const ProtobufCBinaryData *data)
{
	_cleanup_free_ char *hex = malloc(2 * data->len + sizeof("hex:"));
	char *at = hex ? stpcpy(hex, "hex:") : NULL;

	if (!hex)
		return NULL;
	for (size_t i = 0; i < data->len; i++, at += 2)
		(void)snprintf(at, 3, "%02x", data->data[i]);
	return json_string(hex);
}

/* Bytes are text (paths, messages) where they can be, else hex behind "hex:". */
static json_t *bytes_json(const ProtobufCBinaryData *data)
{
	json_t *text = json_stringn(data->len ? (const char *)data->data : "", data->len);

	return text ? text : hex_json(data);
}

/* Text that is not UTF-8 cannot be JSON; its bytes are shown in hex then. */
static json_t *string_json(const char *s)
{
	json_t *value = json_string(s ? s : "");
	ProtobufCBinaryData raw = {.len = s ? strlen(s) : 0, .data = (uint8_t *)s};

	return value ? value : bytes_json(&raw);
}

static json_t *value_json(const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_ENUM: {
		const ProtobufCEnumValue *v =
			protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)at);

		return v ? json_string(v->name) : json_integer(*(const int *)at);
	}
	case PROTOBUF_C_TYPE_STRING:
		return string_json(*(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_json(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return message_json(*(ProtobufCMessage *const *)at);
	}
	return NULL;
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

static json_t *repeated_json(const ProtobufCFieldDescriptor *f, const uint8_t *base)
{
	size_t count = *(const size_t *)(base + f->quantifier_offset);
	const uint8_t *items = *(const uint8_t *const *)(base + f->offset);
	json_t *array = json_array();

	for (size_t i = 0; array && i < count; i++)
		if (json_array_append_new(array, value_json(f, items + i * element_size(f))) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

/* Is the field to be shown? Messages and oneof members only when set. */
static bool present(const ProtobufCFieldDescriptor *f, const uint8_t *base)
{
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
	if (f->label != PROTOBUF_C_LABEL_REPEATED && f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(ProtobufCMessage *const *)(base + f->offset) != NULL;
	return true;
}

static json_t *message_json(const ProtobufCMessage *message)
{
	const uint8_t *base = (const uint8_t *)message;
	json_t *object;

	if (message->descriptor == &google__protobuf__timestamp__descriptor)
		return timestamp_json((const Google__Protobuf__Timestamp *)message);
	object = json_object();
	for (unsigned i = 0; object && i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &message->descriptor->fields[i];
		json_t *value;

		if (!present(f, base))
			continue;
		value = f->label == PROTOBUF_C_LABEL_REPEATED ? repeated_json(f, base)
							      : value_json(f, base + f->offset);
		if (json_object_set_new(object, f->name, value) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* Frees it. */
static int print_line(FILE *out, json_t *json)
{
	int r;

	if (!json)
		return -ENOMEM;
	r = json_dumpf(json, out, JSON_COMPACT) < 0 ? -EIO : 0;
	json_decref(json);
	(void)fputc('\n', out); /* a broken stdout is seen when the program ends */
	return r;
}

int output_json(FILE *out, const ProtobufCMessage *message)
{
	return print_line(out, message_json(message));
}

int output_json_texts(FILE *out, const char *const *keys, const char *const *values, unsigned count)
{
	json_t *object = json_object();

	for (unsigned i = 0; object && i < count; i++)
		if (json_object_set_new(object, keys[i], string_json(values[i])) < 0) {
			json_decref(object);
			return -ENOMEM;
		}
	return print_line(out, object);
}
