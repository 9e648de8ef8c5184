/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enumerates the upper layer's changes, for the Git workflow. It reads the disk and not the tables:
 * a workspace may have many changed directories that nobody has entered since the start, and no
 * lock of the overlay is held while a job waits. Overlay law 3 says what shows through a directory.
 *
 * Any thread; blocks on the local disk. Whoever calls keeps the workspace open.
 */
#include "fuse/upper.h"

#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GETDENTS_BYTES 32768
#define NAMES_MAX      (4u << 20)

/* A listing under way. Names are offsets until it is complete, since their memory moves. */
struct listing {
	struct ovl_upper_entry *entries;
	size_t count, cap;
	char *names;
	size_t names_len, names_cap;
};

static int add_name(struct listing *l, const char *name, size_t len, size_t *ret_at)
{
	if (l->names_cap - l->names_len <= len) {
		size_t cap =
			l->names_cap ? 2 * l->names_cap : 4096; /* a name is at most 255 bytes */
		char *names = realloc(l->names, cap);

		if (!names)
			return -ENOMEM;
		l->names = names;
		l->names_cap = cap;
	}
	memcpy(l->names + l->names_len, name, len + 1);
	*ret_at = l->names_len;
	l->names_len += len + 1;
	return 0;
}

static int add_entry(struct listing *l, const struct ovl_upper_entry *entry, const char *name)
{
	size_t at;
	int r;

	if (l->count == NAMES_MAX)
		return -EFBIG;
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct ovl_upper_entry *entries = reallocarray(l->entries, cap, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		l->entries = entries;
		l->cap = cap;
	}
	r = add_name(l, name, entry->name_len, &at);
	if (r < 0)
		return r;
	l->entries[l->count] = *entry;
	l->entries[l->count++].name_at = at;
	return 0;
}

/* Types that need no stat are taken from the directory itself. */
static int look(int fd, const struct dirent64 *d, struct ovl_upper_entry *ret_entry)
{
	struct stat st;

	*ret_entry = (struct ovl_upper_entry){.name_len = strlen(d->d_name)};
	if (d->d_type == DT_DIR || d->d_type == DT_LNK) {
		ret_entry->mode = DTTOIF(d->d_type);
		return 0;
	}
	if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (ovl_is_whiteout(&st))
		return 0;
	ret_entry->mode = st.st_mode;
	if (S_ISREG(st.st_mode)) {
		ret_entry->ino = st.st_ino;
		ret_entry->size = (uint64_t)st.st_size;
		ret_entry->mtime = st.st_mtim;
		ret_entry->ctime = st.st_ctim;
	}
	return 0;
}

static int list_entry_of(struct listing *l, int fd, const struct dirent64 *d)
{
	struct ovl_upper_entry entry;
	int r;

	if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
		return 0;
	r = look(fd, d, &entry);
	if (r == -ENOENT)
		return 0; /* gone since it was listed */
	return r < 0 ? r : add_entry(l, &entry, d->d_name);
}

static int list_all(struct listing *l, int fd)
{
	_Alignas(struct dirent64) char buf[GETDENTS_BYTES];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = getdents64(fd, buf, sizeof(buf))) != 0) {
		if (n < 0)
			return -errno;
		for (ssize_t at = 0; r == 0 && at < n;) {
			const struct dirent64 *d =
				(const struct dirent64 *)(const void *)(buf + at);

			r = list_entry_of(l, fd, d);
			at += d->d_reclen;
		}
	}
	return r;
}

static int by_name(const void *a, const void *b)
{
	const struct ovl_upper_entry *x = a, *y = b;

	return strcmp(x->name, y->name); /* bytes without NUL: the same as memcmp, then length */
}

static void finish(struct listing *l, struct ovl_upper_dir *dir)
{
	for (size_t i = 0; i < l->count; i++)
		l->entries[i].name = l->names + l->entries[i].name_at;
	if (l->count)
		qsort(l->entries, l->count, sizeof(*l->entries), by_name);
	dir->entries = l->entries;
	dir->names = l->names;
	dir->count = l->count;
}

/* Takes the descriptor, also on failure. */
static int list_dir(int fd, const struct oid *lower, struct ovl_upper_dir *ret_dir)
{
	struct listing l = {0};
	int r = list_all(&l, fd);

	if (r < 0) {
		free(l.entries);
		free(l.names);
		(void)close(fd); /* a directory: nothing to lose */
		return r;
	}
	*ret_dir = (struct ovl_upper_dir){.fd = fd, .has_lower = lower && lower->len};
	if (ret_dir->has_lower)
		ret_dir->lower = *lower;
	finish(&l, ret_dir);
	return 0;
}

static int open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOATIME | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? (errno == ELOOP ? -ENOTDIR : -errno) : fd;
}

int ovl_upper_root(struct ovl_ws *ws, struct ovl_upper_dir *ret_dir)
{
	int fd = open_dir(ws->upper_fd, ".");

	return fd < 0 ? fd : list_dir(fd, &ws->root_tree, ret_dir);
}

int ovl_upper_enter(const struct ovl_upper_dir *dir, const char *name, const struct oid *below,
	struct ovl_upper_dir *ret_dir)
{
	struct oid redirect;
	bool opaque, found;
	int fd = open_dir(dir->fd, name);
	int r;

	if (fd < 0)
		return fd;
	r = ovl_redirect_get(fd, "", &redirect, &found);
	if (r == 0)
		r = ovl_opaque_get(fd, "", &opaque);
	if (r < 0) {
		(void)close(fd); /* a directory: nothing to lose */
		return r;
	}
	r = list_dir(fd, found ? &redirect : opaque ? NULL : below, ret_dir);
	ret_dir->redirected = r == 0 && found;
	return r;
}

void ovl_upper_close(struct ovl_upper_dir *dir)
{
	if (dir->fd >= 0)
		(void)close(dir->fd); /* a directory: nothing to lose */
	free(dir->entries);
	free(dir->names);
	*dir = OVL_UPPER_DIR_NONE;
}

int ovl_upper_open(const struct ovl_upper_dir *dir, const char *name, int *ret_fd)
{
	/* non-blocking: a fifo may have taken the name */
	_cleanup_close_ int fd =
		openat(dir->fd, name, O_RDONLY | O_NOATIME | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int ovl_upper_open_path(struct ovl_ws *ws, const char *path, int *ret_fd)
{
	struct ovl_upper_dir dir = {.fd = open_dir(ws->upper_fd, ".")};
	char name[PATH_NAME_MAX + 1];
	const char *part;
	size_t len;
	int r = dir.fd < 0 ? dir.fd : -ENOENT;

	while (dir.fd >= 0 && path_next(&path, &part, &len)) {
		int fd;

		if (len > PATH_NAME_MAX) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, part, len);
		name[len] = '\0';
		if (!*path) {
			r = ovl_upper_open(&dir, name, ret_fd);
			break;
		}
		fd = open_dir(dir.fd, name);
		(void)close(dir.fd); /* a directory: nothing to lose */
		dir.fd = fd;
		r = fd;
	}
	if (dir.fd >= 0)
		(void)close(dir.fd); /* as above */
	return r < 0 || r == 0 ? r : -ENOENT;
}

ssize_t ovl_upper_readlink(const struct ovl_upper_dir *dir, const char *name, char *buf, size_t cap)
{
	ssize_t n = readlinkat(dir->fd, name, buf, cap);

	if (n < 0)
		return errno == EINVAL ? -ENOENT : -errno;
	return (size_t)n == cap ? -ENAMETOOLONG : n;
}
