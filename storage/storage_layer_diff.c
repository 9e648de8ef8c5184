// SPDX-License-Identifier: Apache-2.0
/*
 * The difference of two trees as a layer: what a commit range changes. Only directories that differ
 * are looked at; they are compared entry by entry with both views open, and the pairs below wait in
 * a list, so that nothing blocks while a view is open.
 *
 * Threads: any but those that call fetch callbacks; blocks on the origin until the deadline.
 */
#include "storage_internal.h"

#include "base/cleanup.h"
#include "layer/layer_internal.h"
#include "tree/tree_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ATTEMPTS 3 /* a tree that was there may be found damaged, and dropped */

struct pair {
	char *path; /* "" is the root */
	struct oid from, to;
};

struct walk {
	struct storage *st;
	struct origin *origin;
	uint64_t deadline_ns;
	struct layer *layer;
	struct pair *pairs; /* to be compared */
	size_t count, cap;
};

static int push(struct walk *w, char *path, const struct oid *from, const struct oid *to)
{
	if (w->count == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 64;
		struct pair *pairs = NULL;

		if (w->count < LAYER_CHANGES_MAX)
			pairs = reallocarray(w->pairs, cap, sizeof(*pairs));
		if (!pairs) {
			free(path);
			return w->count < LAYER_CHANGES_MAX ? -ENOMEM : -E2BIG;
		}
		w->pairs = pairs;
		w->cap = cap;
	}
	w->pairs[w->count++] = (struct pair){path, *from, *to};
	return 0;
}

static struct layer_entry entry_of(const struct tree_entry *e, uint8_t oid_len)
{
	struct layer_entry entry = {.mode = e->mode, .size_known = e->size_known, .size = e->size};

	if (e->oid)
		entry.oid = oid_from_bytes(e->oid, oid_len);
	return entry;
}

static bool is_tree(const struct layer_entry *e)
{
	return S_ISDIR(e->mode) && !oid_is_none(&e->oid);
}

/* One name, with what it is on either side; one of them may be nothing. */
static int compare(struct walk *w, const char *dir, const struct tree_entry *name,
	const struct layer_entry *from, const struct layer_entry *to)
{
	static const struct layer_entry nothing;
	const struct layer_entry *old = is_tree(from) ? &nothing : from;
	const struct layer_entry *new = is_tree(to) ? &nothing : to;
	char *path;
	int r = 0;

	if (from->mode == to->mode && oid_equal(&from->oid, &to->oid))
		return 0;
	if (asprintf(&path, "%s%s%.*s", dir, *dir ? "/" : "", (int)name->name_len, name->name) < 0)
		return -ENOMEM;
	if (old->mode || new->mode)
		r = layer_add(
			w->layer, &(struct layer_change){
					  .path = path, .put = *new, .expects = true, .old = *old});
	if (r == 0 && (is_tree(from) || is_tree(to)))
		return push(w, path, is_tree(from) ? &from->oid : &nothing.oid,
			is_tree(to) ? &to->oid : &nothing.oid);
	free(path);
	return r;
}

/* An empty view for "no directory". */
static int open_view(struct walk *w, const struct oid *tree, struct tree_view *ret_view)
{
	*ret_view = (struct tree_view){0};
	return oid_is_none(tree) ? 0 : tree_view_begin(w->st->index, tree, ret_view);
}

static int compare_views(
	struct walk *w, const char *dir, const struct tree_view *a, const struct tree_view *b)
{
	static const struct layer_entry nothing;
	uint32_t i = 0, k = 0;
	int r = 0;

	while (r == 0 && (i < a->count || k < b->count)) {
		struct tree_entry x = {0}, y = {0};
		struct layer_entry from = {0}, to = {0};
		int order;

		if (i < a->count) {
			tree_view_entry(a, i, &x);
			from = entry_of(&x, a->oid_len);
		}
		if (k < b->count) {
			tree_view_entry(b, k, &y);
			to = entry_of(&y, b->oid_len);
		}
		order = i == a->count ? 1
			: k == b->count
				? -1
				: tree_codec_compare(x.name, x.name_len, y.name, y.name_len);
		r = compare(w, dir, order <= 0 ? &x : &y, order <= 0 ? &from : &nothing,
			order >= 0 ? &to : &nothing);
		i += order <= 0;
		k += order >= 0;
	}
	return r;
}

static int need(struct walk *w, const struct oid *tree)
{
	return oid_is_none(tree) ? 0 : storage_need_tree(w->st, w->origin, tree, w->deadline_ns);
}

static int compare_pair(struct walk *w, const struct pair *p)
{
	struct tree_view a, b;
	int r = -EAGAIN;

	for (unsigned attempt = 0; attempt < ATTEMPTS && r == -EAGAIN; attempt++) {
		r = need(w, &p->from);
		if (r == 0)
			r = need(w, &p->to);
		if (r == 0)
			r = open_view(w, &p->from, &a);
		if (r < 0)
			continue;
		r = open_view(w, &p->to, &b);
		if (r == 0) {
			r = compare_views(w, p->path, &a, &b);
			tree_view_end(&b);
		}
		tree_view_end(&a);
	}
	return r == -EAGAIN ? -EIO : r;
}

int storage_diff(struct storage *st, struct origin *o, const struct oid *from, const struct oid *to,
	uint8_t oid_len, uint64_t deadline_ns, struct layer **ret_layer)
{
	struct walk w = {.st = st, .origin = o, .deadline_ns = deadline_ns};
	char *root = strdup("");
	int r = root ? 0 : -ENOMEM;

	w.layer = layer_new(oid_len);
	if (!w.layer)
		r = -ENOMEM;
	if (r == 0)
		r = push(&w, TAKE_PTR(root), from, to);
	free(root);
	while (r == 0 && w.count > 0) {
		struct pair p = w.pairs[--w.count];

		if (!oid_equal(&p.from, &p.to))
			r = compare_pair(&w, &p);
		free(p.path);
	}
	while (w.count > 0)
		free(w.pairs[--w.count].path);
	free(w.pairs);
	if (r < 0)
		layer_free(w.layer);
	else
		*ret_layer = w.layer;
	return r;
}
