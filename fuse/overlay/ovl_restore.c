/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was removed comes back from the lower, for a hard reset: a file by taking its whiteout away,
 * a directory as a new one over the old tree (a redirect, as a renamed one has).
 *
 * Lower entries have fixed ids, and an object that was moved away took its id along. So a file
 * comes back under its id only if the object that had it was removed from the very same place; all
 * else gets new ids. The unlink of a whiteout is done or not done, and needs no intent: at a start
 * the names are read from the disk.
 */
#include "fuse/upper.h"

#include "overlay/ovl_change.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static uint64_t id_below(const struct ovl_place *p)
{
	return ovl_entry_id(p->dir, p->found.lower_idx);
}

int ovl_below(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_below *ret_below)
{
	_cleanup_place_ struct ovl_place p = {0};
	int r = ovl_place_enter(o, rq, parent, name, &p);

	if (r < 0)
		return r;
	LOCK_GUARD(&p.dir->dir->lock);
	r = ovl_place_look_locked(&p, rq);
	if (r == 0 && !p.found.lower_exists)
		r = -ENOENT;
	if (r == 0)
		*ret_below =
			(struct ovl_below){id_below(&p), p.found.lower_mode, p.found.lower_oid};
	return r;
}

/* Has the table a node of this id? */
static bool is_remembered(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_node *n = ovl_table_pin(ws, id);

	if (!n)
		return ovl_left_has(ws, id);
	ref_get(&ws->ref); /* the pin becomes a full one */
	ovl_node_unpin(n);
	return true;
}

static int restore_locked(struct ovl_place *p, uint64_t was)
{
	if (p->found.where == OVL_IN_UPPER)
		return -EEXIST;
	if (!p->found.lower_exists)
		return -ENOENT;
	if (p->found.where == OVL_IN_LOWER)
		return 0;
	if (S_ISDIR(p->found.lower_mode) || id_below(p) != was || is_remembered(p->dir->ws, was))
		return -EBUSY;
	if (unlinkat(p->dirfd, p->name, 0) < 0)
		return -errno;
	ovl_names_remove(&p->dir->dir->names, p->name, p->len);
	ovl_place_touched(p);
	return 0;
}

int ovl_restore(
	struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, uint64_t was)
{
	_cleanup_place_ struct ovl_place p = {0};
	int r = ovl_place_enter(o, rq, parent, name, &p);

	if (r < 0)
		return r;
	LOCK_GUARD(&p.dir->dir->lock);
	r = ovl_place_look_locked(&p, rq);
	return r < 0 ? r : restore_locked(&p, was);
}

int ovl_set_lower(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct oid *tree)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	int fd, r = ovl_dir_get(o, rq, id, &dir);

	if (r < 0)
		return r;
	LOCK_GUARD(&dir->dir->lock);
	/* ours are the only pin and the only lookup */
	if (dir->dir->names.count || ovl_refs_get(dir->ws, ovl_local(id)) > 1 ||
		atomic_load_explicit(&dir->pins, memory_order_acquire) > 1)
		return -EBUSY;
	r = ovl_fd_get(dir, &fd);
	if (r < 0)
		return r;
	r = ovl_redirect_set(fd, tree);
	ovl_fd_put(dir);
	return r;
}
