/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and removing directory trees.
 *
 * Removal keeps one directory open at a time and goes back up through "..", so that the depth of a
 * tree (a tenant decides it) costs neither stack nor descriptors. Each directory is read once:
 * files go at once, names of sub-directories are noted and entered one after the other. Going up
 * checks device and inode: if somebody moved the directory away meanwhile, the walk stops instead
 * of removing things elsewhere. Sub-directories are opened beneath their parent, without symlinks
 * and without crossing a mount point, bind mounts included.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/io.h"

/* How often a directory that gained entries while it was emptied is read again. */
#define RESCANS_MAX 3

struct level {
	struct level *up;
	dev_t dev;
	ino_t ino;
	struct buf names; /* sub-directories to enter, each NUL-terminated */
	size_t next;      /* offset in names: the one to enter next, or the one we are in */
	unsigned scans;
};

struct removal {
	int fd; /* the directory of `top` */
	struct level *top;
	unsigned depth;
	const struct cancel *cancel;
};

static int is_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_one(const char *path, mode_t mode)
{
	int code;

	if (mkdir(path, mode) == 0)
		return 0;
	/* it may exist although the parent is read-only or not ours */
	code = -errno;
	if (code == -EEXIST || code == -EROFS || code == -EACCES || code == -EPERM) {
		int r = is_directory(path);

		return r == -ENOENT ? code : r;
	}
	return code;
}

int io_mkdirs(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	char *at;

	if (!copy)
		return -ENOMEM;
	if (!*copy)
		return -ENOENT;
	at = copy + strspn(copy, "/");
	while (*at) {
		char *end = at + strcspn(at, "/");
		char kept = *end;
		int r;

		*end = '\0';
		r = make_one(copy, mode);
		if (r < 0)
			return r;
		*end = kept;
		at = end + strspn(end, "/");
	}
	return 0;
}

static int open_beneath(int dirfd, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Enter the directory behind `fd`, which becomes the removal's. */
static int push(struct removal *rm, int fd)
{
	struct level *level;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int code = -errno;

		(void)close(fd); /* read-only */
		return code;
	}
	level = calloc(1, sizeof(*level));
	if (!level) {
		(void)close(fd); /* read-only */
		return -ENOMEM;
	}
	buf_init(&level->names, SIZE_MAX);
	level->dev = st.st_dev;
	level->ino = st.st_ino;
	level->up = rm->top;
	rm->top = level;
	rm->depth++;
	if (rm->fd >= 0)
		(void)close(rm->fd); /* read-only */
	rm->fd = fd;
	return 0;
}

static void pop(struct removal *rm)
{
	struct level *level = rm->top;

	rm->top = level->up;
	rm->depth--;
	buf_fini(&level->names);
	free(level);
}

/* Remove a file, or note a directory for later. */
static int visit(struct removal *rm, const struct dirent *entry)
{
	const char *name = entry->d_name;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (entry->d_type != DT_DIR) {
		if (unlinkat(rm->fd, name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno != EISDIR)
			return -errno;
	}
	return buf_append(&rm->top->names, name, strlen(name) + 1);
}

/* Read the top directory once. */
static int scan(struct removal *rm)
{
	int fd = openat(rm->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		(void)close(fd); /* read-only */
		return r;
	}
	buf_clear(&rm->top->names);
	rm->top->next = 0;
	rm->top->scans++;
	while (r == 0 && !cancel_fired(rm->cancel)) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			r = -errno;
			break;
		}
		r = visit(rm, entry);
	}
	(void)closedir(dir); /* read-only */
	return r;
}

/* The name is gone, or is something else now: somebody is at work here too. */
static bool moved(int code)
{
	return code == -ENOENT || code == -ENOTDIR || code == -ELOOP;
}

static const char *current_name(const struct level *level)
{
	return level->next < level->names.len ? level->names.data + level->next : NULL;
}

/* Go down into the next noted directory. */
static int descend(struct removal *rm, const char *name)
{
	int fd = open_beneath(rm->fd, name), r;

	if (moved(fd)) { /* what is there now is seen when the directory is read again */
		rm->top->next += strlen(name) + 1;
		return 0;
	}
	if (fd < 0)
		return fd;
	r = push(rm, fd);
	return r < 0 ? r : scan(rm);
}

/* Everything in the top directory is gone: go up and remove it. If it got new entries, read it
 * again. */
static int ascend(struct removal *rm)
{
	int fd = openat(rm->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct level *up = rm->top->up;
	const char *name = current_name(up);
	struct stat st;

	assert(name); /* the one that we are in */
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_dev != up->dev || st.st_ino != up->ino) {
		(void)close(fd); /* read-only */
		return -ESTALE;
	}
	if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && !moved(-errno)) {
		int code = -errno;

		(void)close(fd); /* read-only */
		return code == -ENOTEMPTY && rm->top->scans < RESCANS_MAX ? scan(rm) : code;
	}
	(void)close(rm->fd); /* read-only */
	rm->fd = fd;
	pop(rm);
	rm->top->next += strlen(name) + 1;
	return 0;
}

/* Empty the directory `fd` (taken over). */
static int remove_contents(int fd, const struct cancel *cancel)
{
	struct removal rm = {.fd = -1, .cancel = cancel};
	int r = push(&rm, fd);

	if (r < 0)
		return r;
	r = scan(&rm);
	while (r == 0 && (r = cancel_check(cancel, UINT64_MAX)) == 0) {
		const char *name = current_name(rm.top);

		if (name)
			r = descend(&rm, name);
		else if (rm.depth > 1)
			r = ascend(&rm);
		else
			break;
	}
	while (rm.top)
		pop(&rm);
	(void)close(rm.fd); /* read-only */
	return r;
}

/* The directory that holds `path`, and the last component. */
static int open_parent(int dirfd, const char *path, const char **ret_last)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = NULL;
	int fd;

	*ret_last = slash ? slash + 1 : path;
	if (!**ret_last || strcmp(*ret_last, ".") == 0 || strcmp(*ret_last, "..") == 0)
		return -EINVAL;
	parent = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
	if (!parent)
		return -ENOMEM;
	fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One attempt. -ENOTEMPTY and what moved() knows may end differently at the next one. */
static int remove_at(int parent, const char *name, const struct cancel *cancel)
{
	int fd, r;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	fd = open_beneath(parent, name); /* -EXDEV if something is mounted on it */
	if (fd < 0)
		return fd;
	r = remove_contents(fd, cancel);
	if (r < 0)
		return r;
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int io_remove_tree_until(int dirfd, const char *name, const struct cancel *cancel)
{
	const char *last;
	_cleanup_close_ int parent = open_parent(dirfd, name, &last);
	int r = -ENOTEMPTY;

	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	for (unsigned tries = 0; tries < RESCANS_MAX && (r == -ENOTEMPTY || moved(r)); tries++) {
		r = remove_at(parent, last, cancel);
		if (r == 0 || r == -ENOENT)
			return 0;
	}
	return r;
}

int io_remove_tree(int dirfd, const char *name)
{
	return io_remove_tree_until(dirfd, name, NULL);
}
