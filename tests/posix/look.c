/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a side sees, as text to be compared. What is not in the text is a difference by intent, each
 * with its row in docs/posix.md:
 *	the size and the blocks of directories, which no program can rely on;
 *	the blocks of files, except that empty ones have about as many;
 *	atime of symlinks;
 *	times of fifos, whose data the kernel moves without asking the filesystem;
 *	ctime as a number: lower files have the commit's;
 *	that ctime moves by a chmod or chown that changes nothing.
 */
#include "ids.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LOOK_NAMES 4096
#define LOOK_DEPTH 40

static int compare_times(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;
	return a->tv_nsec == b->tv_nsec ? 0 : a->tv_nsec < b->tv_nsec ? -1 : 1;
}

static void put_time(struct side *side, char tag, const struct statx_timestamp *now,
	struct statx_timestamp *last, bool looked)
{
	int moved = looked ? compare_times(now, last) : 2;

	if (tag != 'c' && now->tv_sec < side->start)
		(void)fprintf(side->out, " %c%lld.%09u", tag, (long long)now->tv_sec, now->tv_nsec);
	else
		(void)fprintf(side->out, " %c%s", tag,
			moved == 2  ? "."
			: moved < 0 ? "<"
			: moved     ? ">"
				    : "=");
	*last = *now;
}

/* A chmod or chown that changed something, or a ctime that has moved back. */
static bool has_changed(const struct statx *st, const struct seen *seen)
{
	return seen->mode != st->stx_mode || seen->uid != st->stx_uid || seen->gid != st->stx_gid ||
	       compare_times(&seen->ctime, &st->stx_ctime) > 0;
}

/*
 * ext4 gives the number of an object that is gone to the next one, perhaps in the same tick of the
 * clock: what tells the two apart is in its file handles. A workspace never gives a number twice,
 * and has no time of birth.
 */
