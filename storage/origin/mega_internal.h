/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `mega` origin: what origin_mega.c (opening, contents), mega_resolve.c (revisions),
 * mega_tree.c (directories) and mega_sizes.c (sizes) share.
 */
#pragma once
#include "base/buf.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "origin/http.h"
#include "origin/mega_json.h"
#include "origin/mega_memory.h"
#include "storage/origin_impl.h"

struct mega {
	char *name, *url; /* const after open, as all but the last */
	struct http_client *http;
	struct mega_memory *memory;
	struct counter *drift, *lies; /* NULL without metrics */
	struct lock lock;
	uint64_t told_ns; /* guarded by lock: when drift was last logged */
};

/* How a caller waits. */
struct mega_wait {
	const struct cancel *cancel;
	uint64_t deadline_ns;
};

/* One GET, its body into `ret` (to be freed whatever comes). Results as of http_finish. */
int mega_get(
	struct mega *m, const char *url, const struct mega_wait *wait, struct http_answer *ret);

/* The URLs that are asked; of an empty text there is no memory (buf_error). */
void mega_url_listing(struct buf *out, const struct mega *m, const struct mega_place *place);
/* `tree` NULL: the head's, whatever it is. */
void mega_url_tree(struct buf *out, const struct mega *m, const char *path, const struct oid *tree);

/* A request for a blob is begun; its `url` is filled in here. */
int mega_start_blob(struct mega *m, const struct oid *blob, struct http_request *request,
	struct http_call **ret_call);

/* mega_tree.c: the tree object at a place, `want` if it is known what it must be, into `out`; what
 * comes is verified. */
int mega_fetch_tree(struct mega *m, const struct mega_place *place, const struct oid *want,
	const struct mega_wait *wait, struct buf *out);
/* mega_sizes.c: sizes of blobs, known or asked for, side by side; none oids are left out. */
int mega_fetch_sizes(struct mega *m, const struct oid *blobs, size_t count,
	const struct mega_wait *wait, uint64_t *ret_sizes, struct mega_facts *facts);

int mega_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e);
/* mega_upload.c: the tree of a commit, and when it was made, by the commit object itself: the first
 * in the pack that Git's side of the directory sends. -EIO: it is not there. */
int mega_fetch_commit(struct mega *m, const char *path, const struct oid commits[2],
	const struct mega_wait *wait, struct mega_root *ret_root);
/* Its answer, as far as it came; pure. */
int mega_upload_parse(
	const struct buf *answer, const struct oid *commit, struct mega_root *ret_root);
/* Appends the URL of Git's side of a directory. */
void mega_url_git(struct buf *out, const struct mega *m, const char *path, const char *service);
/* The bytes of the first band of a side-band answer, as far as it came. Pure. */
int mega_unwrap(const struct buf *answer, struct buf *out);
/* mega_push.c */
struct mega_refs_call {
	const char *path, *service;
	struct mega_wait wait;
	origin_ref_fn fn;
	void *arg;
};
int mega_fetch_refs(struct mega *m, const struct mega_refs_call *call);
int mega_refs(void *impl, const char *path, uint64_t deadline_ns, origin_ref_fn fn, void *arg);
int mega_push(void *impl, const struct origin_push *push, char *ret_why, size_t cap);
/* What the server reports; pure. As origin_push; -EIO: nothing that can be understood. */
int mega_push_report(const struct buf *answer, char *ret_why, size_t cap);
/* mega_change.c */
int mega_find_change(void *impl, const char *link, const char *path, uint64_t deadline_ns,
	struct origin_change *ret_change);
int mega_change_files(
	void *impl, const char *link, uint64_t deadline_ns, origin_change_file_fn fn, void *arg);
/* mega_history.c: `count` commits, or fewer, from `commit` on, which comes first. -ENOENT: the
 * server does not know it, or tells no histories. */
struct mega_history_call {
	const struct oid *commit;
	unsigned count;
	struct mega_wait wait;
	mega_history_fn fn;
	void *arg;
};
int mega_fetch_history(struct mega *m, const struct mega_history_call *call);
int mega_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e);
/* mega_places.c */
struct mega_child {
	const char *name;
	size_t name_len;
	struct oid tree;
};
/* Where the directory `child` of the one at `place` is. */
int mega_note_place(
	struct mega_facts *facts, const struct mega_place *place, const struct mega_child *child);
int mega_learn_tree(void *impl, const struct oid *tree, const struct tree_view *view);
int mega_roots(void *impl, struct oid *ret_roots, unsigned cap, unsigned *ret_count);

int mega_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len);
int mega_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns);
