/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees and blobs, wherever they live: the storage's index and blob store, the workspace's own
 * objects, or the origin. The order is that of cost. What has to be fetched is waited for, until
 * the verb is cancelled or its time is up; a fetch that nobody waits for any more ends by itself.
 *
 * The index keeps of a submodule only that it is one, so a directory that has any is read as the
 * object that it is.
 */
#include "workflow/wf.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/lock.h>
#include <base/ref.h>
#include <errno.h>
#include <fuse/overlay.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE        (256u << 10)
#define WAIT_STEP_NS (100 * NS_PER_MS) /* how soon a waiting verb sees that it was cancelled */

/* ---- waiting for a fetch ---- */

struct waiting {
	struct ref ref;   /* the waiter's and the callback's */
	struct lock lock; /* LOCK_RANK_LEAF */
	struct cond done_cond;
	bool done;
	int result;
};

static void waiting_unref(struct waiting *x)
{
	if (!ref_put(&x->ref))
		return;
	cond_fini(&x->done_cond);
	lock_fini(&x->lock);
	free(x);
}

static void fetched(void *arg, int result)
{
	struct waiting *x = arg;

	lock_acquire(&x->lock);
	x->done = true;
	x->result = result;
	cond_broadcast(&x->done_cond);
	lock_release(&x->lock);
	waiting_unref(x);
}

static int wait_done(struct wf *w, struct waiting *x)
{
	LOCK_GUARD(&x->lock);
	while (!x->done) {
		int r = wf_check(w);

		if (r < 0)
			return r;
		(void)cond_wait_until(
			&x->done_cond, &x->lock, clock_after(&clock_system, WAIT_STEP_NS));
	}
	return x->result;
}

static struct waiting *waiting_new(void)
{
	struct waiting *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	ref_init(&x->ref);
	ref_get(&x->ref);
	lock_init(&x->lock, LOCK_RANK_LEAF);
	cond_init(&x->done_cond);
	return x;
}

/* `started`: what the call that takes the callback has answered. */
static int waiting_end(struct wf *w, struct waiting *x, int started)
{
	int r = started;

	if (started < 0)
		waiting_unref(x); /* the callback's: it will not come */
	else
		r = wait_done(w, x);
	waiting_unref(x);
	return r;
}

typedef int (*fetch_fn)(struct storage *st, struct origin *o, const struct oid *oid,
	uint64_t deadline_ns, storage_done fn, void *arg);

static int fetch(struct wf *w, fetch_fn fn, const struct oid *oid)
{
	struct waiting *x;
	int r;

	if (!w->origin)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s is not configured or cannot be opened", w->use->origin);
	x = waiting_new();
	if (!x)
		return -ENOMEM;
	r = fn(w->storage, w->origin, oid, w->use->deadline_ns, fetched, x);
	return waiting_end(w, x, r);
}

int wf_need_wait(struct wf *w, struct ovl_need *need)
{
	struct waiting *x = waiting_new();
	int r;

	if (!x) {
		ovl_need_drop(need);
		return -ENOMEM;
	}
	r = ovl_fetch(need, w->use->deadline_ns, fetched, x);
	return waiting_end(w, x, r);
}

/* ---- trees ---- */

static uint32_t git_mode(uint32_t mode, bool has_oid)
{
	if (S_ISDIR(mode))
		return has_oid ? WF_MODE_DIR : WF_MODE_GITLINK;
	if (S_ISLNK(mode))
		return WF_MODE_LINK;
	return mode & 0100 ? WF_MODE_EXEC : WF_MODE_FILE;
}

static int copy_view(const struct tree_view *view, struct wf_dir *ret_dir, bool *ret_submodules)
{
	struct wf_dir dir = {0};
	struct tree_entry entry;
	size_t bytes = 0;
	char *at;

	for (uint32_t i = 0; i < view->count; i++) {
		tree_view_entry(view, i, &entry);
		bytes += entry.name_len + 1u;
	}
	dir.memory = at = malloc(bytes + 1);
	dir.entries = calloc(view->count + 1u, sizeof(*dir.entries));
	if (!at || !dir.entries) {
		wf_dir_fini(&dir);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < view->count; i++) {
		struct wf_dirent *d = &dir.entries[dir.count++];

		tree_view_entry(view, i, &entry);
		memcpy(at, entry.name, entry.name_len);
		at[entry.name_len] = '\0';
		d->name = at;
		d->len = entry.name_len;
		at += entry.name_len + 1u;
		d->node.mode = git_mode(entry.mode, entry.oid != NULL);
		d->node.size_known = entry.size_known;
		d->node.size = entry.size;
		if (entry.oid)
			d->node.oid = oid_from_bytes(entry.oid, view->oid_len);
		else
			*ret_submodules = true;
	}
	*ret_dir = dir;
	return 0;
}

static int load_indexed(
	struct wf *w, const struct oid *tree, struct wf_dir *ret_dir, bool *ret_submodules)
{
	struct tree_view view;
	int r = storage_tree_view(w->storage, tree, &view);

	if (r < 0)
		return r;
	r = copy_view(&view, ret_dir, ret_submodules);
	tree_view_end(&view);
	return r;
}

static int load_own(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir)
{
	void *data;
	size_t len;
	int r = wf_odb_read(w, tree, WF_TREE, &data, &len);

	return r < 0 ? r : wf_dir_parse(data, len, ret_dir);
}

