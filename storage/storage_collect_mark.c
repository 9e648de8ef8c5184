// SPDX-License-Identifier: Apache-2.0
/*
 * What a root shows: its directories, and what is known about their files. Directories that are not
 * in the index are not there to be dropped. A view is open for one directory at a time.
 *
 * Threads: the collector's.
 */
#include "storage_collect.h"
#include "storage_internal.h"
#include "tree/tree_sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FACTS_BYTES 96u /* a file's size and digests with their keys, about */

static int push(struct collect_walk *w, const struct oid *tree)
{
	if (w->count == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 256;
		struct oid *stack = reallocarray(w->stack, cap, sizeof(*stack));

		if (!stack)
			return -ENOMEM;
		w->stack = stack;
		w->cap = cap;
	}
	w->stack[w->count++] = *tree;
	return 0;
}

/* The directory, under both names that it may have. */
static int meet(struct collect_walk *w, const struct oid *tree)
{
	struct oid with_lfs = storage_tree_key(tree, true);
	int r = tree_sweep_keep_tree(w->sweep, tree);

	if (r <= 0)
		return r;
	r = tree_sweep_keep_tree(w->sweep, &with_lfs);
	return r < 0 ? r : push(w, tree);
}

static int open_either(struct collect_walk *w, const struct oid *tree, struct tree_view *ret_view)
{
	struct oid with_lfs = storage_tree_key(tree, true);
	int r = tree_view_begin(w->st->index, tree, ret_view);

	return r == 0 ? 0 : tree_view_begin(w->st->index, &with_lfs, ret_view);
}

static int walk_one(struct collect_walk *w, const struct oid *tree)
{
	struct tree_view view;
	struct tree_entry entry;
	int r = 0;

	if (open_either(w, tree, &view) < 0)
		return 0;
	w->bytes += view.len;
	for (uint32_t i = 0; i < view.count && r == 0; i++) {
		struct oid oid = {.len = view.oid_len};

		tree_view_entry(&view, i, &entry);
		if (!entry.oid)
			continue;
		memcpy(oid.bytes, entry.oid, oid.len);
		if (S_ISDIR(entry.mode)) {
			r = meet(w, &oid);
			continue;
		}
		tree_sweep_keep_blob(w->sweep, &oid);
		w->bytes += FACTS_BYTES;
		if (w->lfs) {
			oid = storage_blob_key(w->st, &oid, true);
			tree_sweep_keep_blob(w->sweep, &oid);
		}
	}
	tree_view_end(&view);
	return r;
}

int collect_keep(struct collect_walk *w, const struct oid *root, uint64_t limit)
{
	int r = meet(w, root);

	while (r == 0 && w->count && w->bytes < limit) {
		struct oid tree = w->stack[--w->count];

		r = atomic_load(w->stop) ? -ECANCELED : walk_one(w, &tree);
	}
	w->count = 0;
	return r;
}
