/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over the wire format beside the descriptor. Every field is charged with what protobuf-c
 *will allocate for it; the walk ends at the first fault. Recursion is bounded by depth_max, so the
 *stack is too. Pure.
 *
 *	field = tag (varint: number << 3 | wire type), then
 *	0 varint | 1 eight bytes | 2 length, bytes | 5 four bytes      (3 and 4, groups, are
 *refused: proto3 has none)
 */
#include "prescan.h"

#include <base/err.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "utf8.h"

/* What protobuf-c keeps per field on the wire while it unpacks (struct ScannedMember, doubled by
 * the growth of its slabs). */
#define FIELD_COST 80

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

const struct prescan_limits prescan_default = {
	.depth_max = 32, .budget_bytes = (size_t)16 << 20, .fields_max = 65536};

struct scan {
	const struct prescan_limits *limits;
	size_t spent_bytes, fields;
	struct err *e;
};

struct span {
	const uint8_t *at, *end;
};

static int malformed(struct scan *s, const char *what)
{
	return err_set(
		s->e, -EINVAL, "MALFORMED_REQUEST", "the request is not a valid message: %s", what);
}

static int charge(struct scan *s, size_t bytes)
{
	if (bytes > s->limits->budget_bytes - s->spent_bytes)
		return err_set(s->e, -EINVAL, "REQUEST_TOO_COMPLEX",
			"the request would take more than %zu bytes of memory",
			s->limits->budget_bytes);
	s->spent_bytes += bytes;
	return 0;
}

static bool varint(struct span *in, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && in->at < in->end; shift += 7) {
		uint8_t byte = *in->at++;

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* Cut the next `len` bytes off. */
static bool take(struct span *in, uint64_t len, struct span *ret_taken)
{
	if (len > (uint64_t)(in->end - in->at))
		return false;
	ret_taken->at = in->at;
	ret_taken->end = in->at + len;
	in->at += len;
	return true;
}

static bool is_fixed64(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_FIXED64 || type == PROTOBUF_C_TYPE_SFIXED64 ||
	       type == PROTOBUF_C_TYPE_DOUBLE;
}

static bool is_fixed32(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_FIXED32 || type == PROTOBUF_C_TYPE_SFIXED32 ||
	       type == PROTOBUF_C_TYPE_FLOAT;
}

/* A packed array of numbers: as many elements as it has, eight bytes each at most. */
static int scan_packed(struct scan *s, const ProtobufCFieldDescriptor *field, struct span bytes)
{
	size_t len = (size_t)(bytes.end - bytes.at), count = 0;

	if (is_fixed64(field->type))
		count = len / 8;
	else if (is_fixed32(field->type))
		count = len / 4;
	else
		for (const uint8_t *p = bytes.at; p < bytes.end; p++)
			count += !(*p & 0x80);
	return charge(s, count * 8);
}

static int scan_text(struct scan *s, const ProtobufCFieldDescriptor *field, struct span bytes)
{
	size_t len = (size_t)(bytes.end - bytes.at);

	if (memchr(bytes.at, 0, len))
		return err_field(s->e, field->name, "contains a NUL byte");
	if (!utf8_ok((const char *)bytes.at, len))
		return err_field(s->e, field->name, "is not valid UTF-8");
	return 0;
}

static int scan_message(
	struct scan *s, const ProtobufCMessageDescriptor *type, struct span in, unsigned depth);

static int scan_bytes(
	struct scan *s, const ProtobufCFieldDescriptor *field, struct span bytes, unsigned depth)
{
	int r = charge(s, (size_t)(bytes.end - bytes.at) + 1);

	if (r < 0 || !field) /* an unknown field is kept as bytes */
		return r;
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return scan_text(s, field, bytes);
	case PROTOBUF_C_TYPE_BYTES:
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return scan_message(s, field->descriptor, bytes, depth + 1);
	default:
		return scan_packed(s, field, bytes);
	}
}

/* The value after a tag; `field` NULL: unknown. */
static int scan_value(struct scan *s, const ProtobufCFieldDescriptor *field, unsigned wire,
	struct span *in, unsigned depth)
{
	struct span bytes;
	uint64_t value;

	switch (wire) {
	case WIRE_VARINT:
		return varint(in, &value) ? 0 : malformed(s, "a number is cut off or too long");
	case WIRE_64:
		return take(in, 8, &bytes) ? 0 : malformed(s, "a 64-bit value is cut off");
	case WIRE_32:
		return take(in, 4, &bytes) ? 0 : malformed(s, "a 32-bit value is cut off");
	case WIRE_BYTES:
		if (!varint(in, &value) || !take(in, value, &bytes))
			return malformed(s, "a field is longer than the message");
		return scan_bytes(s, field, bytes, depth);
	default:
		return malformed(s, "groups are not supported");
	}
}

static int scan_message(
	struct scan *s, const ProtobufCMessageDescriptor *type, struct span in, unsigned depth)
{
	int r = charge(s, type->sizeof_message + sizeof(void *));

	if (r == 0 && depth > s->limits->depth_max)
		r = err_set(s->e, -EINVAL, "REQUEST_TOO_COMPLEX",
			"the request nests more than %u levels", s->limits->depth_max);
	while (r == 0 && in.at < in.end) {
		const ProtobufCFieldDescriptor *field;
		uint64_t tag;

		if (!varint(&in, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
			return malformed(s, "a field has no valid number");
		if (++s->fields > s->limits->fields_max)
			return err_set(s->e, -EINVAL, "REQUEST_TOO_COMPLEX",
				"the request has more than %zu fields", s->limits->fields_max);
		field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
		r = charge(s, FIELD_COST);
		if (r == 0)
			r = scan_value(s, field, tag & 7, &in, depth);
	}
	return r;
}

int prescan(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
	const struct prescan_limits *limits, struct err *e)
{
	struct scan s = {.limits = limits, .e = e};
	struct span in = {.at = data, .end = (const uint8_t *)data + len};

	return scan_message(&s, type, in, 0);
}
