/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing from the index what nobody needs. The caller says what is to be kept, then the rest is
 * dropped:
 *
 *	tree_sweep_begin → tree_sweep_keep_* → tree_sweep_drop → tree_sweep_end
 *
 * What is put between begin and end is kept, too, also where it was there before. Directories are
 * kept exactly; of blobs' facts a few too many (a Bloom filter of fixed size says which). What is
 * dropped can be fetched again; what cannot, the caller must keep.
 *
 * One sweep at a time, by one thread.
 */
#pragma once
#include "storage/tree.h"

#include <stdatomic.h>

struct tree_sweep;

/* -EBUSY: there is one; -ENOMEM. */
int tree_sweep_begin(struct tree_index *ti, struct tree_sweep **ret_sweep);
/* NULL is fine. Returns NULL. */
struct tree_sweep *tree_sweep_end(struct tree_sweep *s);

/* 1: it was not to be kept until now; 0: it was; -ENOMEM. */
int tree_sweep_keep_tree(struct tree_sweep *s, const struct oid *tree);
/* The same for one whose contents the caller does not know. */
int tree_sweep_keep_alone(struct tree_sweep *s, const struct oid *tree);
void tree_sweep_keep_blob(struct tree_sweep *s, const struct oid *blob);

struct tree_swept {
	uint64_t seen, dropped; /* records of all kinds */
};
/* Drops all that is not kept; a commit, when its root is not. Blocks on the writer, a few hundred
 * records at a time. -ECANCELED once `stop` is set; -ENOMEM: something that was put could not be
 * noted, so that the rest stays. Errors of kv_write. */
int tree_sweep_drop(struct tree_sweep *s, const _Atomic bool *stop, struct tree_swept *ret_swept);
