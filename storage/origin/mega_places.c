/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where trees are. A Mega origin learns it from each directory that it reads, and is told of those
 * that came from elsewhere (origin_learn_tree).
 *
 * Threads: any that may block.
 */
#include "origin/mega_internal.h"

#include "storage/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

int mega_note_place(
	struct mega_facts *facts, const struct mega_place *place, const struct mega_child *child)
{
	struct buf path;
	int r;

	buf_init(&path, 1u << 20);
	(void)buf_puts(&path, place->path); /* the buffer remembers the first failure */
	if (*place->path)
		(void)buf_putc(&path, '/');
	(void)buf_append(&path, child->name, child->name_len);
	r = buf_error(&path);
	if (r == 0)
		mega_facts_place(facts, &child->tree, &place->commit, path.data, path.len);
	buf_fini(&path);
	return r;
}

/* Those that are new: usually none. */
static int note_children(struct mega *m, const struct mega_place *place,
	const struct tree_view *view, struct mega_facts *facts)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < view->count; i++) {
		struct tree_entry entry;
		struct mega_child child;

		tree_view_entry(view, i, &entry);
		if (!S_ISDIR(entry.mode) || !entry.oid)
			continue;
		child = (struct mega_child){
			entry.name, entry.name_len, oid_from_bytes(entry.oid, view->oid_len)};
		if (!mega_memory_knows_place(m->memory, &child.tree))
			r = mega_note_place(facts, place, &child);
	}
	return r;
}

int mega_learn_tree(void *impl, const struct oid *tree, const struct tree_view *view)
{
	struct mega_facts *facts = mega_facts_new();
	struct mega *m = impl;
	struct mega_place place = {.path = NULL};
	int r = facts ? mega_memory_place(m->memory, tree, &place) : -ENOMEM;

	if (r == 0)
		r = note_children(m, &place, view, facts);
	if (r == 0)
		r = mega_memory_learn(m->memory, facts);
	free(place.path);
	(void)mega_facts_free(facts);
	return r == -ENOENT ? -ESTALE : r;
}

int mega_roots(void *impl, struct oid *ret_roots, unsigned cap, unsigned *ret_count)
{
	struct mega *m = impl;

	return mega_memory_roots(m->memory, ret_roots, cap, ret_count);
}
