// SPDX-License-Identifier: Apache-2.0
/*
 * A walk in the order of a reader, depth first, that asks for what is missing and does not wait for
 * each: up to 32 directories and 64 contents are under way at once, and directories
 * go on being listed meanwhile. Where the origin can bring many blobs in one request, they are
 * gathered over directories first.
 *
 *	stack ─► directory local? ── yes ─► its files into the batch; a directory in it comes first
 *	  ▲            │ no                      │ full, or nothing else to do
 *	  └── arrived ◄┘                         ▼
 *	                          prepare (one request), ask for each ─► arrived
 *
 * Threads: the walk is one thread, the caller's. What arrives is noted by callbacks under `mu`. The
 * walk may end before the callbacks have: they hold references.
 */
#include "storage_warm.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STACK_MAX 1000000

static struct warm_dir *dir_new(
	const struct warm_dir *parent, const struct oid *tree, const struct tree_entry *entry)
{
	size_t parent_len = parent ? strlen(parent->path) : 0;
	size_t name_len = entry ? entry->name_len : 0;
	struct warm_dir *dir = calloc(1, sizeof(*dir) + parent_len + name_len + 2);

	if (!dir)
		return NULL;
	list_init(&dir->node);
	dir->tree = *tree;
	if (!parent)
		return dir;
	dir->depth = parent->depth + 1;
	if (parent_len) {
		memcpy(dir->path, parent->path, parent_len);
		dir->path[parent_len++] = '/';
	}
	memcpy(dir->path + parent_len, entry->name, name_len);
	return dir;
}

static void push(struct warm *w, struct warm_dir *dir)
{
	list_push_front(&w->stack, &dir->node);
	w->stacked++;
}

static bool file_wanted(struct warm *w, const struct warm_dir *dir, const struct tree_entry *entry)
{
	char *path = NULL;
	bool wanted;

	if (!w->plan->wanted)
		return true;
	if (asprintf(&path, "%s%s%.*s", dir->path, *dir->path ? "/" : "", (int)entry->name_len,
		    entry->name) < 0)
		return true; /* no memory: one more than asked for does no harm */
	wanted = w->plan->wanted(w->plan->arg, path, false);
	free(path);
	return wanted;
}

static void note_found(struct warm *w, uint64_t dirs, uint64_t blobs, uint64_t bytes)
{
	LOCK_GUARD(&w->mu);
	if (w->progress.indexed)
		return;
	w->progress.directories += dirs;
	w->progress.directories_found += dirs;
	w->progress.blobs_found += blobs;
	w->progress.bytes_found += bytes;
}

static bool charge(struct warm *w, uint64_t size)
{
	const struct warm_plan *plan = w->plan;

	if ((plan->bytes_max &&
		    (size > plan->bytes_max || w->asked_bytes > plan->bytes_max - size)) ||
		(plan->blobs_max && w->asked_blobs >= plan->blobs_max))
		return false;
	w->asked_bytes += size;
	w->asked_blobs++;
	return true;
}

static void take_content(struct warm *w, const struct warm_dir *dir, const struct warm_blob *blob)
{
	bool local = blob_is_local(w->st->blobs, &blob->oid);

	/* what came along with a directory that was asked for counts like what is asked for */
	if ((!local || dir->asked) && !charge(w, blob->size)) {
		w->stop = true;
		return;
	}
	w->reached = dir->depth ? dir->top : dir->next;
	if (w->plan->passed)
		w->plan->passed(w->plan->arg, &blob->oid);
	if (local)
		warm_note_had(w, blob->size);
	else
		w->batch[w->batch_count++] = *blob;
}

/* w->stop: a limit is reached, this one is not taken. */
static void take_file(
	struct warm *w, const struct warm_dir *dir, const struct tree_entry *entry, uint8_t oid_len)
{
	uint64_t size = entry->size_known ? entry->size : 0;
	struct oid oid = oid_from_bytes(entry->oid, oid_len);
	bool lfs = origin_caps(w->plan->origin) & ORIGIN_CAP_LFS;
	struct warm_blob blob = {storage_blob_key(w->st, &oid, lfs), size};

	if (w->contents)
		take_content(w, dir, &blob);
	if (!w->stop)
		note_found(w, 0, 1, size);
}

/* NULL in *ret_child: it is not entered. */
static int enter(struct warm *w, const struct warm_dir *dir, const struct tree_entry *entry,
	uint8_t oid_len, struct warm_dir **ret_child)
{
	struct oid tree = oid_from_bytes(entry->oid, oid_len);
	struct warm_dir *child;

	*ret_child = NULL;
	if (dir->depth >= w->plan->depth)
		return 0;
	child = w->stacked < STACK_MAX ? dir_new(dir, &tree, entry) : NULL;
	if (!child)
		return -ENOMEM;
	child->top = dir->depth ? dir->top : dir->next;
	if (w->plan->wanted && !w->plan->wanted(w->plan->arg, child->path, true))
		free(child);
	else
		*ret_child = child;
	return 0;
}

/* Its entries from dir->next on, until a directory is entered or the batch is full. The rest comes
 * after that. */
