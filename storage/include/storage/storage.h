/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composes tree index, blob store and origins; no one else joins them. Local answers are immediate
 * and never block on a remote; what is missing is asked for with storage_fetch_*, which runs on a
 * bounded pool, once per oid for all who ask, and calls back.
 *
 * Deadlines are monotonic ns of the system's clock (base/clock.h); none is taken later than 10
 * minutes from now.
 *
 * Threads: any. Callbacks run with no lock held, on a fetch thread, on the reaper (-ETIMEDOUT) or
 * on the thread that closes (-ECANCELED). They must not block and must not wait for another fetch;
 * they may ask for one.
 */
#pragma once
#include "storage/blob.h"
#include "storage/digest.h"
#include "storage/origin.h"
#include "storage/tree.h"

struct blob_redis_config;
struct err;
struct health;
struct metrics;
struct storage;

struct storage_config {
	const char *data_dir; /* uses data_dir/index and data_dir/blobs */
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	unsigned fetch_threads;    /* of one tenant at one origin: so many each for trees, blobs,
				      digests; half for prefetches. All tenants together have twice
				      as many; an origin beyond a network four times. 0 = 4 */
	uint64_t index_bytes;      /* its file is never larger; 0 = 16 GiB */
	const struct clock *clock; /* for ages in the blob store */
	struct metrics *metrics;
	struct health *health;                 /* may be NULL */
	const struct blob_redis_config *redis; /* NULL: no shared cache; copied */
};
int storage_open(struct storage **ret_storage, const struct storage_config *config, struct err *e);
/* Cancels fetches (their callbacks get -ECANCELED), waits for them, closes. Views must be closed;
 * no calls after. */
struct storage *storage_close(struct storage *st);
struct tree_index *storage_tree_index(struct storage *st);
struct blob_store *storage_blob_store(struct storage *st);

/* Origins by name. The storage keeps a reference. -EEXIST for a second one of the same name. */
int storage_add_origin(struct storage *st, struct origin *origin);
/* A new reference, or NULL. Use this very object in the calls below: it has its own fetch threads,
 * others share a few. */
struct origin *storage_origin(struct storage *st, const char *name);
typedef void (*storage_origin_visit)(void *arg, struct origin *o);
void storage_each_origin(struct storage *st, storage_origin_visit fn, void *arg);

/* Revision → commit and root; remembers the commit in the index. Blocks (origin). */
int storage_resolve(struct storage *st, struct origin *o, const char *revision,
	uint64_t deadline_ns, struct origin_revision *ret_revision, struct err *e);
/* The tree at a relative path below `root` ("" = root itself), fetching directories on the way.
 * Blocks. -ENOENT reason PATH_NOT_FOUND, -ENOTDIR reason PATH_NOT_A_DIRECTORY, with the component
 * named. */
int storage_find_subtree(struct storage *st, struct origin *o, const struct oid *root,
	const char *path, uint64_t deadline_ns, struct oid *ret_tree, struct err *e);
/* Make a tree readable, blocking. Results as of storage_fetch_tree. */
int storage_need_tree(
	struct storage *st, struct origin *o, const struct oid *tree, uint64_t deadline_ns);

/* Git LFS: an origin with ORIGIN_CAP_LFS shows contents where the repository has pointers. So its
 * directories are kept a second time, with the sizes of the contents, and contents are kept under
 * names of their own: other origins may have the same trees and show the pointers. These are the
 * keys for storage_tree_view, blob reads, blob fetches and digests of what an origin shows; `lfs`
 * says whether it has the capability. Trees are fetched by their Git ids all the same. */
struct oid storage_tree_key(const struct oid *tree, bool lfs);
struct oid storage_blob_key(struct storage *st, const struct oid *blob, bool lfs);

/* Immediate, see tree_view_begin and blob_read; -EAGAIN means: fetch it, then ask again. */
int storage_tree_view(struct storage *st, const struct oid *tree, struct tree_view *ret_view);
ssize_t storage_blob_read(
	struct storage *st, const struct oid *blob, void *buf, size_t len, uint64_t offset);

/* For whom: requests of different tenants take turns at an origin, and none can use up its threads
 * or its queue. A number for `storage_ask`; 0 is nobody in particular, and who has no place in the
 * table (256) shares that one. */
unsigned storage_tenant(struct storage *st, const char *name);

/* The first `len` bytes of a local blob, or all it has, into out_fd at 0: shared or copied by the
 * kernel where that is possible. -EAGAIN: not local. Blocks on the disk. */
int storage_blob_copy(struct storage *st, const struct oid *blob, int out_fd, uint64_t len);

/* Ask for what is missing. If this returns 0, `fn` is called exactly once (perhaps before it
 * returns); otherwise never. result: 0 (now local), or -EIO, -ETIMEDOUT, -EHOSTUNREACH, -ECANCELED,
 * -ENOSPC; never -ENOENT: an object that a verified tree names and the origin does not have is
 * -EIO. -EAGAIN from the call itself: too many fetches are queued. Foreground ones go first. */
typedef void (*storage_done)(void *arg, int result);
enum storage_kind { STORAGE_TREE, STORAGE_BLOB, STORAGE_DIGESTS };
struct storage_ask {
	struct origin *origin;
	unsigned tenant;
	bool background; /* after all foreground work of the origin */
	uint64_t deadline_ns;
	storage_done fn;
	void *arg;
};
int storage_ask(struct storage *st, enum storage_kind kind, const struct oid *oid,
	const struct storage_ask *ask);
/* The same in the foreground, for nobody in particular. */
int storage_fetch_tree(struct storage *st, struct origin *o, const struct oid *tree,
	uint64_t deadline_ns, storage_done fn, void *arg);
int storage_fetch_blob(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, storage_done fn, void *arg);
/* The digests of a blob's bytes into the index (tree_blob_digests). Makes the blob local and hashes
 * it, unless they are known. */
int storage_fetch_digests(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, storage_done fn, void *arg);
/* Hint: fetch in the background, after all foreground work; dropped when the queue is full. */
void storage_prefetch_tree(
	struct storage *st, struct origin *o, unsigned tenant, const struct oid *tree);
