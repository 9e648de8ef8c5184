/* SPDX-License-Identifier: Apache-2.0 */
/* The index behind reflection.c. Const after reflection_index_build; any thread. */
#pragma once
#include <google/protobuf/descriptor.pb-c.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

struct reflection_file {
	const uint8_t
		*raw; /* the FileDescriptorProto as it stands in the set: never encoded again */
	size_t raw_len;
	const Google__Protobuf__FileDescriptorProto *parsed;
};

struct reflection_symbol {
	const char *name; /* "coppice.v1.MountService.CreateMount" */
	uint32_t file;
};

struct reflection {
	struct arena arena; /* of everything below */
	struct reflection_file *files;
	uint32_t file_count;
	struct reflection_symbol *symbols; /* sorted by name */
	size_t symbol_count, symbol_cap;
};

/* From a serialised FileDescriptorSet, which must stay. -EBADMSG, -ENOMEM. */
int reflection_index_build(struct reflection *r, const uint8_t *set, size_t len);
/* NULL: none of that name. */
const struct reflection_file *reflection_file_find(const struct reflection *r, const char *name);
const struct reflection_file *reflection_symbol_find(const struct reflection *r, const char *name);