static int list_dir(struct warm *w, struct warm_dir *dir, struct tree_view *view)
{
	struct warm_dir *child = NULL;
	int r = 0;

	while (r == 0 && !child && dir->next < view->count && w->batch_count < WARM_BATCH) {
		struct tree_entry entry;

		tree_view_entry(view, dir->next, &entry);
		if (entry.oid && S_ISDIR(entry.mode))
			r = enter(w, dir, &entry, view->oid_len, &child);
		else if (entry.oid && file_wanted(w, dir, &entry))
			take_file(w, dir, &entry, view->oid_len);
		if (w->stop)
			break;
		dir->next++;
	}
	if (dir->next < view->count) {
		push(w, dir);
	} else {
		note_found(w, 1, 0, 0);
		free(dir);
	}
	if (child)
		push(w, child);
	tree_view_end(view);
	return r;
}

/* One directory: listed if it is local, else asked for. */
static int visit(struct warm *w, struct warm_dir *dir)
{
	const struct warm_item item = {.w = w, .dir = dir};
	struct oid key =
		storage_tree_key(&dir->tree, origin_caps(w->plan->origin) & ORIGIN_CAP_LFS);
	struct tree_view view;
	int r = tree_view_begin(w->st->index, &key, &view);

	if (r == 0)
		return list_dir(w, dir, &view);
	if (dir->asked || (r != -EAGAIN && r != -EIO)) {
		lock_acquire(&w->mu);
		warm_note_locked(w, r == -EAGAIN ? -EIO : r);
		lock_release(&w->mu);
		free(dir);
		return 0;
	}
	if (w->plan->directories_max && w->asked_dirs >= w->plan->directories_max) {
		w->stop = true;
		push(w, dir);
		return 0;
	}
	w->asked_dirs++;
	dir->asked = true;
	r = warm_ask(w, STORAGE_TREE, &dir->tree, &item);
	if (r < 0)
		free(dir);
	return r;
}

/* The next directory: what has arrived, else the top of the stack. *ret_out: some are on their way.
 */
static struct warm_dir *next_dir(struct warm *w, bool *ret_out)
{
	struct list *first;

	lock_acquire(&w->mu);
	first = list_first(&w->arrived);
	if (first)
		list_remove(first);
	*ret_out = w->trees_out > 0;
	lock_release(&w->mu);
	if (!first) {
		first = list_first(&w->stack);
		if (first) {
			list_remove(first);
			w->stacked--;
		}
	}
	return first ? list_entry(first, struct warm_dir, node) : NULL;
}

static int walk(struct warm *w, bool contents)
{
	struct warm_dir *dir = dir_new(NULL, &w->plan->root, NULL);
	bool out = false;
	int r = 0;

	if (!dir)
		return -ENOMEM;
	w->contents = contents;
	dir->next = w->plan->first;
	push(w, dir);
	while (r == 0 && !w->stop) {
		dir = next_dir(w, &out);
		if (dir)
			r = visit(w, dir);
		if (r == 0 && (w->batch_count == WARM_BATCH || (!dir && w->batch_count)))
			r = warm_flush(w);
		else if (r == 0 && !dir && out)
			r = warm_wait_step(w);
		else if (!dir)
			break;
		if (r == 0)
			r = cancel_check(w->cancel, w->deadline_ns);
		warm_report(w);
	}
	if (r == 0 && w->batch_count)
		r = warm_flush(w);
	return r == 0 ? warm_drain(w) : r;
}

/* What was on its way when the walk stopped comes first. */
static void take_rest(struct warm *w, struct warm_rest *ret_rest)
{
	struct list *lists[] = {&w->arrived, &w->stack};

	LOCK_GUARD(&w->mu);
	ret_rest->count = 0;
	for (unsigned i = 0; i < 2; i++)
		list_for_each (it, lists[i]) {
			const struct warm_dir *dir = list_entry(it, struct warm_dir, node);

			if (ret_rest->count == READAHEAD_DEPTH)
				return;
			ret_rest->place[ret_rest->count++] =
				(struct readahead_place){dir->tree, dir->next};
		}
}

static struct warm *warm_new(struct storage *st, const struct warm_plan *plan)
{
	struct warm *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->batch = calloc(WARM_BATCH, sizeof(*w->batch));
	if (!w->batch)
		return free(w), NULL;
	w->st = st;
	w->plan = plan;
	w->refs = 1;
	list_init(&w->stack);
	list_init(&w->arrived);
	lock_init(&w->mu, LOCK_RANK_LEAF);
	cond_init(&w->changed);
	return w;
}

int storage_warm(struct storage *st, const struct warm_plan *plan, const struct cancel *cancel,
	uint64_t deadline_ns, struct warm_progress *ret_progress)
{
	struct warm *w = warm_new(st, plan);
	int r = 0;

	*ret_progress = (struct warm_progress){0};
	if (!w)
		return -ENOMEM;
	w->cancel = cancel;
	w->deadline_ns = deadline_ns;
	if (!plan->contents || !plan->hurry) {
		r = walk(w, false);
		lock_acquire(&w->mu);
		w->progress.indexed = r == 0;
		if (plan->contents)
			w->progress.failed = 0; /* what failed is tried again, and counted then */
		lock_release(&w->mu);
	}
	if (r == 0 && plan->contents)
		r = walk(w, true);
	if (plan->ret_rest)
		take_rest(w, plan->ret_rest);
	warm_drop_dirs(&w->stack);
	free(w->batch);
	lock_acquire(&w->mu);
	w->progress.stopped = w->stop;
	w->progress.reached = w->reached;
	w->progress.directories_asked = w->asked_dirs;
	w->progress.blobs_asked = w->asked_blobs;
	w->progress.bytes_asked = w->asked_bytes;
	if (r == 0 && w->progress.failed)
		r = w->last_error;
	*ret_progress = w->progress;
	warm_unref_locked(w);
	return r;
}