static uint64_t life_of(int dirfd, const char *path, int flags, const struct statx *st)
{
	union {
		struct file_handle h;
		uint8_t bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = {.h.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;

	if (!(st->stx_mask & STATX_BTIME) ||
		name_to_handle_at(dirfd, path, &u.h, &mount_id, flags) < 0)
		return 0;
	return hash_bytes(HASH_START, u.h.f_handle, u.h.handle_bytes);
}

static void put_statx(struct side *side, const struct statx *st, uint64_t life)
{
	struct seen *seen = ids_meet(side->ids, st->stx_ino, life);
	bool is_reg = S_ISREG(st->stx_mode), looked, show_mtime, show_ctime;

	if (!seen) {
		(void)fputs(" no memory", side->out);
		return;
	}
	looked = seen->looked;
	show_mtime = !S_ISFIFO(st->stx_mode);
	show_ctime = show_mtime && (!side->no_change || has_changed(st, seen));
	seen->looked = true;
	(void)fprintf(side->out, " #%u %06o %u:%u n%u", seen->class, st->stx_mode, st->stx_uid,
		st->stx_gid, st->stx_nlink);
	if (!S_ISDIR(st->stx_mode))
		(void)fprintf(side->out, " s%llu", (unsigned long long)st->stx_size);
	if (is_reg && st->stx_size == 0) /* one or two more are excused: differ.c */
		(void)fprintf(
			side->out, " b%05llu", (unsigned long long)(st->stx_blocks / 8 % 100000));
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		(void)fprintf(side->out, " r%u/%u", st->stx_rdev_major, st->stx_rdev_minor);
	(void)fprintf(side->out, " k%u", st->stx_blksize);
	if (!S_ISLNK(st->stx_mode))
		put_time(side, 'a', &st->stx_atime, &seen->atime, looked);
	if (show_mtime)
		put_time(side, 'm', &st->stx_mtime, &seen->mtime, looked);
	if (show_ctime)
		put_time(side, 'c', &st->stx_ctime, &seen->ctime, looked);
	seen->mtime = st->stx_mtime;
	seen->ctime = st->stx_ctime;
	seen->mode = st->stx_mode;
	seen->uid = st->stx_uid;
	seen->gid = st->stx_gid;
}

void put_stat_at(struct side *side, const char *label, int dirfd, const char *path)
{
	const unsigned mask = STATX_BASIC_STATS | STATX_BTIME;
	int flags = AT_SYMLINK_NOFOLLOW | (*path ? 0 : AT_EMPTY_PATH);
	struct statx st;

	(void)fprintf(side->out, "%s", label);
	if (statx(dirfd, path, flags, mask, &st) < 0) {
		(void)fprintf(side->out, " errno %d\n", errno);
		return;
	}
	put_statx(side, &st, life_of(dirfd, path, *path ? 0 : AT_EMPTY_PATH, &st));
	(void)fputc('\n', side->out);
	if (S_ISLNK(st.stx_mode) && *path && statx(dirfd, path, 0, mask, &st) == 0) {
		(void)fputs("->", side->out);
		put_statx(side, &st, life_of(dirfd, path, AT_SYMLINK_FOLLOW, &st));
		(void)fputc('\n', side->out);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Is it an attribute that only a workspace has? A fact about content, docs/posix.md. */
static bool is_fact(const char *name)
{
	return strncmp(name, "user.coppice.", 13) == 0 || strcmp(name, "user.sha256") == 0 ||
	       strcmp(name, "user.sha1") == 0;
}

void put_xattrs(struct side *side, const char *path)
{
	static char list[65536], value[65536];
	char *names[256];
	size_t count = 0;
	ssize_t len = llistxattr(path, list, sizeof(list));

	if (len < 0) {
		(void)fprintf(side->out, " xattrs errno %d", errno);
		return;
	}
	for (ssize_t at = 0; at < len && count < 256; at += (ssize_t)strlen(list + at) + 1)
		if (!is_fact(list + at))
			names[count++] = list + at;
	qsort(names, count, sizeof(names[0]), by_text);
	for (size_t i = 0; i < count; i++) {
		ssize_t size = lgetxattr(path, names[i], value, sizeof(value));

		(void)fprintf(side->out, " %s=%zd/%llx", names[i], size,
			(unsigned long long)hash_bytes(
				HASH_START, value, size < 0 ? 0 : (size_t)size));
	}
}

static void put_bytes(struct side *side, const char *path)
{
	static char data[1 << 17];
	uint64_t hash = HASH_START;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) {
		(void)fprintf(side->out, " open errno %d", errno);
		return;
	}
	while ((n = read(fd, data, sizeof(data))) > 0)
		hash = hash_bytes(hash, data, (size_t)n);
	(void)close(fd);
	(void)fprintf(side->out, " %s%llx", n < 0 ? "read failed " : "", (unsigned long long)hash);
}

static size_t read_names(DIR *d, char **names)
{
	struct dirent *e;
	size_t count = 0;

	while (count < LOOK_NAMES && (e = readdir(d))) {
		if (asprintf(&names[count], "%s%c", e->d_name, 'A' + e->d_type) < 0)
			break;
		count++; /* the type after the name: sorted by name */
	}
	qsort(names, count, sizeof(names[0]), by_text);
	return count;
}

void put_names(struct side *side, int dirfd)
{
	char *names[LOOK_NAMES];
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t count;

	if (!d) {
		(void)fprintf(side->out, " list errno %d", errno);
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	count = read_names(d, names);
	(void)closedir(d);
	for (size_t i = 0; i < count; i++) {
		(void)fprintf(side->out, " %s", names[i]);
		free(names[i]);
	}
}

static void put_tree(struct side *side, const char *path, unsigned depth);

static void put_entry(struct side *side, const char *path, unsigned depth)
{
	char target[4200];
	struct stat st;

	put_stat_at(side, path, AT_FDCWD, path);
	if (lstat(path, &st) < 0)
		return;
	if (S_ISREG(st.st_mode)) {
		put_bytes(side, path);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target) - 1);

		(void)fprintf(side->out, " %zd/%llx", n,
			(unsigned long long)hash_bytes(HASH_START, target, n < 0 ? 0 : (size_t)n));
	}
	put_xattrs(side, path);
	(void)fputc('\n', side->out);
	if (S_ISDIR(st.st_mode) && depth < LOOK_DEPTH)
		put_tree(side, path, depth + 1);
}

static void put_tree(struct side *side, const char *path, unsigned depth)
{
	char **names = calloc(LOOK_NAMES, sizeof(*names));
	DIR *d = opendir(path);
	size_t count;

	if (!d || !names) {
		(void)fprintf(side->out, " opendir errno %d", errno);
		free(names);
		if (d)
			(void)closedir(d);
		return;
	}
	count = read_names(d, names);
	(void)closedir(d);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(names[i]) - 1;
		char *sub = NULL;

		(void)fprintf(side->out, "%s\n", names[i]);
		names[i][len] = '\0';
		if (strcmp(names[i], ".") != 0 && strcmp(names[i], "..") != 0 &&
			asprintf(&sub, "%s/%s", strcmp(path, "/") == 0 ? "" : path, names[i]) >= 0)
			put_entry(side, sub, depth);
		free(sub);
		free(names[i]);
	}
	free(names);
}

void put_everything(struct side *side)
{
	put_entry(side, "/", 0);
}
