/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename, with NOREPLACE and EXCHANGE. What is renamed is copied up first (a directory: only its
 * own upper directory, never its content; its lower tree goes with it as a redirect,
 * ovl_rename_disk.c). An empty directory that is replaced is condemned before any other lock is
 * taken, as by rmdir.
 *
 *	enter both directories → copy up the source → condemn the target directory
 *	→ rename_lock (two directories, or a directory) → both locks → look again → reserve memory
 *	→ prepare → INTENT → renameat2 → names and nodes → DONE
 *
 * The kernel holds its own locks on all of this, so "look again" finds what was seen before; if
 * not, the rename starts over a few times.
 */
#include "overlay/ovl_rename_internal.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RENAME_ATTEMPTS 4

static uint64_t entry_id(const struct ovl_place *p)
{
	return ovl_entry_id(p->dir, p->found.lower_idx);
}

/* ---- before the locks ---- */

/* The name as it is now, and its node if it has an upper object or is a directory. Of p->found only
 * the values hold after: what it points to may go with the lock. */
static int peek(struct ovl_place *p, struct ovl_req *rq, struct ovl_node **ret_node)
{
	LOCK_GUARD(&p->dir->dir->lock);
	int r = ovl_place_look_locked(p, rq);

	*ret_node = NULL;
	if (r < 0 || p->found.where == OVL_ABSENT)
		return r;
	if (p->found.where == OVL_IN_LOWER && !ovl_found_is_dir(&p->found))
		return 0;
	return ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, ret_node);
}

/* The object under the name has an upper; *ret_node is pinned. -ENOENT if there is none. */
static int raise_source(struct ovl_place *p, struct ovl_req *rq, struct ovl_node **ret_node)
{
	_cleanup_node_ struct ovl_node *n = NULL;
	struct ovl_obj obj = {0};
	int r = peek(p, rq, &n);

	if (r < 0)
		return r;
	if (p->found.where == OVL_ABSENT)
		return -ENOENT;
	if (n) {
		r = S_ISDIR(n->type) ? ovl_dir_need_upper(n, rq) : 0;
		if (r == 0)
			*ret_node = TAKE_PTR(n);
		return r;
	}
	r = ovl_obj_get(p->dir->ws->overlay, rq, entry_id(p), &obj);
	if (r < 0)
		return r;
	r = ovl_copyup(&obj, rq, true);
	if (r == 0)
		*ret_node = ovl_node_pin(obj.node);
	ovl_obj_put(&obj);
	return r;
}

/* What is at the target: is the rename allowed, and if it is a directory to be replaced, is it
 * empty? It is condemned then. */
static int examine_target(struct ovl_moving *m)
{
	struct ovl_node *n = NULL;
	int r = peek(&m->to, m->rq, &n);
	bool over_dir;

	if (r < 0 || m->to.found.where == OVL_ABSENT)
		return r;
	m->target = n;
	over_dir = n && S_ISDIR(n->type); /* every directory has a node by now */
	if (m->flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (n == m->source)
		return 0;
	if (m->is_dir && !over_dir)
		return -ENOTDIR;
	if (!m->is_dir && over_dir)
		return -EISDIR;
	return m->is_dir ? ovl_dir_condemn(n, m->rq) : 0;
}

/* ---- under the locks ---- */

/* Look at a name again: the same object as before the locks? */
static int confirm(struct ovl_place *p, struct ovl_req *rq, const struct ovl_node *expected)
{
	_cleanup_node_ struct ovl_node *now = NULL;
	int r = ovl_place_look_locked(p, rq);

	if (r < 0)
		return r;
	if (p->found.where == OVL_IN_UPPER || (expected && p->found.where != OVL_ABSENT)) {
		r = ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, &now);
		if (r < 0)
			return r;
	}
	return now == expected ? 0 : -ESTALE;
}

