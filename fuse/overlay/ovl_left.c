/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ovl_left.h. Three arrays by local id (ovl_index.h): where the record is, while the node is to
 * come back; the first entry of a directory; the next one of the same directory. The last two never
 * change. An id leaves the first under the lock of its directory, or, if that is gone, by whoever
 * takes it out.
 *
 * The record tells the place, the disk has the last word: same type and inode number (or id mark).
 * A place stays what it was until its directory is loaded, since nobody can change a name before;
 * so it makes no difference when the node comes back, nor whether another process does it.
 *
 * Threads: any. Records are read under the journal's lock, because a rewriting moves them.
 */
#include "overlay/ovl_left.h"

#include "overlay/ovl_change.h"
#include "overlay/ovl_chores.h"
#include "overlay/ovl_index.h"
#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_state.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse/switch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 65536u /* more is a cycle */
#define ID_UNIT   8u     /* an id as an offset of an ovl_index */

struct ovl_left {
	struct ovl_index at;          /* id → its record */
	struct ovl_index first, next; /* directory → an entry of it; entry → another one; const */
	_Atomic uint64_t count;       /* ids in `at` */
};

static uint64_t full_id(const struct ovl_ws *ws, uint64_t local)
{
	return ws->serial << OVL_LOCAL_BITS | local;
}

bool ovl_left_has(const struct ovl_ws *ws, uint64_t id)
{
	return ws->left && ovl_index_get(&ws->left->at, ovl_local(id)) != 0;
}

bool ovl_left_waits(const struct ovl_ws *ws, uint64_t dir_id)
{
	const struct ovl_left *left = ws->left;

	if (!left)
		return false;
	for (uint64_t id = ovl_index_get(&left->first, ovl_local(dir_id)) / ID_UNIT; id;
		id = ovl_index_get(&left->next, id) / ID_UNIT)
		if (ovl_index_get(&left->at, id))
			return true;
	return false;
}

uint64_t ovl_left_count(const struct ovl_ws *ws)
{
	/* relaxed: a statistic */
	return ws->left ? atomic_load_explicit(&ws->left->count, memory_order_relaxed) : 0;
}

/* Of several callers one gets it. */
static bool take(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_left *left = ws->left;

	if (!ovl_index_take(&left->at, ovl_local(id)))
		return false;
	/* relaxed: a statistic */
	atomic_fetch_sub_explicit(&left->count, 1, memory_order_relaxed);
	return true;
}

static bool place_of(struct ovl_ws *ws, uint64_t id, struct ovl_left_place *ret_place)
{
	struct ovl_journal *j = ws->journal;
	size_t at;

	LOCK_GUARD(&j->lock);
	at = ovl_index_get(&ws->left->at, ovl_local(id));
	if (at)
		ovl_record_place(ws, j->map.base + at, ret_place);
	return at != 0;
}

/* ---- opening ---- */

/* Not one that has no name: its object is in work/orphan, and so in the table, or it is gone. */
static int link_up(struct ovl_ws *ws, uint64_t local)
{
	struct ovl_left *left = ws->left;
	struct ovl_left_place place;
	uint64_t id = full_id(ws, local), parent;
	struct ovl_node *n = ovl_table_pin(ws, id);
	bool nameless;
	int r = 0;

	if (n) {
		ovl_unpin_raw(n);
		(void)take(ws, id);
		return 0;
	}
	(void)place_of(ws, id, &place);
	nameless = !place.node.name;
	if (nameless) {
		if (S_ISDIR(place.node.type) && ovl_left_is_known(ws, id))
			r = ovl_left_add_removed(ws, id, place.node.removed);
		else
			ovl_journal_drop(ws, id);
		(void)take(ws, id);
		return r;
	}
	parent = ovl_local(place.node.parent);
	ovl_index_set(&left->next, local, ovl_index_get(&left->first, parent));
	ovl_index_set(&left->first, parent, local * ID_UNIT);
	return 0;
}

int ovl_left_open(struct ovl_ws *ws)
{
	struct ovl_left *left = calloc(1, sizeof(*left));
	uint64_t local = 0, count = 0;
	int r;

	if (!left)
		return -ENOMEM;
	ws->left = left;
	r = ovl_index_init(&left->first);
	if (r == 0)
		r = ovl_index_init(&left->next);
	if (r < 0)
		return r;
	ovl_journal_take_left(ws, &left->at);
	while ((local = ovl_index_next(&left->at, local + 1)))
		count++;
	atomic_store(&left->count, count);
	while (r == 0 && (local = ovl_index_next(&left->at, local + 1)))
		r = link_up(ws, local);
	return r;
}

