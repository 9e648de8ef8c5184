/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over an upper, for recounts and sweeps. The tree was written by a job, so it may be deeper
 * than paths and descriptors reach: the walk holds two descriptors in all. Each level remembers
 * only the names of its sub-directories; the way back up is "..", checked against the inode that
 * was left (nothing else changes the upper meanwhile; if it does not match, -ESTALE).
 *
 * One thread, at the start of a workspace; blocks on the local disk.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct level {
	struct level *up;
	dev_t dev;
	ino_t ino;
	char *names; /* of sub-directories still to visit: NUL-terminated, one after the other */
	size_t len, cap, at;
};

struct walk {
	ovl_walk_visit visit;
	void *arg;
	struct level *top;
	int fd; /* of top */
	dev_t dev;
};

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int remember(struct level *l, const char *name)
{
	size_t len = strlen(name) + 1;

	if (l->cap - l->len < len) {
		size_t cap = l->cap ? 2 * l->cap : 1024; /* a name is at most 256 bytes */
		char *names = realloc(l->names, cap);

		if (!names)
			return -ENOMEM;
		l->names = names;
		l->cap = cap;
	}
	memcpy(l->names + l->len, name, len);
	l->len += len;
	return 0;
}

static void cleanup_closedir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The entries of a directory, read apart from whoever else reads its descriptor; NULL with errno.
 */
static DIR *open_entries(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_NOATIME | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !d) {
		int saved = errno;

		(void)close(fd); /* nothing was read or written through it */
		errno = saved;
	}
	return d;
}

/* All entries of the directory that w->fd names. */
static int visit_entries(struct walk *w)
{
	CLEANUP(cleanup_closedir) DIR *d = open_entries(w->fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while (errno = 0, e = readdir(d)) {
		struct stat st;
		int r;

		if (is_dots(e->d_name))
			continue;
		if (fstatat(w->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = w->visit(w->arg, w->fd, e->d_name, &st);
		if (r == 0 && S_ISDIR(st.st_mode) && st.st_dev == w->dev)
			r = remember(w->top, e->d_name);
		if (r != 0)
			return r;
	}
	return -errno;
}

static int push(struct walk *w, int fd)
{
	struct level *l;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct level){.up = w->top, .dev = st.st_dev, .ino = st.st_ino};
	w->top = l;
	w->dev = st.st_dev;
	return 0;
}

static void pop(struct walk *w)
{
	struct level *l = w->top;

	w->top = l->up;
	free(l->names);
	free(l);
}

static int go(struct walk *w, const char *name)
{
	int fd = openat(w->fd, name, O_RDONLY | O_NOATIME | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	(void)close(w->fd);
	w->fd = fd;
	return 0;
}

static int leave(struct walk *w)
{
	struct stat st;
	int r;

	pop(w);
	if (!w->top)
		return 0;
	r = go(w, "..");
	if (r < 0)
		return r;
	if (fstat(w->fd, &st) < 0)
		return -errno;
	return st.st_ino == w->top->ino && st.st_dev == w->top->dev ? 0 : -ESTALE;
}

static int enter(struct walk *w, const char *name)
{
	int r = go(w, name);

	if (r == 0)
		r = push(w, w->fd);
	return r < 0 ? r : visit_entries(w);
}

int ovl_walk(int dirfd, ovl_walk_visit visit, void *arg)
{
	struct walk w = {.visit = visit, .arg = arg};
	int r;

	w.fd = openat(dirfd, ".", O_RDONLY | O_NOATIME | O_DIRECTORY | O_CLOEXEC);
	if (w.fd < 0)
		return -errno;
	r = push(&w, w.fd);
	if (r == 0)
		r = visit_entries(&w);
	while (r == 0 && w.top) {
		struct level *l = w.top;

		if (l->at < l->len) {
			const char *name = l->names + l->at;

			l->at += strlen(name) + 1;
			r = enter(&w, name);
		} else {
			r = leave(&w);
		}
	}
	while (w.top)
		pop(&w);
	(void)close(w.fd);
	return r;
}

int ovl_work_open(struct ovl_ws *ws, const char *name, int *ret_fd)
{
	*ret_fd = openat(
		ws->work_fd, name, O_RDONLY | O_NOATIME | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

int ovl_empty_dir(int dirfd)
{
	CLEANUP(cleanup_closedir) DIR *d = open_entries(dirfd);
	struct dirent *e;

	if (!d)
		return -errno;
	while (errno = 0, e = readdir(d)) {
		int r;

		if (is_dots(e->d_name))
			continue;
		r = io_remove_tree(dirfd, e->d_name);
		if (r < 0)
			return r;
	}
	return -errno;
}
