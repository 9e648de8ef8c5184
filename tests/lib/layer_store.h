/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees in memory for the merging of layers: a source of it, and the tree of a list of files. Every
 * blob's size is a number that follows from its id. Header only; needs storage/ among the include
 * directories.
 */
#pragma once
#include "layer/layer_internal.h"

#include "base/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct layer_store {
	struct layer_source source;
	struct tree_record *records; /* owned, with their bytes */
	size_t count, cap;
	bool hide_sizes;       /* trees do not know the sizes of their files */
	unsigned long asked;   /* sizes that were asked for */
	unsigned long fail_at; /* the n-th call from now fails; 0: none */
};

static inline bool layer_store_fails(struct layer_store *s)
{
	return s->fail_at > 0 && --s->fail_at == 0;
}

static inline int layer_store_tree(
	struct layer_source *source, const struct oid *tree, struct tree_view *ret_view)
{
	struct layer_store *s = container_of(source, struct layer_store, source);

	if (layer_store_fails(s))
		return -ETIMEDOUT;
	for (size_t i = 0; i < s->count; i++)
		if (oid_equal(&s->records[i].tree, tree))
			return tree_view_over(s->records[i].record, s->records[i].len, ret_view);
	return -EIO;
}

static inline int layer_store_size(
	struct layer_source *source, const struct oid *blob, uint64_t *ret_size)
{
	struct layer_store *s = container_of(source, struct layer_store, source);

	if (layer_store_fails(s))
		return -ETIMEDOUT;
	s->asked++;
	*ret_size = blob->bytes[0];
	return 0;
}

static inline int layer_store_put(
	struct layer_source *source, const struct tree_record *records, unsigned count)
{
	struct layer_store *s = container_of(source, struct layer_store, source);

	if (layer_store_fails(s))
		return -ENOSPC;
	for (unsigned i = 0; i < count; i++) {
		void *copy = malloc(records[i].len);

		if (s->count == s->cap) {
			s->cap = s->cap ? 2 * s->cap : 64;
			s->records = reallocarray(s->records, s->cap, sizeof(*s->records));
		}
		if (!copy || !s->records)
			abort();
		memcpy(copy, records[i].record, records[i].len);
		s->records[s->count++] =
			(struct tree_record){records[i].tree, copy, records[i].len};
	}
	return 0;
}

static inline void layer_store_init(struct layer_store *s)
{
	static const struct layer_source_ops ops = {
		.tree = layer_store_tree, .size = layer_store_size, .put = layer_store_put};

	*s = (struct layer_store){.source.ops = &ops};
}

static inline void layer_store_fini(struct layer_store *s)
{
	for (size_t i = 0; i < s->count; i++)
		free((void *)(uintptr_t)s->records[i].record);
	free(s->records);
}
