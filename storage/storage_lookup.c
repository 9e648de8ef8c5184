// SPDX-License-Identifier: Apache-2.0
/*
 * Questions that may wait for an origin: a revision, a directory, the directory at a path. They are
 * asked when a workspace is made, by threads that may block, and answer a person: what is missing
 * is named.
 *
 * Threads: any but those that call fetch callbacks (a callback must not wait for a fetch).
 */
#include "storage_internal.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/path.h"
#include "storage/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int storage_resolve(struct storage *st, struct origin *o, const char *revision,
	uint64_t deadline_ns, struct origin_revision *ret_revision, struct err *e)
{
	struct tree_commit commit;
	struct origin_revision rev;
	struct err why = {0};
	int r = origin_resolve(o, revision, deadline_ns, &rev, e ? e : &why);

	storage_origin_resolved(st, o, r, e ? e : &why);
	if (r < 0)
		return r;
	commit = (struct tree_commit){.root = rev.root, .time_s = rev.time_s};
	r = tree_commit_put(st->index, &rev.commit, &commit);
	if (r < 0)
		return err_wrap(e, r, "remember the commit of revision \"%s\"", revision);
	collector_used(&st->collector, &rev.root, false);
	*ret_revision = rev;
	return 0;
}

struct answer {
	struct lock mu;
	struct cond cv;
	bool done;  /* guarded by mu */
	int result; /* guarded by mu */
};

static void answer_set(void *arg, int result)
{
	struct answer *a = arg;
	LOCK_GUARD(&a->mu);

	a->result = result;
	a->done = true;
	cond_signal(&a->cv);
}

/* The fetch ends at the latest at its deadline and always calls back: no deadline of our own is
 * needed. */
static int fetch_and_wait(struct storage *st, struct origin *o, enum storage_kind kind,
	const struct oid *oid, uint64_t deadline_ns)
{
	struct answer a = {.done = false};
	const struct storage_ask ask = {
		.origin = o, .deadline_ns = deadline_ns, .fn = answer_set, .arg = &a};
	int r;

	lock_init(&a.mu, LOCK_RANK_LEAF);
	cond_init(&a.cv);
	r = storage_ask(st, kind, oid, &ask);
	if (r == 0) {
		lock_acquire(&a.mu);
		while (!a.done)
			cond_wait(&a.cv, &a.mu);
		r = a.result;
		lock_release(&a.mu);
	}
	cond_fini(&a.cv);
	lock_fini(&a.mu);
	return r;
}

int storage_need_view(struct storage *st, struct origin *o, const struct oid *tree,
	uint64_t deadline_ns, struct tree_view *ret_view)
{
	struct oid key = storage_tree_key(tree, origin_caps(o) & ORIGIN_CAP_LFS);
	int r = tree_view_begin(st->index, &key, ret_view);

	/* -EIO here is a damaged record, which has been dropped: fetching repairs it. */
	if (r != -EAGAIN && r != -EIO)
		return r;
	r = fetch_and_wait(st, o, STORAGE_TREE, tree, deadline_ns);
	if (r < 0)
		return r;
	r = tree_view_begin(st->index, &key, ret_view);
	return r == -EAGAIN ? -EIO : r;
}

int storage_need_tree(
	struct storage *st, struct origin *o, const struct oid *tree, uint64_t deadline_ns)
{
	struct tree_view view;
	int r = storage_need_view(st, o, tree, deadline_ns, &view);

	if (r == 0)
		tree_view_end(&view);
	return r;
}

int storage_need_size(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, uint64_t *ret_size)
{
	int r = tree_blob_size(st->index, blob, ret_size);

	if (r == 0)
		return 0;
	r = blob_local_size(st->blobs, blob, ret_size);
	if (r == -EAGAIN || r == -EIO)
		r = fetch_and_wait(st, o, STORAGE_BLOB, blob, deadline_ns);
	if (r == 0)
		r = blob_local_size(st->blobs, blob, ret_size);
	return r == -EAGAIN ? -EIO : r;
}