void ovl_left_close(struct ovl_ws *ws)
{
	struct ovl_left *left = ws->left;

	if (!left)
		return;
	ovl_index_fini(&left->at);
	ovl_index_fini(&left->first);
	ovl_index_fini(&left->next);
	free(left);
	ws->left = NULL;
}

void ovl_left_moved_locked(struct ovl_ws *ws, const struct ovl_index *now)
{
	struct ovl_left *left = ws->left;
	uint64_t local = 0;

	while (left && (local = ovl_index_next(&left->at, local + 1)))
		ovl_index_move(&left->at, local, ovl_index_get(now, local));
}

/* ---- one ---- */

/* It is not where its record says. */
static int lose(struct ovl_ws *ws, const struct ovl_left_node *left)
{
	if (S_ISDIR(left->type) && ovl_left_is_known(ws, left->id))
		return ovl_left_add_removed(ws, left->id, left->removed);
	ovl_journal_drop(ws, left->id);
	return 0;
}

static int add_file(struct ovl_node *dir, struct ovl_child *child, const struct ovl_left_node *left,
	const struct stat *st)
{
	struct ovl_node_init init = {.id = left->id,
		.type = left->type,
		.flags = OVL_UPPER,
		.parent = dir,
		.name = left->name,
		.name_len = left->name_len,
		.upper_ino = st->st_ino,
		.upper_stat =
			st}; /* at once: it may be asked for by its id as soon as it is there */
	struct ovl_node *n;
	bool made;
	int r = ovl_node_add(dir->ws, &init, &n, &made);

	if (r)
		return r;
	if (made) {
		child->node = n;
		atomic_store(&n->journaled, true);
	}
	ovl_unpin_raw(n);
	return 0;
}

/* A directory comes back the way it is always found. So that this gives it the same id, a fresh one
 * needs its mark. */
static int add_dir(
	struct ovl_node *dir, struct ovl_req *rq, int dirfd, const struct ovl_left_node *left)
{
	_cleanup_node_ struct ovl_node *n = NULL;
	struct ovl_block block;
	struct ovl_found found;
	uint64_t local;
	int r = ovl_mark_get(dirfd, left->name, &local);

	if (r == 0 && !local && !ovl_block_of(dir->ws, ovl_local(left->id), &block))
		r = ovl_mark_set(dirfd, left->name, ovl_local(left->id));
	if (r == -ENOSPC || r == -EDQUOT)
		r = 0; /* a new id, then */
	if (r == 0)
		r = ovl_find_locked(dir, rq, left->name, left->name_len, &found);
	if (r == 0)
		r = ovl_node_of_locked(dir, rq, left->name, left->name_len, &found, &n);
	if (r == 0 && n->id == left->id)
		atomic_store(&n->journaled, true);
	return r;
}

static int attach(
	struct ovl_node *dir, struct ovl_req *rq, int dirfd, const struct ovl_left_node *left)
{
	struct ovl_child *child = ovl_names_find(&dir->dir->names, left->name, left->name_len);
	bool there = false;
	struct stat st;
	int r = 0;

