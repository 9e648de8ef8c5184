/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read-only layer over a tree: a list of changes by path, and the tree that comes out when they
 * are laid over a base (ADR 0004). Only directories on the way to a change are written anew; all
 * others are named by the oid they have. A result is named by the id that Git would give it, except
 * that the index does not keep which commit a submodule is at (it counts as zeros) nor the group's
 * write bit of old repositories.
 *
 * A layer is filled and merged by one thread at a time.
 */
#pragma once
#include "storage/tree.h"

struct err;
struct layer;
struct origin;
struct storage;

#define LAYER_CHANGES_MAX   (1u << 20)
#define LAYER_PATHS_MAX     (256u << 20) /* bytes of all paths */
#define LAYER_CONFLICTS_MAX 100u         /* so many are told; the others are only counted */

/* What is at a path: mode as in struct tree_entry, 0: nothing. A directory's oid names a whole
 * tree. */
struct layer_entry {
	uint32_t mode;
	struct oid oid; /* none for a submodule, and for nothing */
	bool size_known;
	uint64_t size;
};

struct layer_change {
	const char *path;       /* relative, not "" */
	struct layer_entry put; /* nothing: what is there goes, a directory with all in it */
	/* What the change was made over. Anything else there is a conflict, unless it is what the
	 * change wants already. */
	bool expects;
	struct layer_entry old;
	bool replaces; /* a file in the place of a directory, which goes with all in it */
};

struct layer *layer_new(uint8_t oid_len); /* NULL: no memory */
struct layer *layer_free(struct layer *l);
/* -EINVAL: a path or an entry that cannot be; -E2BIG: more than fits a layer. The strings are
 * copied. */
int layer_add(struct layer *l, const struct layer_change *change);
size_t layer_count(const struct layer *l);

/* Called for each path that does not fit, in their order. */
typedef void (*layer_conflict)(void *arg, const char *path, const char *reason);
struct layer_report {
	layer_conflict fn; /* NULL: nobody wants to know */
	void *arg;
	size_t conflicts; /* out: how many, told or not */
};

/* The root of `base` (none: an empty tree) with the changes. -ESTALE: there were conflicts, and
 * nothing has changed. -EINVAL: two changes of one path. Blocks: directories on the way, and sizes
 * that are not known, come from the origin; results are in the index when this returns. Errors as
 * of storage_need_tree. */
int storage_lay_over(struct storage *st, struct origin *o, const struct oid *base, struct layer *l,
	uint64_t deadline_ns, struct layer_report *report, struct oid *ret_root);
/* What makes `to` of `from` (none: an empty tree), file by file, each expecting what `from` has. To
 * the caller: layer_free. -E2BIG: more than fits a layer; errors as of storage_need_tree. Blocks.
 */
int storage_diff(struct storage *st, struct origin *o, const struct oid *from, const struct oid *to,
	uint8_t oid_len, uint64_t deadline_ns, struct layer **ret_layer);

/* What is at a path below `root`: mode 0 if nothing is. Blocks; errors as of storage_need_tree. */
int storage_find_entry(struct storage *st, struct origin *o, const struct oid *root,
	const char *path, uint64_t deadline_ns, struct layer_entry *ret_entry);
/* A whole blob in memory, fetched if need be. -EFBIG: it has more than `max` bytes. Blocks; errors
 * as of storage_need_tree. */
struct storage_content {
	size_t max; /* to be given */
	char *data; /* malloc'ed, NUL-terminated */
	size_t len;
};
int storage_read_content(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, struct storage_content *content);
