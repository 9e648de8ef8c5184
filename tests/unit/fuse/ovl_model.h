/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace and a plain directory side by side, and the comparison of all that can be seen of
 * them: for test_ovl_model.c, which does the same in both. Include after cmocka.h.
 */
#pragma once
#include "ovl_world.h"

#include <linux/openat2.h>
#include <sys/syscall.h>

#define HELD       6
#define MAP_BLOCKS 12

struct held {
	bool used;
	int fd;
	struct world_at at;
};

struct seen_id {
	ino_t ino;
	uint64_t id;
};

struct model {
	struct world w;
	int plain; /* O_PATH of the plain directory */
	uint64_t rng;
	unsigned step;
	struct held held[HELD];
	struct seen_id ids[WORLD_LIST_MAX], old_ids[WORLD_LIST_MAX];
	size_t id_count, old_id_count;
};

WORLD_UNUSED static uint64_t rnd(struct model *m, uint64_t below)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return m->rng % below;
}

/* ---- the plain side ---- */

WORLD_UNUSED static int plain_parent(
	struct model *m, const char *path, const char **ret_name, int *ret_fd)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
	const char *slash = strrchr(path, '/');
	char dir[256] = ".";
	long fd;

	if (slash)
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	*ret_name = slash ? slash + 1 : path;
	fd = syscall(SYS_openat2, m->plain, dir, &how, sizeof(how));
	if (fd < 0)
		return errno == ELOOP ? -ENOTDIR
				      : -errno; /* the overlay knows no symlinks in paths */
	*ret_fd = (int)fd;
	return 0;
}

WORLD_UNUSED static mode_t plain_type(struct model *m, const char *path)
{
	const char *name;
	struct stat st = {0};
	int fd;

	if (plain_parent(m, path, &name, &fd) < 0)
		return 0;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		st.st_mode = 0;
	(void)close(fd);
	return st.st_mode & S_IFMT;
}

WORLD_UNUSED static int plain_open(struct model *m, const char *path, int flags)
{
	const char *name;
	int dirfd, fd, r = plain_parent(m, path, &name, &dirfd);

	if (r < 0)
		return r;
	fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : fd;
	(void)close(dirfd);
	return r;
}

WORLD_UNUSED static void plain_dump_at(
	struct model *m, int dirfd, const char *name, const char *path, struct buf *out);

WORLD_UNUSED static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

WORLD_UNUSED static void plain_dump_dir(
	struct model *m, int dirfd, const char *name, const char *path, struct buf *out)
{
	char *names[WORLD_LIST_MAX];
	size_t count = 0;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			names[count++] = strdup(e->d_name);
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		char sub[512];

		(void)snprintf(sub, sizeof(sub), "%s%s%s", path, *path ? "/" : "", names[i]);
		plain_dump_at(m, fd, names[i], sub, out);
		free(names[i]);
	}
	(void)closedir(d);
}

/* The id must be that which the object had before. */
WORLD_UNUSED static void check_id(struct model *m, const struct stat *st, const char *path)
{
	struct world_at at;
	uint64_t id;

	if (!*path || m->id_count == WORLD_LIST_MAX)
		return;
	assert_int_equal(world_walk(&m->w, path, &at), 0);
	id = at.e.id;
	world_forget(&m->w, &at);
	for (size_t i = 0; i < m->old_id_count; i++)
		if (m->old_ids[i].ino == st->st_ino && m->old_ids[i].id != id)
			fail_msg("%s: id was %" PRIx64 " and is %" PRIx64, path, m->old_ids[i].id,
				id);
	m->ids[m->id_count++] = (struct seen_id){st->st_ino, id};
}

WORLD_UNUSED static void plain_dump_at(
	struct model *m, int dirfd, const char *name, const char *path, struct buf *out)
{
	static char data[1 << 20];
	struct stat st;

	assert_int_equal(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	check_id(m, &st, path);
	buf_printf(out, "%s %o %u:%u n%lu", path, st.st_mode, st.st_uid, st.st_gid,
		(unsigned long)st.st_nlink);
	if (S_ISREG(st.st_mode)) {
		int fd = openat(dirfd, name, O_RDONLY);
		ssize_t n = read(fd, data, sizeof(data));

		(void)close(fd);
		assert_int_equal(n, st.st_size);
		buf_printf(out, " %zd ", n);
		buf_append(out, data, (size_t)n);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dirfd, name, data, sizeof(data) - 1);

		data[n] = '\0';
		buf_printf(out, " -> %s", data);
	}
	buf_putc(out, '\n');
	if (S_ISDIR(st.st_mode))
		plain_dump_dir(m, dirfd, name, path, out);
}

/* The lines at which two dumps part, and where in them (contents may be long). */
WORLD_UNUSED static void show_difference(const char *what, const char *ours, const char *theirs)
{
	size_t at = 0, line = 0;

	while (ours[at] && ours[at] == theirs[at]) {
		if (ours[at] == '\n')
			line = at + 1;
		at++;
	}
	fail_msg("after %s: byte %zu of a line\noverlay: %.60s ... %.60s\nplain:   %.60s ... %.60s",
		what, at - line, ours + line, ours + at, theirs + line, theirs + at);
}

/* Inodes exactly. Bytes but for the map blocks of files with holes, which the filesystem allocates
 * when it writes back (ovl_charge.c); without holes they are exact too, see test_ovl_write.c. */
WORLD_UNUSED static void check_usage(struct model *m)
{
	uint64_t bytes, inodes, used = quota_used(&m->w.quota, QUOTA_BYTES);

	assert_int_equal(ovl_charge_scan(m->w.ws, &bytes, &inodes), 0);
	assert_int_equal(quota_used(&m->w.quota, QUOTA_INODES), inodes);
	assert_in_range(bytes > used ? bytes - used : used - bytes, 0, MAP_BLOCKS * 4096);
}

WORLD_UNUSED static void compare(struct model *m, const char *what)
{
	char *theirs, *ours;
	struct buf out;

	memcpy(m->old_ids, m->ids, sizeof(m->ids));
	m->old_id_count = m->id_count;
	m->id_count = 0;
	buf_init(&out, 64 << 20);
	plain_dump_at(m, m->plain, ".", "", &out);
	theirs = buf_take(&out);
	ours = world_dump(&m->w);
	if (strcmp(theirs, ours) != 0)
		show_difference(what, ours, theirs);
	free(theirs);
	free(ours);
	check_usage(m);
}
