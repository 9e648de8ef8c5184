/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of storage/layer share. A merge asks for trees and sizes through a source, so that
 * it can be tested over trees in memory. */
#pragma once
#include "storage/layer.h"

#include "base/buf.h"

struct change {
	size_t path; /* offset in layer.paths */
	uint32_t len;
	bool expects, replaces;
	struct layer_entry put, old;
};

struct layer {
	uint8_t oid_len;
	struct change *changes;
	size_t count, cap;
	struct buf paths; /* NUL-terminated, one after the other */
	bool sorted;
};

static inline const char *layer_path(const struct layer *l, const struct change *c)
{
	return l->paths.data + c->path;
}

/* By path, a directory right before what is below it. -EINVAL: one path twice. */
int layer_sort(struct layer *l);

struct layer_source;
struct layer_source_ops {
	/* An open view, fetched if need be. */
	int (*tree)(struct layer_source *s, const struct oid *tree, struct tree_view *ret_view);
	int (*size)(struct layer_source *s, const struct oid *blob, uint64_t *ret_size);
	int (*put)(struct layer_source *s, const struct tree_record *records, unsigned count);
};
struct layer_source {
	const struct layer_source_ops *ops;
};

int layer_merge(struct layer *l, struct layer_source *source, const struct oid *base,
	struct layer_report *report, struct oid *ret_root);

/* ---- one directory, layer_tree.c ---- */

struct layer_edit {
	const char *name;
	uint8_t name_len;
	struct layer_entry entry; /* nothing: the name goes */
};

/* What remains of a directory. `base` (NULL: empty) has `sizes` for its entries whose size is not
 * known, in their order; edits are sorted as its entries are, each name once. */
struct layer_dir {
	const struct tree_view *base;
	const uint64_t *sizes;
	const struct layer_edit *edits;
	size_t edit_count;
	uint8_t oid_len;
};
/* The record, malloc'ed, and its id. -EBADMSG: two equal names, or one that cannot be; -EFBIG. */
int layer_tree_build(const struct layer_dir *dir, struct tree_record *ret_record);
/* Whether anything is left, without building it. */
bool layer_tree_empty(const struct layer_dir *dir);
