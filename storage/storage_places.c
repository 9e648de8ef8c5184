// SPDX-License-Identifier: Apache-2.0
/*
 * Where trees are, for origins that are asked by path. Such an origin learns it as it reads the
 * directories above a tree. If those came from elsewhere (another origin has the same tree, or the
 * farm's Redis) it does not know. Then the index does: whoever asks for a tree has seen it in a
 * directory of the index, so a walk over the index from the origin's roots finds it, without the
 * network.
 *
 * Threads: the lanes' fetch threads.
 */
#include "storage_places.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/hashmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOTS_MAX 1024u
#define TREES_MAX (4u << 20) /* of one walk */

/* A private copy: no transaction is open while the origin writes down what it learns. */
static int copy_view(
	struct storage *st, const struct oid *tree, void **ret_record, struct tree_view *ret_view)
{
	struct tree_view view;
	void *copy;
	size_t len;
	int r = tree_view_begin(st->index, tree, &view);

	if (r < 0)
		return r;
	len = view.len;
	copy = malloc(len);
	if (copy)
		memcpy(copy, view.record, len);
	tree_view_end(&view);
	r = copy ? tree_view_over(copy, len, ret_view) : -ENOMEM;
	if (r < 0) {
		free(copy);
		return r;
	}
	*ret_record = copy;
	return 0;
}

void places_learn(struct storage *st, struct origin *o, const struct oid *tree)
{
	_cleanup_free_ void *record = NULL;
	struct tree_view view;

	if (copy_view(st, tree, &record, &view) == 0)
		(void)origin_learn_tree(o, tree, &view); /* places_find makes up for it */
}

struct walk {
	struct storage *st;
	struct origin *origin;
	const struct oid *wanted;
	struct oid *queue; /* breadth first: what was taken out stays in front */
	size_t head, count, cap;
	struct hashmap seen; /* by the first bytes of the id */
	bool found;
};

static int push(struct walk *w, const struct oid *tree)
{
	int r;

	if (w->count == TREES_MAX)
		return -EIO;
	if (w->count == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : ROOTS_MAX;
		struct oid *grown = reallocarray(w->queue, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->queue = grown;
		w->cap = cap;
	}
	r = hashmap_insert(&w->seen, oid_hash(tree), w);
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	w->queue[w->count++] = *tree;
	return 0;
}

static int push_children(struct walk *w, const struct tree_view *view)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < view->count; i++) {
		struct tree_entry entry;
		struct oid child;

		tree_view_entry(view, i, &entry);
		if (!S_ISDIR(entry.mode) || !entry.oid)
			continue;
		child = oid_from_bytes(entry.oid, view->oid_len);
		if (oid_equal(&child, w->wanted))
			w->found = true;
		r = push(w, &child);
	}
	return r;
}

/* One directory: what is below it is told, and is next. One that is not in the index is the end of
 * this way down. */
static int visit(struct walk *w, const struct oid *tree)
{
	_cleanup_free_ void *record = NULL;
	struct tree_view view;
	int r = copy_view(w->st, tree, &record, &view);

	if (r == -EAGAIN || r == -EIO)
		return 0;
	if (r == 0)
		r = origin_learn_tree(w->origin, tree, &view);
	return r == 0 ? push_children(w, &view) : r;
}

static int push_roots(struct walk *w)
{
	_cleanup_free_ struct oid *roots = reallocarray(NULL, ROOTS_MAX, sizeof(*roots));
	unsigned count = 0;
	int r = roots ? origin_roots(w->origin, roots, ROOTS_MAX, &count) : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < count; i++)
		r = push(w, &roots[i]);
	return r;
}

int places_find(struct storage *st, struct origin *o, const struct oid *tree,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct walk w = {.st = st, .origin = o, .wanted = tree};
	int r;

	hashmap_init(&w.seen);
	r = push_roots(&w);
	while (r == 0 && !w.found && w.head < w.count) {
		struct oid next = w.queue[w.head++];

		r = cancel_check(cancel, deadline_ns);
		if (r == 0)
			r = visit(&w, &next);
	}
	hashmap_fini(&w.seen);
	free(w.queue);
	return r < 0 ? r : w.found ? 0 : -EIO;
}
