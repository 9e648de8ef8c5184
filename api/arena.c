/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bump allocator over a list of blocks. The first block is small, because most calls are; blocks
 * double up to 64 KiB, and an allocation that does not fit one gets a block of its own size.
 * Freeing one piece does nothing: protobuf-c frees its scratch memory and on errors, and the limit
 * is on what was ever taken. Not thread-safe.
 */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_FIRST ((size_t)2 << 10)
#define BLOCK_LAST  ((size_t)64 << 10)

struct arena_block {
	struct arena_block *next;
	size_t size, used; /* of data */
	alignas(max_align_t) unsigned char data[];
};

static void *allocator_alloc(void *data, size_t size)
{
	return arena_alloc(data, size);
}

static void allocator_free(void *data, void *pointer)
{
	(void)data;
	(void)pointer;
}

void arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){.max_bytes = max_bytes,
		.allocator = {
			.alloc = allocator_alloc, .free = allocator_free, .allocator_data = a}};
}

void arena_fini(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *block = a->blocks;

		a->blocks = block->next;
		free(block);
	}
	a->used_bytes = 0;
}

/* Puts a block with room for `size` in front. */
static struct arena_block *block_add(struct arena *a, size_t size)
{
	size_t want = a->blocks ? a->blocks->size * 2 : BLOCK_FIRST;
	size_t room = a->max_bytes - a->used_bytes;
	struct arena_block *block;

	if (want > BLOCK_LAST)
		want = BLOCK_LAST;
	if (want < size)
		want = size;
	if (want > room || sizeof(*block) > room - want)
		return NULL;
	block = calloc(1, sizeof(*block) + want);
	if (!block)
		return NULL;
	block->size = want;
	block->next = a->blocks;
	a->blocks = block;
	a->used_bytes += sizeof(*block) + want;
	return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *block = a->blocks;
	void *piece;

	if (size > a->max_bytes)
		return NULL;
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!block || size > block->size - block->used)
		block = block_add(a, size);
	if (!block)
		return NULL;
	piece = block->data + block->used;
	block->used += size;
	return piece;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = arena_alloc(a, len);

	return copy ? memcpy(copy, s, len) : NULL;
}
