/* SPDX-License-Identifier: Apache-2.0 */
/* Git LFS: what a fetch does besides. See storage_tree_key. */
#pragma once
#include "storage_internal.h"

struct blob_sink;
struct cancel;

/* How a caller waits. */
struct lfs_wait {
	const struct cancel *cancel;
	uint64_t deadline_ns;
};

/* The directory with the sizes of contents, from the one in the index, unless it is there. Fetches
 * the blobs that may be pointers. */
int lfs_need_tree(
	struct storage *st, struct origin *o, const struct oid *tree, const struct lfs_wait *wait);
/* Whether a blob that is asked of an origin is the key of an LFS content. */
bool lfs_is_content(const struct origin *o, const struct oid *blob);
/* Those of `blobs` that are contents will be read: the server is asked where they are in few
 * requests. A failure costs only time. */
void lfs_prepare(struct storage *st, struct origin *o, const struct oid *blobs, unsigned count,
	const struct lfs_wait *wait);
/* produce() for such a one. */
int lfs_produce(struct storage *st, struct origin *o, const struct oid *content,
	struct blob_sink *sink, const struct lfs_wait *wait);
