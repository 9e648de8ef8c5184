/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame that all namespace changes share: entering a directory for a change, looking at the
 * name under its lock, and small questions about nodes and directories. No state of its own.
 *
 * An ovl_place is on the stack of one call. The directory's upper is made before the lock is taken
 * (that takes the locks of the parents), so between the two the directory may have been removed:
 * ovl_place_look_locked asks again.
 */
#include "overlay/ovl_change.h"

#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void ovl_ctime_moves(struct stat *attr)
{
	struct timespec now = ovl_now();

	/* The filesystem below may have stamped a finer, later time within the same tick. */
	if (now.tv_sec < attr->st_ctim.tv_sec ||
		(now.tv_sec == attr->st_ctim.tv_sec && now.tv_nsec <= attr->st_ctim.tv_nsec)) {
		now = attr->st_ctim;
		now.tv_nsec++;
		if (now.tv_nsec == 1000000000)
			now = (struct timespec){.tv_sec = now.tv_sec + 1};
	}
	attr->st_ctim = now;
}

struct timespec ovl_now(void)
{
	struct timespec ts = {0};

	/* not the injected clock: it must agree with what the filesystem below stamps on upper
	 * objects */
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &ts); /* cannot fail on this clock */
	return ts;
}

void ovl_tmp_name(struct ovl_ws *ws, char name[OVL_WORK_NAME])
{
	/* relaxed: only uniqueness matters */
	uint64_t n = atomic_fetch_add_explicit(&ws->tmp_serial, 1, memory_order_relaxed);

	(void)snprintf(name, OVL_WORK_NAME, "tmp/%" PRIx64, n);
}

int ovl_place_enter(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_place *ret_place)
{
	struct ovl_place p = {.name = name, .len = strlen(name), .dirfd = -1};
	int r;

	if (p.len > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	if (!path_name_ok(name, p.len))
		return -EINVAL;
	if (parent == OVL_ROOT_ID)
		return -EPERM; /* workspaces come and go through the service only */
	r = ovl_dir_get(o, rq, parent, &p.dir);
	if (r < 0)
		return r;
	if (p.dir->ws->read_only) {
		ovl_node_unpin(p.dir);
		return -EROFS;
	}
	*ret_place = p;
	return 0;
}

int ovl_place_need_upper(struct ovl_place *p, struct ovl_req *rq)
{
	return ovl_has(p->dir, OVL_UPPER) ? 0 : ovl_dir_need_upper(p->dir, rq);
}

int ovl_place_look_locked(struct ovl_place *p, struct ovl_req *rq)
{
	int r;

	lock_assert_held(&p->dir->dir->lock);
	if (ovl_has(p->dir, OVL_DEAD))
		return -ENOENT;
	r = ovl_find_locked(p->dir, rq, p->name, p->len, &p->found);
	if (r < 0 || p->dirfd_held || !ovl_has(p->dir, OVL_UPPER))
		return r;
	r = ovl_fd_get(p->dir, &p->dirfd);
	p->dirfd_held = r == 0;
	return r;
}

void ovl_place_leave(struct ovl_place *p)
{
	if (p->dirfd_held)
		ovl_fd_put(p->dir);
	p->dirfd_held = false;
	p->dir = ovl_node_unpin(p->dir);
}

bool ovl_found_is_dir(const struct ovl_found *found)
{
	if (found->where == OVL_IN_UPPER)
		return found->child->type == DT_DIR;
	return found->where == OVL_IN_LOWER && S_ISDIR(found->lower_mode);
}

void ovl_place_touched(struct ovl_place *p)
{
	ovl_attr_drop(p->dir);
}

bool ovl_node_in_use(struct ovl_node *n)
{
	/* acquire: a pin that was dropped has also finished its work */
	if (atomic_load_explicit(&n->pins, memory_order_acquire) > 1)
		return true;
	return ovl_refs_get(n->ws, ovl_local(n->id)) > 0;
}

/* Is every entry of the lower tree hidden by a whiteout? */
static int lower_hidden(struct ovl_node *dir, struct ovl_req *rq)
{
	struct tree_view view;
	int r = ovl_tree_view(dir->ws, rq, &dir->dir->lower_tree, &view);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < view.count && r == 0; i++) {
		const struct ovl_child *c;
		struct tree_entry e;

		tree_view_entry(&view, i, &e);
		c = ovl_names_find(&dir->dir->names, e.name, e.name_len);
		if (!c || c->type != DT_WHT)
			r = -ENOTEMPTY;
	}
	tree_view_end(&view);
	return r;
}

int ovl_dir_empty_locked(struct ovl_node *dir, struct ovl_req *rq)
{
	const struct ovl_dir *d = dir->dir;

	lock_assert_held(&d->lock);
	if (d->names.count > d->names.whiteouts)
		return -ENOTEMPTY;
	if (!d->has_lower || oid_is_none(&d->lower_tree))
		return 0;
	if (d->block_count > d->names.whiteouts)
		return -ENOTEMPTY; /* more entries than there are whiteouts to hide them */
	return lower_hidden(dir, rq);
}

int ovl_times_get(int dirfd, struct ovl_times *ret_times)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	*ret_times = (struct ovl_times){st.st_atim, st.st_mtim};
	return 0;
}

void ovl_times_put(int dirfd, const struct ovl_times *times)
{
	const struct timespec ts[2] = {times->atime, times->mtime};
	char path[32];

	/* O_PATH: futimens would be EBADF. What fails here shows a newer mtime of a directory,
	 * which harms nobody. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	(void)utimensat(AT_FDCWD, path, ts, 0);
}
