/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks over a request on the wire before it is unpacked. protobuf-c bounds neither nesting nor
 * what a message grows to, takes strings that are not UTF-8 and cuts them at a NUL, so whoever
 * sends bytes could crash the process or make a check see another string than the one used. After a
 * pre-scan none of this can happen. Pure; allocates nothing.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct prescan_limits {
	unsigned depth_max;  /* levels of sub-messages */
	size_t budget_bytes; /* what unpacking may allocate, estimated from above */
	size_t fields_max;   /* fields on the wire, all levels together */
};
extern const struct prescan_limits prescan_default; /* 32 levels, 16 MiB, 65,536 fields */

/* 0, or -EINVAL: reason MALFORMED_REQUEST (not a message), REQUEST_TOO_COMPLEX (a limit), or
 * INVALID_FIELD with the field whose text is not UTF-8 or contains a NUL. */
int prescan(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
	const struct prescan_limits *limits, struct err *e);
