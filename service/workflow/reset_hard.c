/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a hard reset, under live readers. What has to change is found first, by one walk,
 *and then done through the overlay's own operations, each of which is atomic and crash-safe; the
 *kernel is told of each name. Files that are open keep the content that they were opened with.
 *
 *	the job's copy of what is wanted   is removed, then its whiteout: the quota is given back
 *	a removed directory of the base    comes back as a whole, over the same tree; what else is
 *to change in it is found by the next round all else                           is written under
 *another name and moved into place
 *
 * A reset that is interrupted is repeated: HEAD moves when all is done.
 */
#include "workflow/files.h"
#include "workflow/reset.h"
#include "workflow/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX (4u << 20)
#define ROUNDS_MAX  8u

struct change {
	char *path;
	struct wf_node target; /* mode 0: to be removed */
	bool base_has_it;      /* the lower has the target at this place */
};

struct hard {
	struct wf *w;
	struct wf_files files;
	struct change *changes;
	size_t count, cap;
	char **restored; /* directories of the base that came back: "a/b/" */
	size_t restored_count, restored_cap;
	uint64_t done;
};

/* ---- finding ---- */

static int remember(struct hard *h, const struct wf_item *item, bool base_has_it)
{
	if (h->count == CHANGES_MAX)
		return err_set(h->w->e, -EFBIG, "TOO_MANY_CHANGES",
			"more than %u files would change", CHANGES_MAX);
	if (h->count == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 64;
		struct change *changes = reallocarray(h->changes, cap, sizeof(*changes));

		if (!changes)
			return -ENOMEM;
		h->changes = changes;
		h->cap = cap;
	}
	h->changes[h->count] = (struct change){strdup(item->path), item->head, base_has_it};
	return h->changes[h->count++].path ? 0 : -ENOMEM;
}

/* Below a directory that came back, the first `from` of them not counted. */
static bool in_restored(const struct hard *h, size_t from, const char *path)
{
	for (size_t i = from; i < h->restored_count; i++)
		if (strncmp(path, h->restored[i], strlen(h->restored[i])) == 0)
			return true;
	return false;
}

static int visit(void *arg, struct wf_item *item)
{
	struct hard *h = arg;
	const struct wf_dirent *lower;
	struct wf_node target = item->head;
	bool differs;
	int r;

	if (target.mode == WF_MODE_GITLINK && item->work.mode == WF_MODE_GITLINK)
		return 0; /* what is in a submodule's directory is not ours */
	if (!target.mode) {
		if (!item->work.mode || item->work.mode == WF_MODE_GITLINK ||
			(!item->index.mode && !in_restored(h, 0, item->path)))
			return 0; /* not tracked: it stays */
		return remember(h, item, false);
	}
	r = wf_work_differs(h->w, item, &target, &differs);
	if (r < 0 || !differs)
		return r;
	lower = wf_dir_find(
		&item->level->lower, item->path + item->name_at, item->path_len - item->name_at);
	return remember(h, item, lower && wf_same(&lower->node, &target));
}

static void forget_changes(struct hard *h)
{
	for (size_t i = 0; i < h->count; i++)
		free(h->changes[i].path);
	h->count = 0;
}

static int find(struct hard *h, const struct oid *tree)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	forget_changes(h);
	*walk = (struct wf_walk){.w = h->w,
		.with_work = true,
		.head = *tree,
		.index = h->w->state.index,
		.visit = visit,
		.arg = h};
	r = wf_walk(walk, NULL);
	free(walk);
	return r;
}

/* ---- doing ---- */

static int note_restored(struct hard *h, const char *path, size_t len)
{
	char *dir = malloc(len + 2);

	if (dir && h->restored_count == h->restored_cap) {
		size_t cap = h->restored_cap ? 2 * h->restored_cap : 16;
		char **grown = reallocarray(h->restored, cap, sizeof(*grown));

		if (!grown) {
			free(dir);
			return -ENOMEM;
		}
		h->restored = grown;
		h->restored_cap = cap;
	}
	if (!dir)
		return -ENOMEM;
	memcpy(dir, path, len);
	memcpy(dir + len, "/", 2);
	h->restored[h->restored_count++] = dir;
	return 0;
}

static int apply(struct hard *h, const struct change *c)
{
	struct wf_place place;
	size_t restored_len = 0;
	int r;

	r = wf_files_enter(&h->files, c->path, c->target.mode != 0, &place, &restored_len);
	if (r == -ENOENT && !c->target.mode)
		return 0; /* gone already */
	if (r < 0)
		return r;
	if (restored_len) {
		r = note_restored(h, c->path, restored_len);
	} else if (!c->target.mode) {
		r = wf_files_remove(&h->files, &place, c->path);
	} else {
		r = -EBUSY;
		if (c->base_has_it)
			r = wf_files_restore(&h->files, &place);
		if (r == -EBUSY && c->target.mode == WF_MODE_GITLINK)
			r = wf_files_mkdir(&h->files, &place);
		else if (r == -EBUSY)
			r = wf_files_write(&h->files, &place, &c->target);
	}
	wf_files_leave(&h->files, &place);
	h->done += r == 0;
	return r;
}

static int apply_all(struct hard *h)
{
	size_t before = h->restored_count;
	int r = 0;

	/* removals first, from the end: directories become empty before they are looked at */
	for (size_t i = h->count; r == 0 && i-- > 0;)
		if (!h->changes[i].target.mode) {
			r = wf_check(h->w);
			if (r == 0)
				r = apply(h, &h->changes[i]);
			if (r < 0)
				return wf_failed_at(h->w, r, "remove", h->changes[i].path);
		}
	for (size_t i = 0; r == 0 && i < h->count; i++) {
		const struct change *c = &h->changes[i];

		if (!c->target.mode || in_restored(h, before, c->path))
			continue; /* the next round sees what came back */
		r = wf_check(h->w);
		if (r == 0)
			r = apply(h, c);
		if (r < 0)
			return wf_failed_at(h->w, r, "restore", c->path);
	}
	return r;
}

static void hard_fini(struct hard *h)
{
	forget_changes(h);
	free(h->changes);
	for (size_t i = 0; i < h->restored_count; i++)
		free(h->restored[i]);
	free(h->restored);
}

int wf_reset_files(struct wf *w, const struct oid *tree, struct wf_reset_result *result)
{
	struct hard h = {.w = w};
	int r = 0;

	if (w->use->read_only)
		return 0; /* nothing of it can differ */
	wf_files_init(&h.files, w);
	for (unsigned i = 0; r == 0 && i < ROUNDS_MAX; i++) {
		size_t restored = h.restored_count;

		r = find(&h, tree);
		if (r == 0)
			r = apply_all(&h);
		if (h.restored_count == restored)
			break;
	}
	result->files = h.done;
	hard_fini(&h);
	return r;
}