/* A directory with submodules: the whole object, from the origin. */
static int load_raw(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir)
{
	const struct origin_raw_request rq = {
		*tree, OBJECT_TREE, w->use->cancel, w->use->deadline_ns};
	void *data;
	size_t len;
	int r = load_own(w, tree, ret_dir);

	if (r != -ENOENT)
		return r;
	if (!w->origin)
		return -EHOSTUNREACH;
	r = origin_read_raw(w->origin, &rq, &data, &len);
	if (r == -EOPNOTSUPP)
		return err_set(w->e, r, "NOT_IN_THIS_VERSION",
			"a directory on the way has a submodule, and origin %s cannot give it as "
			"it is",
			w->use->origin);
	return r < 0 ? r : wf_dir_parse(data, len, ret_dir);
}

static int load(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir, bool *ret_submodules)
{
	int r = load_indexed(w, tree, ret_dir, ret_submodules);

	if (r != -EAGAIN)
		return r;
	r = load_own(w, tree, ret_dir);
	if (r != -ENOENT)
		return r;
	r = fetch(w, storage_fetch_tree, tree);
	if (r == 0)
		r = load_indexed(w, tree, ret_dir, ret_submodules);
	return r == -EAGAIN ? -EIO : r; /* it was there a moment ago */
}

int wf_load_merged(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir)
{
	bool submodules = false;

	*ret_dir = (struct wf_dir){0};
	return oid_is_none(tree) ? 0 : load(w, tree, ret_dir, &submodules);
}

int wf_load_dir(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir)
{
	bool submodules = false;
	int r;

	*ret_dir = (struct wf_dir){0};
	if (oid_is_none(tree))
		return 0;
	tree = wf_list_find(&w->list, tree);
	r = load(w, tree, ret_dir, &submodules);
	if (r < 0 || !submodules)
		return r;
	wf_dir_fini(ret_dir);
	return load_raw(w, tree, ret_dir);
}

/* ---- blobs ---- */

static int stored_size(struct wf *w, const struct oid *oid, uint64_t *ret_size)
{
	struct blob_pin pin;
	int r = tree_blob_size(storage_tree_index(w->storage), oid, ret_size);

	if (r == 0)
		return 0;
	r = blob_pin(storage_blob_store(w->storage), oid, &pin);
	if (r < 0)
		return r;
	*ret_size = pin.size;
	blob_unpin(storage_blob_store(w->storage), &pin);
	return 0;
}

int wf_blob_size(struct wf *w, struct wf_node *node)
{
	int r;

	if (node->size_known)
		return 0;
	r = wf_odb_size(w, &node->oid, &node->size);
	if (r == -ENOENT)
		r = stored_size(w, &node->oid, &node->size);
	if (r == -EAGAIN) {
		r = fetch(w, storage_fetch_blob, &node->oid);
		if (r == 0)
			r = stored_size(w, &node->oid, &node->size);
	}
	node->size_known = r == 0;
	return r;
}

/* Bytes of a blob of the storage, fetched if need be. */
static ssize_t read_stored(
	struct wf *w, const struct oid *oid, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = storage_blob_read(w->storage, oid, buf, len, offset);

	for (unsigned i = 0; i < 3 && (n == -EAGAIN || n == -EIO); i++) {
		int r = fetch(w, storage_fetch_blob, oid);

		if (r < 0)
			return r;
		n = storage_blob_read(w->storage, oid, buf, len, offset);
	}
	return n == -EAGAIN ? -EIO : n;
}

int wf_blob_read(struct wf *w, const struct oid *oid, size_t max, char **ret_data, size_t *ret_len)
{
	struct wf_node node = {.mode = WF_MODE_FILE, .oid = *oid};
	_cleanup_free_ char *data = NULL;
	size_t at = 0, size;
	void *own;
	int r = wf_blob_size(w, &node);

	if (r < 0)
		return r;
	if (node.size > max)
		return -EFBIG;
	r = wf_odb_read(w, oid, WF_BLOB, &own, &size);
	if (r != -ENOENT) {
		if (r == 0) {
			*ret_data = own;
			*ret_len = size;
		}
		return r;
	}
	size = (size_t)node.size;
	data = malloc(size + 1);
	if (!data)
		return -ENOMEM;
	while (at < size) {
		ssize_t n = read_stored(w, oid, data + at, size - at, at);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		at += (size_t)n;
	}
	data[size] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_len = size;
	return 0;
}

int wf_blob_each(struct wf *w, const struct oid *oid, wf_piece fn, void *arg)
{
	_cleanup_free_ char *piece = NULL;
	uint64_t at = 0;
	void *own;
	size_t len;
	ssize_t n;
	int r = wf_odb_read(w, oid, WF_BLOB, &own, &len);

	if (r != -ENOENT) {
		if (r == 0) {
			r = fn(arg, own, len, 0);
			free(own);
		}
		return r;
	}
	piece = malloc(PIECE);
	if (!piece)
		return -ENOMEM;
	do {
		n = read_stored(w, oid, piece, PIECE, at);
		r = n < 0 ? (int)n : n ? fn(arg, piece, (size_t)n, at) : 0;
		if (r == 0)
			r = wf_check(w);
		at += n > 0 ? (uint64_t)n : 0;
	} while (r == 0 && n == (ssize_t)PIECE);
	return r;
}