/* One step down: the directory `name` in `dir`. The message names it and where it should be. */
static int step(struct storage *st, struct origin *o, struct oid *dir, const char *name, size_t len,
	uint64_t deadline_ns, struct err *e)
{
	struct tree_view view;
	struct tree_entry entry;
	uint32_t idx;
	bool found;
	int r = storage_need_view(st, o, dir, deadline_ns, &view);

	if (r < 0)
		return err_set(e, r, NULL,
			"origin %s cannot deliver the directory that holds \"%.*s\": %s",
			origin_name(o), (int)len, name, strerror(-r));
	found = tree_view_find(&view, name, len, &idx);
	if (found) {
		tree_view_entry(&view, idx, &entry);
		if (S_ISDIR(entry.mode) && entry.oid)
			*dir = oid_from_bytes(entry.oid, view.oid_len);
		else
			r = -ENOTDIR;
	}
	tree_view_end(&view);
	if (!found)
		return err_set(e, -ENOENT, "PATH_NOT_FOUND",
			"there is no \"%.*s\" in this revision", (int)len, name);
	if (r < 0)
		return err_set(e, r, "PATH_NOT_A_DIRECTORY",
			"\"%.*s\" is not a directory of this repository", (int)len, name);
	return 0;
}

int storage_find_subtree(struct storage *st, struct origin *o, const struct oid *root,
	const char *path, uint64_t deadline_ns, struct oid *ret_tree, struct err *e)
{
	struct oid dir = *root;
	const char *name, *rest = path;
	size_t len;
	int r;

	if (!path_relative_ok(path))
		return err_field(e, "path", "\"%s\" is not a relative path", path);
	while (path_next(&rest, &name, &len)) {
		r = step(st, o, &dir, name, len, deadline_ns, e);
		if (r < 0) {
			err_meta(e, "path", path);
			return r;
		}
	}
	*ret_tree = dir;
	return 0;
}

int storage_find_entry(struct storage *st, struct origin *o, const struct oid *root,
	const char *path, uint64_t deadline_ns, struct layer_entry *ret_entry)
{
	struct layer_entry at = {.mode = S_IFDIR | 0755, .oid = *root};
	const char *name;
	size_t len;

	while (path_next(&path, &name, &len)) {
		struct tree_view view;
		struct tree_entry entry;
		uint32_t idx;
		int r;

		if (!S_ISDIR(at.mode) || oid_is_none(&at.oid)) {
			at = (struct layer_entry){0};
			break;
		}
		r = storage_need_view(st, o, &at.oid, deadline_ns, &view);
		if (r < 0)
			return r;
		at = (struct layer_entry){0};
		if (tree_view_find(&view, name, len, &idx)) {
			tree_view_entry(&view, idx, &entry);
			at = (struct layer_entry){.mode = entry.mode,
				.size_known = entry.size_known,
				.size = entry.size};
			if (entry.oid)
				at.oid = oid_from_bytes(entry.oid, view.oid_len);
		}
		tree_view_end(&view);
	}
	*ret_entry = at;
	return 0;
}

static int read_local(struct storage *st, const struct oid *blob, struct storage_content *content)
{
	_cleanup_free_ char *data = NULL;
	uint64_t size;
	ssize_t n;
	int r = blob_local_size(st->blobs, blob, &size);

	if (r < 0)
		return r;
	if (size > content->max)
		return -EFBIG;
	data = malloc((size_t)size + 1);
	if (!data)
		return -ENOMEM;
	n = size ? blob_read(st->blobs, blob, data, (size_t)size, 0) : 0;
	if (n < 0 || (uint64_t)n != size)
		return n < 0 ? (int)n : -EIO;
	data[size] = '\0';
	content->data = TAKE_PTR(data);
	content->len = (size_t)size;
	return 0;
}

int storage_read_content(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, struct storage_content *content)
{
	int r = -EAGAIN;

	/* twice: it may be evicted, or found damaged, between its arrival and our reading */
	for (unsigned i = 0; i < 2 && (r == -EAGAIN || r == -EIO); i++) {
		r = read_local(st, blob, content);
		if (r != -EAGAIN && r != -EIO)
			return r;
		r = fetch_and_wait(st, o, STORAGE_BLOB, blob, deadline_ns);
		if (r == 0)
			r = read_local(st, blob, content);
	}
	return r == -EAGAIN ? -EIO : r;
}
