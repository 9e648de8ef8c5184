/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree index: what is known about content, by its name, so that nothing in it is ever stale.
 *	tree oid → packed directory
 *	blob oid → size, digests of its bytes
 *	commit oid → root tree, time
 *	blob oid of a Git LFS pointer → what it stands for
 *
 * A packed directory is one versioned binary record, readable in place without copying. Entries are
 * sorted by name as plain bytes (memcmp, then length), not in Git's order. Layout in tree_codec.h;
 * it is a decoder of disk content and is fuzzed. A view is open only for the short time of one
 * lookup or one batch of a listing: never across a blocking call.
 */
#pragma once
#include "storage/content.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct kv_txn;
struct metrics;
struct tree_index;

struct tree_view {
	const uint8_t *record; /* packed directory, validated; points into the map (or into a buffer
				  of a test) */
	size_t len;
	uint32_t count;   /* entries */
	uint32_t subdirs; /* entries that are directories, for st_nlink */
	uint8_t oid_len;
	bool sizes_known;   /* every entry's size is known */
	struct kv_txn *txn; /* owned; NULL for a view over plain memory */
};

/* One entry, pointing into the view. */
struct tree_entry {
	const char *name; /* not NUL-terminated */
	uint16_t name_len;
	uint32_t mode; /* S_IFREG|0644, S_IFREG|0755, S_IFLNK|0777, S_IFDIR|0755; a submodule is
			  S_IFDIR|0755 with oid.len 0 */
	bool size_known;
	uint64_t size;      /* bytes of a file or of a symlink's target; 0 for a directory */
	const uint8_t *oid; /* view->oid_len bytes; NULL for a submodule */
};

int tree_index_open(struct tree_index **ret_index, const char *dir, uint64_t max_bytes,
	struct metrics *metrics, struct err *e);
struct tree_index *tree_index_close(struct tree_index *ti);
/* Who makes room. Before anything is put. */
struct tree_pressure {
	uint64_t step;            /* bytes */
	void (*grown)(void *arg); /* so much was put since the last time; must not block */
	/* Something could not be put: -ENOSPC. Makes room, which may take a while. True: there may
	 * be some now. */
	bool (*full)(void *arg);
	void *arg;
};
void tree_index_on_pressure(struct tree_index *ti, const struct tree_pressure *pressure);

/* 0 with the view open, or -EAGAIN: this tree is not in the index. -EIO: damaged record (it is
 * dropped, so that it is fetched again). */
int tree_view_begin(struct tree_index *ti, const struct oid *tree, struct tree_view *ret_view);
void tree_view_end(struct tree_view *view);
/* A view over a packed record in memory (tests, merges); checks it whole. -EBADMSG if malformed. */
int tree_view_over(const void *record, size_t len, struct tree_view *ret_view);
/* idx < view->count. */
void tree_view_entry(const struct tree_view *view, uint32_t idx, struct tree_entry *ret_entry);
/* Binary search. True and the index if present. */
bool tree_view_find(
	const struct tree_view *view, const char *name, size_t name_len, uint32_t *ret_idx);

/* Building a packed directory; entries in any order. A bad name (path_name_ok), mode or oid is
 * -EBADMSG at once and again at finish, a duplicate at finish. The first error sticks. */
struct tree_builder;
struct tree_builder_entry {
	const char *name;
	size_t name_len;
	uint32_t mode;
	struct oid oid; /* none for a submodule */
	bool size_known;
	uint64_t size;
};
struct tree_builder *tree_builder_new(uint8_t oid_len); /* NULL: no memory */
struct tree_builder *tree_builder_free(struct tree_builder *b);
int tree_builder_add(struct tree_builder *b, const struct tree_builder_entry *entry);
/* malloc'ed record to the caller. -EFBIG beyond 256 MiB. */
int tree_builder_finish(struct tree_builder *b, void **ret_record, size_t *ret_len);

/* Store; blocks until readable by tree_view_begin. Checked whole first (-EBADMSG). A record that is
 * there already is kept, unless only the new one knows all sizes. -ENOSPC: the map or the disk is
 * full. */
int tree_put(struct tree_index *ti, const struct oid *tree, const void *record, size_t len);
/* Several at once: one commit for all of them. */
struct tree_record {
	struct oid tree;
	const void *record;
	size_t len;
};
#define TREE_RECORDS_MAX 64u
int tree_put_all(struct tree_index *ti, const struct tree_record *records, unsigned count);
/* Object facts. tree_blob_size: 0, or -ENOENT unknown. */
int tree_blob_size(struct tree_index *ti, const struct oid *blob, uint64_t *ret_size);
int tree_put_blob_size(struct tree_index *ti, const struct oid *blob, uint64_t size);
/* The digests of a blob's bytes, once known. -ENOENT otherwise. */
int tree_blob_digests(
	struct tree_index *ti, const struct oid *blob, struct content_digests *ret_digests);
/* Blob: digests->oid. Blocks until readable. */
int tree_put_blob_digests(struct tree_index *ti, const struct content_digests *digests);
/* What a blob that is a Git LFS pointer stands for. tree_lfs: 0, or -ENOENT: it is none, or not
 * known to be. */
struct tree_lfs {
	uint64_t size;
	uint8_t sha256[CONTENT_SHA256_BYTES];
};
int tree_lfs(struct tree_index *ti, const struct oid *blob, struct tree_lfs *ret_lfs);
int tree_put_lfs(struct tree_index *ti, const struct oid *blob, const struct tree_lfs *lfs);
/* Commits: root tree and committer time; never change. */
struct tree_commit {
	struct oid root;
	int64_t time_s;
};
int tree_commit_get(
	struct tree_index *ti, const struct oid *commit, struct tree_commit *ret_commit);
int tree_commit_put(struct tree_index *ti, const struct oid *commit, const struct tree_commit *c);

struct tree_stats {
	uint64_t trees, blobs, commits, lfs;
	uint64_t used_bytes; /* of its file, which never shrinks; of them live, of max_bytes at most
			      */
	uint64_t live_bytes, max_bytes;
	bool set_aside; /* at this start an older or damaged index was moved away */
};
int tree_stats(struct tree_index *ti, struct tree_stats *ret_stats);