static void count_subdirs(struct ovl_moving *m)
{
	if (m->flags & RENAME_EXCHANGE) {
		bool other = S_ISDIR(m->target->type);

		m->from.dir->dir->subdirs += (uint32_t)other - (uint32_t)m->is_dir;
		m->to.dir->dir->subdirs += (uint32_t)m->is_dir - (uint32_t)other;
		return;
	}
	if (!m->is_dir)
		return;
	m->from.dir->dir->subdirs--;
	if (m->to.found.where == OVL_ABSENT)
		m->to.dir->dir->subdirs++; /* otherwise it took the place of a directory */
}

/* The object that was renamed over. */
static void drop_target(struct ovl_moving *m)
{
	struct ovl_node *n = m->target;
	bool gone = true;

	if (!n)
		return;
	if (S_ISDIR(n->type)) {
		if (ovl_has(n, OVL_UPPER))
			ovl_charge_object_end(m->ws);
	} else if (ovl_has(n, OVL_UPPER)) {
		LOCK_GUARD(&n->lock);
		if (m->target_linked) {
			(void)ovl_linked_lost_name_locked(
				n); /* the name is gone; recovery sweeps links/ */
			gone = n->attr.st_nlink == 0;
		} else if (m->target_kept) {
			atomic_fetch_add_explicit(&m->ws->orphan_count, 1, memory_order_relaxed);
		} else {
			ovl_flag_clear(n, OVL_UPPER);
			ovl_charge_drop(n);
		}
	}
	if (m->to.found.child)
		m->to.found.child->node = NULL;
	if (gone)
		ovl_node_gone_locked(n);
}

static uint8_t dtype(const struct ovl_node *n)
{
	return (uint8_t)IFTODT(n->type);
}

/* Names and nodes follow the disk. No step needs memory that was not there before. */
static void follow(struct ovl_moving *m)
{
	struct ovl_names *to = &m->to.dir->dir->names;

	count_subdirs(m);
	if (m->flags & RENAME_EXCHANGE) {
		struct ovl_names *from = &m->from.dir->dir->names;

		ovl_names_find(from, m->from.name, m->from.len)->node = NULL;
		ovl_names_find(to, m->to.name, m->to.len)->node = NULL;
		(void)ovl_names_put(from, m->from.name, m->from.len, dtype(m->target));
		(void)ovl_names_put(to, m->to.name, m->to.len, dtype(m->source));
		ovl_node_move_locked(m->target, m->from.dir, TAKE_PTR(m->target_name), m->from.len);
		ovl_attr_drop(m->target);
	} else {
		drop_target(m);
		(void)ovl_names_put(to, m->to.name, m->to.len, dtype(m->source));
	}
	ovl_node_move_locked(m->source, m->to.dir, TAKE_PTR(m->source_name), m->to.len);
	if (!(m->flags & RENAME_EXCHANGE))
		ovl_place_clear_locked(&m->from, m->from.found.lower_exists);
	ovl_attr_drop(m->source);
	ovl_place_touched(&m->from);
	ovl_place_touched(&m->to);
}

/* The memory that names and nodes will need, now that a failure can still be one. */
static int reserve(struct ovl_moving *m, bool fresh)
{
	struct ovl_names *to = &m->to.dir->dir->names;

	m->source_name = strndup(m->to.name, m->to.len);
	m->target_name = strndup(m->from.name, m->from.len);
	if (!m->source_name || !m->target_name)
		return -ENOMEM;
	if (fresh && !ovl_names_put(to, m->to.name, m->to.len, dtype(m->source)))
		return -ENOMEM;
	return 0;
}

