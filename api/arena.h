/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of one call: allocated piece by piece, freed all at once, and never more than the limit.
 * It is also the allocator that protobuf-c unpacks into, so that a small message that unpacks into
 * a huge one is refused and not obeyed. Not thread-safe: it belongs to the thread that runs the
 * call.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#define ARENA_MAX_BYTES ((size_t)16 << 20)

struct arena_block;

struct arena {
	struct arena_block *blocks; /* the newest first; allocations come from it */
	size_t used_bytes;          /* of all blocks, headers included */
	size_t max_bytes;           /* const after init */
	ProtobufCAllocator
		allocator; /* for protobuf_c_message_unpack; valid as long as the arena */
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_fini(struct arena *a);
/* Zeroed, aligned for anything. NULL: no memory, or the limit. */
void *arena_alloc(struct arena *a, size_t size);
/* Zeroed array; NULL also if count * size overflows. */
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
