/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a crash: every node that the journal knows by its place gets its id mark, so that the id is
 * the same when the name is looked up again.
 *
 * One walk over the upper, matched with the journal's places, and not a way from the root for each
 * node: a job decides how deep its tree is, and the start of all its neighbours must not depend on
 * the square of that. A directory's id, which the places below it name, comes from its own place in
 * the journal, from its mark, or from its place in the lower tree, where it needs no mark. What has
 * none of them (the disk was full) costs the ids below it.
 *
 * One thread, before anybody sees the workspace; blocks on the local disk.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <base/hashmap.h>
#include <base/io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct left {
	struct left *next;
	bool by_place; /* a directory whose place in the lower says its id: needs no mark */
	uint64_t local, parent;
	mode_t type;
	uint64_t upper_ino; /* 0: not known when it was written */
	size_t len;
	char name[];
};

struct marking {
	struct left *first, **last; /* all, owned */
	struct hashmap places;      /* hash of (parent, name) → struct left */
	struct hashmap ids;         /* local id → struct left */
	struct hashmap dirs;        /* inode number → local id of an upper directory */
};

static uint64_t place_hash(uint64_t parent, const char *name, size_t len)
{
	static const uint64_t salt = 0x706c616365ull;

	return io_hash(name, len, (const uint64_t[2]){parent, salt});
}

/* Two places with one hash: the second costs its id. */
static int keep(struct marking *m, const struct left *from, const char *name)
{
	struct left *left = malloc(sizeof(*left) + from->len);
	int r;

	if (!left)
		return -ENOMEM;
	*left = *from;
	memcpy(left->name, name, left->len);
	*m->last = left;
	m->last = &left->next;
	r = hashmap_insert(&m->places, place_hash(left->parent, name, left->len), left);
	if (r == 0 || r == -EEXIST)
		r = hashmap_insert(&m->ids, left->local, left);
	return r == -EEXIST ? 0 : r;
}

static int keep_node(void *arg, const struct ovl_left_node *node)
{
	const struct left left = {.local = ovl_local(node->id),
		.parent = ovl_local(node->parent),
		.type = node->type,
		.upper_ino = node->upper_ino,
		.len = node->name_len};

	return keep(arg, &left, node->name);
}

/* The directories above, which have neither record nor mark if they are at their place in the
 * lower. What is kept here comes to its turn later in the same list. */
static int keep_parents(struct ovl_ws *ws, struct marking *m)
{
	for (const struct left *at = m->first; at; at = at->next) {
		_cleanup_free_ char *name = NULL;
		struct left dir = {.by_place = true, .local = at->parent, .type = S_IFDIR};
		int r;

		if (dir.local == OVL_LOCAL_ROOT || hashmap_find(&m->ids, dir.local))
			continue;
		r = ovl_journal_place(ws, dir.local, &dir.parent, &name);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			continue; /* a mark tells, or nothing */
		dir.len = strlen(name);
		r = keep(m, &dir, name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int know_dir(struct marking *m, const struct stat *st, uint64_t local)
{
	int r = hashmap_insert(&m->dirs, st->st_ino, (void *)(uintptr_t)local);

	return r == -EEXIST ? 0 : r;
}

/* The journal's node at a place, if it is this very object. */
static const struct left *find(
	const struct marking *m, uint64_t parent, const char *name, const struct stat *st)
{
	size_t len = strlen(name);
	const struct left *left = hashmap_find(&m->places, place_hash(parent, name, len));

	if (!left || left->parent != parent || left->len != len ||
		memcmp(left->name, name, len) != 0)
		return NULL;
	if ((st->st_mode & S_IFMT) != left->type ||
		(left->upper_ino && left->upper_ino != st->st_ino))
		return NULL; /* another object has the name */
	return left;
}

static int visit(void *arg, int dirfd, const char *name, const struct stat *st)
{
	struct marking *m = arg;
	const struct left *left;
	uint64_t parent, local;
	struct stat dir;
	int r;

	if (fstat(dirfd, &dir) < 0)
		return -errno;
	parent = (uintptr_t)hashmap_find(&m->dirs, dir.st_ino);
	left = parent && !ovl_is_whiteout(st) ? find(m, parent, name, st) : NULL;
	if (!left && !S_ISDIR(st->st_mode))
		return 0;
	r = ovl_mark_get(dirfd, name, &local);
	if (r == 0 && !local && left) {
		local = left->local;
		r = left->by_place ? 0 : ovl_mark_set(dirfd, name, local);
		if (r == -ENOSPC || r == -EDQUOT)
			r = 0; /* a new id, then */
	}
	return r == 0 && local && S_ISDIR(st->st_mode) ? know_dir(m, st, local) : r;
}

static int walk(struct ovl_ws *ws, struct marking *m)
{
	struct stat root;
	int r;

	if (hashmap_count(&m->places) == 0)
		return 0;
	if (fstat(ws->upper_fd, &root) < 0)
		return -errno;
	r = know_dir(m, &root, OVL_LOCAL_ROOT);
	return r < 0 ? r : ovl_walk(ws->upper_fd, visit, m);
}

int ovl_recover_marks(struct ovl_ws *ws)
{
	struct marking m = {.last = &m.first};
	struct left *next;
	int r;

	hashmap_init(&m.places);
	hashmap_init(&m.ids);
	hashmap_init(&m.dirs);
	r = ovl_journal_each_node(ws, keep_node, &m);
	if (r == 0)
		r = keep_parents(ws, &m);
	if (r == 0)
		r = walk(ws, &m);
	for (; m.first; m.first = next) {
		next = m.first->next;
		free(m.first);
	}
	hashmap_fini(&m.places);
	hashmap_fini(&m.ids);
	hashmap_fini(&m.dirs);
	return r;
}