static int rename_reserved(struct ovl_moving *m)
{
	int r = ovl_moving_prepare_locked(m);

	if (r == 0)
		r = ovl_journal_intent(
			m->ws, &(struct ovl_intent){.unique = m->rq->unique,
				       .op = m->flags & RENAME_EXCHANGE ? OVL_INTENT_EXCHANGE
									: OVL_INTENT_RENAME,
				       .id = m->source->id,
				       .parent = m->from.dir->id,
				       .new_parent = m->to.dir->id,
				       .name = m->from.name,
				       .new_name = m->to.name,
				       .backing_ino = m->source->upper_ino});
	ovl_crash_point(m->ws, "rename:intent");
	if (r == 0) {
		r = ovl_moving_do_locked(m);
		if (r < 0)
			ovl_journal_void(m->ws, m->rq->unique);
	}
	if (r < 0) {
		ovl_moving_abandon_locked(m);
		return r;
	}
	follow(m);
	ovl_journal_done(m->ws, m->rq->unique);
	ovl_crash_point(m->ws, "rename:done");
	return 0;
}

static int rename_confirmed(struct ovl_moving *m)
{
	bool fresh = !m->to.found.child;
	int r = reserve(m, fresh);

	if (r == 0)
		r = rename_reserved(m);
	if (r < 0 && fresh)
		ovl_names_remove(&m->to.dir->dir->names, m->to.name, m->to.len);
	free(TAKE_PTR(m->source_name));
	free(TAKE_PTR(m->target_name));
	return r;
}

static int rename_locked(struct ovl_moving *m)
{
	int r = confirm(&m->from, m->rq, m->source);

	if (r == 0)
		r = confirm(&m->to, m->rq, m->target);
	if (r < 0)
		return r;
	if (m->source == m->target)
		return 0; /* two names of one object: nothing to do, says POSIX */
	return rename_confirmed(m);
}

/* ---- one attempt ---- */

static int with_locks(struct ovl_moving *m)
{
	bool wide = m->is_dir || m->from.dir != m->to.dir;
	int r;

	if (wide)
		lock_acquire(&m->ws->rename_lock);
	ovl_dir_lock_pair(m->from.dir, m->to.dir);
	r = rename_locked(m);
	ovl_dir_unlock_pair(m->from.dir, m->to.dir);
	if (wide)
		lock_release(&m->ws->rename_lock);
	return r;
}

static int attempt(struct ovl_moving *m)
{
	bool exchange = m->flags & RENAME_EXCHANGE, condemned;
	int r = raise_source(&m->from, m->rq, &m->source);

	if (r < 0)
		return r;
	m->is_dir = S_ISDIR(m->source->type);
	r = exchange ? raise_source(&m->to, m->rq, &m->target) : examine_target(m);
	if (r < 0)
		return r;
	condemned = !exchange && m->is_dir && m->target && m->target != m->source;
	r = with_locks(m);
	if (condemned && r < 0)
		ovl_dir_spare(m->target);
	return r;
}

static int places_need_upper(struct ovl_moving *m)
{
	int r = ovl_place_need_upper(&m->from, m->rq);

	return r < 0 ? r : ovl_place_need_upper(&m->to, m->rq);
}

int ovl_rename(struct overlay *o, struct ovl_req *rq, const struct ovl_rename *rename)
{
	struct ovl_moving m = {.rq = rq, .flags = rename->flags};
	int r;

	if (m.flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
		m.flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (rename->parent >> OVL_LOCAL_BITS != rename->new_parent >> OVL_LOCAL_BITS)
		return -EXDEV;
	r = ovl_place_enter(o, rq, rename->parent, rename->name, &m.from);
	if (r < 0)
		return r;
	m.ws = m.from.dir->ws;
	r = ovl_place_enter(o, rq, rename->new_parent, rename->new_name, &m.to);
	if (r == 0)
		r = places_need_upper(&m);
	for (int i = 0; r == 0 && i < RENAME_ATTEMPTS; i++) {
		r = attempt(&m);
		m.source = ovl_node_unpin(m.source);
		m.target = ovl_node_unpin(m.target);
		if (r != -ESTALE)
			break;
		r = i + 1 < RENAME_ATTEMPTS ? 0 : -EBUSY;
	}
	ovl_place_leave(&m.to);
	ovl_place_leave(&m.from);
	return r;
}