	if (child && !child->node && child->type == (uint8_t)IFTODT(left->type)) {
		if (fstatat(dirfd, left->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = ovl_left_is_there(dir->ws, dirfd, left, &st, &there);
	}
	if (r)
		return r;
	if (!there)
		return lose(dir->ws, left);
	return S_ISDIR(left->type) ? add_dir(dir, rq, dirfd, left)
				   : add_file(dir, child, left, &st);
}

static int attach_all(struct ovl_node *dir, struct ovl_req *rq, int dirfd)
{
	const struct ovl_left *left = dir->ws->left;
	struct ovl_left_place place;
	int r = 0;

	for (uint64_t local = ovl_index_get(&left->first, ovl_local(dir->id)) / ID_UNIT;
		r == 0 && local; local = ovl_index_get(&left->next, local) / ID_UNIT) {
		if (!place_of(dir->ws, full_id(dir->ws, local), &place))
			continue;
		r = attach(dir, rq, dirfd, &place.node);
		if (r == 0)
			(void)take(dir->ws, full_id(dir->ws, local));
	}
	return r;
}

int ovl_left_attach_locked(struct ovl_node *dir, struct ovl_req *rq)
{
	int dirfd, r;

	lock_assert_held(&dir->dir->lock);
	if (!ovl_left_waits(dir->ws, dir->id) || !ovl_has(dir, OVL_UPPER))
		return 0;
	r = ovl_fd_get(dir, &dirfd);
	if (r)
		return r;
	r = attach_all(dir, rq, dirfd);
	ovl_fd_put(dir);
	return r;
}

/* ---- the way to one ---- */

struct way {
	uint64_t *id; /* innermost first */
	size_t count, cap;
};

static int push(struct way *w, uint64_t id)
{
	if (w->count == DEPTH_MAX)
		return -ELOOP;
	if (w->count == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 64;
		uint64_t *more = reallocarray(w->id, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		w->id = more;
		w->cap = cap;
	}
	w->id[w->count++] = id;
	return 0;
}

static struct ovl_node *pin(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_node *n = ovl_table_pin(ws, id);

	if (n)
		ref_get(&ws->ref); /* the pin becomes a full one */
	return n;
}

/* The ids to be brought back, up to one that has a node (NULL: there is no such). */
static int climb(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id, struct way *w,
	struct ovl_node **ret_top)
{
	struct ovl_left_place place;
	int r = 0;

	*ret_top = NULL;
	while (r == 0 && !(*ret_top = pin(ws, id))) {
		if (!place_of(ws, id, &place)) {
			/* came back meanwhile; or it is a directory of the lower alone */
			*ret_top = pin(ws, id);
			if (!*ret_top)
				r = ovl_dir_enter(ws, rq, id, ret_top);
			return r == -ESTALE ? 0 : r;
		}
		r = push(w, id);
		id = place.node.parent;
	}
	return r;
}

/* Nobody can reach it any more. */
static int give_up(struct ovl_ws *ws, const struct way *w)
{
	struct ovl_left_place place;
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->count; i++)
		if (place_of(ws, w->id[i], &place) && take(ws, w->id[i]))
			r = lose(ws, &place.node);
	return r;
}

static int descend(struct ovl_ws *ws, struct ovl_req *rq, struct way *w, struct ovl_node *top)
{
	struct ovl_node *dir = top;
	int r = 0;

	while (r == 0 && dir && w->count > 0) {
		struct ovl_node *below = NULL;

		if (dir->dir && !ovl_has(dir, OVL_DEAD))
			r = ovl_dir_load(dir, rq);
		if (r == 0)
			below = pin(ws, w->id[w->count - 1]);
		if (below)
			w->count--;
		ovl_node_unpin(dir);
		dir = below;
	}
	ovl_node_unpin(dir);
	return r;
}

int ovl_left_bring(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id)
{
	struct way way = {0};
	struct ovl_node *top;
	int r = climb(ws, rq, id, &way, &top);

	if (r == 0)
		r = descend(ws, rq, &way, top);
	if (r == 0 || r == -ELOOP)
		r = give_up(ws, &way);
	free(way.id);
	return r;
}

/* ---- all ---- */

int ovl_left_bring_all(struct ovl_ws *ws, struct ovl_req *rq)
{
	uint64_t local = 0;
	int r = 0;

	while (r == 0 && ws->left && (local = ovl_index_next(&ws->left->at, local + 1)))
		r = ovl_left_bring(ws, rq, full_id(ws, local));
	return r;
}

static int bring_one(struct ovl_ws *ws, uint64_t local)
{
	struct ovl_req rq = {0};
	int r;

	ovl_enter(ws->overlay);
	r = ovl_left_bring(ws, &rq, full_id(ws, local));
	ovl_need_drop(&rq.need);
	ovl_evict_pending(ws); /* what nobody knows after all */
	ovl_leave(ws->overlay);
	return r;
}

void ovl_left_chore(struct ovl_ws *ws)
{
	uint64_t local = 0;

	while (!atomic_load(&ws->dead) && (local = ovl_index_next(&ws->left->at, local + 1)))
		(void)bring_one(ws, local); /* stays for who asks for it, then */
	if (ovl_left_count(ws) == 0) {
		ovl_index_empty(&ws->left->first);
		ovl_index_empty(&ws->left->next);
		ovl_index_empty(&ws->left->at);
		(void)ovl_chore_ask(ws, OVL_CHORE_COMPACT); /* else with the next append or two */
	}
}
