/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a crash: every node that the journal knows by its place gets its id mark, so that the id is
 * the same when the name is looked up again. Not after a takeover: ids live on there.
 *
 * One walk over the upper, matched with the journal's places, and not a way from the root for each
 * node: a job decides how deep its tree is, and the start of all its neighbours must not depend on
 * the square of that. A directory's id, which the places below it name, comes from its own place: a
 * node pins its parents, so they are in the journal too. What is missing there because the disk was
 * full costs the ids below it.
 *
 * One thread, before anybody sees the workspace; blocks on the local disk.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_state.h"

#include <base/hashmap.h>
#include <base/io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct left {
	struct left *next; /* of the same hash */
	uint64_t local, parent;
	mode_t type;
	uint64_t upper_ino; /* 0: not known when it was written */
	size_t len;
	char name[];
};

struct marking {
	struct ovl_ws *ws;
	size_t wanted;         /* places */
	struct hashmap places; /* hash of (parent, name) → list of struct left, owned */
	struct hashmap dirs;   /* inode number → local id of an upper directory */
};

static uint64_t place_hash(uint64_t parent, const char *name, size_t len)
{
	static const uint64_t salt = 0x706c616365ull;

	return io_hash(name, len, (const uint64_t[2]){parent, salt});
}

/* Several may name one place: the record of a file that has lost this name and lives on under
 * another one still says it. */
static int keep(void *arg, const struct ovl_left_node *node)
{
	struct marking *m = arg;
	uint64_t hash = place_hash(ovl_local(node->parent), node->name, node->name_len);
	struct left *left = malloc(sizeof(*left) + node->name_len), *first;
	int r;

	if (!left)
		return -ENOMEM;
	*left = (struct left){.local = ovl_local(node->id),
		.parent = ovl_local(node->parent),
		.type = node->type,
		.upper_ino = node->upper_ino,
		.len = node->name_len};
	memcpy(left->name, node->name, node->name_len);
	m->wanted++;
	first = hashmap_find(&m->places, hash);
	if (first) {
		left->next = first->next;
		first->next = left;
		return 0;
	}
	r = hashmap_insert(&m->places, hash, left);
	if (r < 0)
		free(left);
	return r;
}

static int know_dir(struct marking *m, const struct stat *st, uint64_t local)
{
	int r = hashmap_insert(&m->dirs, st->st_ino, (void *)(uintptr_t)local);

	return r == -EEXIST ? 0 : r;
}

static bool is_at(const struct left *left, uint64_t parent, const char *name, size_t len)
{
	return left->parent == parent && left->len == len && memcmp(left->name, name, len) == 0;
}

/* The journal's node at a place, if it is this very object. An inode number is not given away while
 * a file of it lives under another name, so one that is equal decides. */
static const struct left *find(
	const struct marking *m, uint64_t parent, const char *name, const struct stat *st)
{
	size_t len = strlen(name);
	const struct left *left = hashmap_find(&m->places, place_hash(parent, name, len));
	const struct left *found = NULL;

	for (; left; left = left->next) {
		if (!is_at(left, parent, name, len) || (st->st_mode & S_IFMT) != left->type)
			continue;
		if (left->upper_ino == st->st_ino)
			return left;
		if (!left->upper_ino)
			found = left;
	}
	return found;
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
		r = ovl_mark_set(dirfd, name, local);
		if (r == -ENOSPC || r == -EDQUOT)
			r = 0; /* a new id, then */
	}
	return r == 0 && local && S_ISDIR(st->st_mode) ? know_dir(m, st, local) : r;
}

static int walk(struct ovl_ws *ws, struct marking *m)
{
	struct stat root;
	int r;

	if (m->wanted == 0)
		return 0;
	if (fstat(ws->upper_fd, &root) < 0)
		return -errno;
	r = know_dir(m, &root, OVL_LOCAL_ROOT);
	return r < 0 ? r : ovl_walk(ws->upper_fd, visit, m);
}

int ovl_recover_marks(struct ovl_ws *ws)
{
	struct marking m = {.ws = ws};
	int r;

	hashmap_init(&m.places);
	hashmap_init(&m.dirs);
	r = ovl_journal_each_node(ws, keep, &m);
	if (r == 0)
		r = walk(ws, &m);
	for (struct hashmap_cursor it = {0}; hashmap_next(&m.places, &it);)
		for (struct left *left = it.value, *next; left; left = next) {
			next = left->next;
			free(left);
		}
	hashmap_fini(&m.places);
	hashmap_fini(&m.dirs);
	return r;
}
