/* SPDX-License-Identifier: Apache-2.0 */
/* Names that come, move and go. */
#include "side.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static long op_mkdir(struct side *side, const struct step *step)
{
	static const mode_t modes[] = {0755, 0777, 01777, 02775, 0700, 0};

	(void)side;
	return result_of(mkdir(step->a, modes[step->n[0] % 6]));
}

static long op_rmdir(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(rmdir(step->a));
}

static long op_unlink(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(unlink(step->a));
}

static long op_rename(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(rename(step->a, step->b));
}

/* RENAME_WHITEOUT is refused by intent and would succeed on ext4; with others it is refused by
 * both. */
static long op_rename2(struct side *side, const struct step *step)
{
	static const unsigned flags[] = {RENAME_EXCHANGE, RENAME_EXCHANGE, RENAME_EXCHANGE,
		RENAME_NOREPLACE, RENAME_NOREPLACE, RENAME_EXCHANGE | RENAME_NOREPLACE,
		RENAME_WHITEOUT | RENAME_EXCHANGE, 64};

	(void)side;
	return result_of(renameat2(AT_FDCWD, step->a, AT_FDCWD, step->b, flags[step->n[0] % 8]));
}

/* In the same directory, as editors and build tools do. */
static long op_rename_beside(struct side *side, const struct step *step)
{
	char to[PATH_CAP + 8];

	(void)side;
	parent_of(step->a, to);
	(void)snprintf(to + strlen(to), 8, "/f%u", (unsigned)(step->n[0] % 4));
	return result_of(rename(step->a, to));
}

static long op_link(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(linkat(
		AT_FDCWD, step->a, AT_FDCWD, step->b, step->n[0] % 4 ? 0 : AT_SYMLINK_FOLLOW));
}

static long op_symlink(struct side *side, const struct step *step)
{
	static const char *const targets[] = {
		"f0", "d1", "../f1", "d0/d1/f2", "/d0", "l0", "absent", "../../../../etc"};
	char target[PATH_MAX + 1];
	size_t len = strlen(targets[step->n[0] % 8]);

	(void)side;
	memcpy(target, targets[step->n[0] % 8], len + 1);
	if (step->n[1] % 8 == 0) { /* 4095 fit, 4096 do not */
		len = step->n[1] & 64 ? PATH_MAX - 1 : PATH_MAX;
		memset(target, 't', len);
		target[len] = '\0';
	}
	return result_of(symlink(target, step->a));
}

static long op_readlink(struct side *side, const struct step *step)
{
	char target[PATH_MAX + 1];
	long r = result_of(readlink(step->a, target, step->n[0] % 4 ? sizeof(target) : 3));

	(void)fprintf(side->out, " %llx",
		(unsigned long long)hash_bytes(HASH_START, target, r < 0 ? 0 : (size_t)r));
	return r;
}

static long op_mknod(struct side *side, const struct step *step)
{
	static const struct {
		mode_t mode;
		unsigned major, minor;
	} kinds[] = {{S_IFIFO | 0644, 0, 0}, {S_IFREG | 0600, 0, 0}, {S_IFSOCK | 0755, 0, 0},
		{S_IFCHR | 0666, 1, 3}, {S_IFBLK | 0600, 7, 99}, {S_IFIFO | 0666, 0, 0},
		{S_IFREG | 0, 0, 0}, {S_IFDIR | 0755, 0, 0}};
	size_t kind = step->n[0] % 8;

	(void)side;
	return result_of(
		mknod(step->a, kinds[kind].mode, makedev(kinds[kind].major, kinds[kind].minor)));
}

static long remove_tree(int dirfd, const char *name, unsigned depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	long removed = 0;

	while (d && depth < 30 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			if (unlinkat(fd, e->d_name, 0) == 0)
				removed++;
			else if (errno == EISDIR)
				removed += remove_tree(fd, e->d_name, depth + 1);
		}
	if (d)
		(void)closedir(d);
	return removed + (unlinkat(dirfd, name, AT_REMOVEDIR) == 0);
}

/* How many were removed; as `rm -rf` it removes while it lists. */
static long op_remove_tree(struct side *side, const struct step *step)
{
	(void)side;
	return remove_tree(AT_FDCWD, step->a, 0);
}

/* Whiteouts for all, then the directory itself, then another in its place: nothing may show
 * through. */
static long op_replace_tree(struct side *side, const struct step *step)
{
	long removed = remove_tree(AT_FDCWD, step->a, 0);

	(void)side;
	if (mkdir(step->a, 0755) < 0)
		return -errno;
	return removed;
}

static const struct op ops[] = {
	{"mkdir", 45, USES_A, op_mkdir},
	{"rmdir", 15, USES_A, op_rmdir},
	{"unlink", 40, USES_A, op_unlink},
	{"rename", 60, USES_A | USES_B, op_rename},
	{"rename2", 35, USES_A | USES_B, op_rename2},
	{"rename_beside", 20, USES_A, op_rename_beside},
	{"link", 40, USES_A | USES_B, op_link},
	{"symlink", 25, USES_A, op_symlink},
	{"readlink", 10, USES_A, op_readlink},
	{"mknod", 20, USES_A, op_mknod},
	{"remove_tree", 5, USES_A | UNORDERED, op_remove_tree},
	{"replace_tree", 2, USES_A | UNORDERED, op_replace_tree},
};
const struct op_table name_ops = {ops, sizeof(ops) / sizeof(ops[0])};
