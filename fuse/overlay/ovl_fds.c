/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of upper objects: at most one per node, kept in an LRU of bounded length over all
 * workspaces, and pinned while a call uses it (fd_users). One that is missing is opened beneath the
 * nearest ancestor that has one, a component at a time, without following symlinks: the content of
 * an upper is hostile. No descriptor is ever opened by a path.
 *
 * Locks: overlay.fds.lock (rank OVL_FDS) for the fields; never held over a syscall.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

void ovl_orphan_name(uint64_t id, char ret_name[OVL_WORK_NAME])
{
	(void)snprintf(
		ret_name, OVL_WORK_NAME, "orphan/%016" PRIx64, (uint64_t)(id & OVL_LOCAL_MASK));
}

void ovl_links_name(uint64_t id, char ret_name[OVL_WORK_NAME])
{
	(void)snprintf(
		ret_name, OVL_WORK_NAME, "links/%016" PRIx64, (uint64_t)(id & OVL_LOCAL_MASK));
}

static struct ovl_fds *fds_of(const struct ovl_node *node)
{
	return &node->ws->overlay->fds;
}

static bool take_cached(struct ovl_node *node, int *ret_fd)
{
	if (node == node->ws->root) {
		*ret_fd = node->ws->upper_fd;
		return true;
	}
	LOCK_GUARD(&fds_of(node)->lock);
	if (node->fd < 0)
		return false;
	if (node->fd_users++ == 0)
		list_remove(&node->fd_lru);
	*ret_fd = node->fd;
	return true;
}

void ovl_fd_put(struct ovl_node *node)
{
	if (node == node->ws->root)
		return;
	LOCK_GUARD(&fds_of(node)->lock);
	if (--node->fd_users == 0)
		list_push_back(&fds_of(node)->lru, &node->fd_lru);
}

/* Takes the descriptor out; the caller closes it, without the lock. */
static int detach_fd_locked(struct ovl_fds *fds, struct ovl_node *node)
{
	int fd = node->fd;

	list_remove(&node->fd_lru);
	node->fd = -1;
	fds->open--;
	return fd;
}

static void install(struct ovl_node *node, int fd)
{
	struct ovl_fds *fds = fds_of(node);
	int surplus = -1;
	struct list *oldest;

	lock_acquire(&fds->lock);
	if (node->fd >= 0 || node == node->ws->root) {
		surplus = fd; /* someone else was faster */
	} else {
		oldest = fds->open >= fds->max ? list_first(&fds->lru) : NULL;
		if (oldest)
			surplus =
				detach_fd_locked(fds, list_entry(oldest, struct ovl_node, fd_lru));
		node->fd = fd;
		fds->open++;
		list_push_back(&fds->lru, &node->fd_lru);
	}
	lock_release(&fds->lock);
	if (surplus >= 0)
		(void)close(surplus); /* a local file: what was written is in the page cache */
}

void ovl_fd_drop(struct ovl_node *node)
{
	struct ovl_fds *fds = fds_of(node);
	int fd = -1;

	lock_acquire(&fds->lock);
	if (node->fd >= 0 && node->fd_users == 0)
		fd = detach_fd_locked(fds, node);
	lock_release(&fds->lock);
	if (fd >= 0)
		(void)close(fd); /* as above */
}

/* The object that is open must be the node's. The first one that is seen is it. */
static bool is_node(struct ovl_node *node, const struct stat *st)
{
	uint64_t none = 0;

	if ((st->st_mode & S_IFMT) != node->type)
		return false;
	/* relaxed: a number to compare with, nothing depends on its order */
	if (atomic_compare_exchange_strong_explicit(&node->upper_ino, &none, st->st_ino,
		    memory_order_relaxed, memory_order_relaxed))
		return true;
	return none == st->st_ino;
}

void ovl_fd_adopt(struct ovl_node *node, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && is_node(node, &st))
		install(node, fd);
	else
		(void)close(fd); /* not its file: it is opened when needed */
}

/* -ENOENT and -ESTALE: it is not there (just now). */
static int open_under(struct ovl_node *node, int dirfd, const char *name)
{
	int flags = S_ISREG(node->type) ? O_RDWR | O_NONBLOCK | O_NOATIME : O_PATH;
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC | (node->dir ? O_DIRECTORY : 0));
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR || errno == EISDIR || errno == ENXIO
			       ? -ESTALE
			       : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!is_node(node, &st))
		return -ESTALE;
	install(node, TAKE_FD(fd));
	return 0;
}

/* The name below work/ of an object that is not reached by its place. */
static bool special_name(const struct ovl_node *node, char ret_name[OVL_WORK_NAME])
{
	unsigned flags = atomic_load(&node->flags);

	if (flags & OVL_ORPHAN)
		ovl_orphan_name(node->id, ret_name);
	else if (flags & OVL_LINKED)
		ovl_links_name(node->id, ret_name);
	return flags & (OVL_ORPHAN | OVL_LINKED);
}

/* Opens `node` or, of the ancestors without a descriptor, the outermost. */
static int open_one(struct ovl_node *node)
{
	struct ovl_node *cur = node, *parent;
	int r = -EAGAIN, dirfd;
	char name[256];

	if (special_name(node, name))
		return open_under(node, node->ws->work_fd, name);
	ovl_pin_raw(cur);
	while (r == -EAGAIN) {
		if (!ovl_place_of(cur, &parent, name)) {
			r = -ESTALE;
			break;
		}
		if (take_cached(parent, &dirfd)) {
			r = open_under(cur, dirfd, name);
			ovl_fd_put(parent);
		}
		ovl_unpin_raw(cur);
		cur = parent;
	}
	ovl_unpin_raw(cur);
	return r;
}

int ovl_fd_get(struct ovl_node *node, int *ret_fd)
{
	unsigned round = 0;
	int r;

	while (!take_cached(node, ret_fd)) {
		if (!(atomic_load(&node->flags) & OVL_UPPER))
			return -ENOENT;
		r = open_one(node);
		if (!r)
			continue;
		/* A rename may be under way: on the disk already, and not yet in the tables. */
		if ((r != -ENOENT && r != -ESTALE) || !ovl_place_retry(&round))
			return r == -ENOENT || r == -ESTALE ? -EIO : r;
	}
	return 0;
}

int ovl_at_get(struct ovl_node *node, struct ovl_at *ret_at)
{
	struct ovl_at at = {0};
	int r = 0;

	if (node == node->ws->root) {
		at.dirfd = node->ws->upper_fd;
		memcpy(at.name, ".", sizeof("."));
	} else if (special_name(node, at.name)) {
		at.dirfd = node->ws->work_fd;
	} else if (!ovl_place_of(node, &at.holder, at.name)) {
		return -ESTALE;
	} else {
		r = ovl_fd_get(at.holder, &at.dirfd);
	}
	if (r) {
		ovl_unpin_raw(at.holder);
		return r;
	}
	*ret_at = at;
	return 0;
}

void ovl_at_put(struct ovl_at *at)
{
	if (at->holder) {
		ovl_fd_put(at->holder);
		ovl_unpin_raw(at->holder);
	}
	at->holder = NULL;
}
