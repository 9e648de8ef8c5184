/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read-only layer below a workspace, as the overlay sees it: trees and blobs by oid. Local
 * answers come at once; -EAGAIN says that something must be fetched (or computed) first.
 * lower_tree.c implements it over storage/; tests implement it in memory.
 */
#pragma once
#include "storage/tree.h"

#include <stdint.h>
#include <sys/types.h>

struct lower;
struct readahead_place;
struct origin;
struct storage;

enum lower_need_kind { LOWER_NEED_NONE, LOWER_NEED_TREE, LOWER_NEED_BLOB, LOWER_NEED_DIGESTS };

/* result: 0 (ask again, it is local now) or -EIO, -ETIMEDOUT, -EHOSTUNREACH, -ECANCELED, -ENOSPC.
 * Never -ENOENT. */
typedef void (*lower_done)(void *arg, int result);

struct lower_ops {
	/* 0 and an open view (end it with tree_view_end, before anything that blocks), -EAGAIN,
	 * -EIO. */
	int (*tree)(struct lower *l, const struct oid *tree, struct tree_view *ret_view);
	/* Bytes read, short only at the end; -EAGAIN, -EIO. Never waits for anyone else. */
	ssize_t (*read)(
		struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset);
	/* Copy the first `len` bytes of a local blob to out_fd at 0 (reflink or copy_file_range
	 * where possible). -EAGAIN. Blocks on disk. */
	int (*copy)(struct lower *l, const struct oid *blob, int out_fd, uint64_t len);
	/* Ask for it; `fn` is called once, on another thread or before this returns, if this
	 * returns 0. */
	int (*fetch)(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
		uint64_t deadline_ns, lower_done fn, void *arg);
	/* Hint: this directory will be listed soon. Never blocks, may do nothing. */
	void (*prefetch)(struct lower *l, const struct oid *tree);
	/* Hint: a reader waits for the content of entry places[0], or for the directory that it
	 * is; see readahead_missed. Never blocks. NULL: nobody is interested. */
	void (*missed)(struct lower *l, const struct readahead_place *places, unsigned count);
	/* Digests of a blob's bytes if known without reading it. -EAGAIN. */
	int (*digests)(struct lower *l, const struct oid *blob, struct content_digests *ret);
	void (*free)(struct lower *l);
};

struct lower {
	const struct lower_ops *ops;
};

/* Over the storage and one origin, for a tenant (storage_tenant; 0: nobody in particular); takes a
 * reference on the origin. NULL: no memory. Freed by ops->free. */
struct lower *lower_tree_new(struct storage *st, struct origin *o, unsigned tenant);
