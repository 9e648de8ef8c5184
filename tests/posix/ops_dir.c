/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: listings, streams whose directory changes under them, directories that are gone. */
#include "side.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long op_list(struct side *side, const struct step *step)
{
	int fd = open(step->a, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	put_names(side, fd);
	(void)close(fd);
	return 0;
}

static long op_list_open(struct side *side, const struct step *step)
{
	struct stat st;

	if (fstat(side->slots[step->s], &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		put_names(side, side->slots[step->s]);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

#define WALK_MAX 200

/* Reads on from `d`; every name once, none twice. */
static size_t rest(DIR *d, char **names, size_t count)
{
	struct dirent *e;

	while (count < WALK_MAX && (e = readdir(d)))
		names[count++] = strdup(e->d_name);
	return count;
}

/* A stream that is left at telldir, wound back, and taken up there again by seekdir: the names
 * before and after are all names, each once; in between a name comes and goes, which may be seen or
 * not. */
static long op_seekdir(struct side *side, const struct step *step)
{
	DIR *d = opendir(step->a);
	char *names[WALK_MAX] = {NULL}, *again[WALK_MAX] = {NULL};
	size_t count = 0, count2 = 0, first = step->n[0] % 6;
	struct dirent *e;
	long here;

	if (!d)
		return -errno;
	while (count < first && (e = readdir(d)))
		names[count++] = strdup(e->d_name);
	here = telldir(d);
	rewinddir(d);
	count2 = rest(d, again, count2);
	seekdir(d, here);
	count = rest(d, names, count);
	qsort(names, count, sizeof(names[0]), by_text);
	for (size_t i = 0; i < count; i++)
		(void)fprintf(side->out, " %s", names[i]);
	for (size_t i = 0; i < WALK_MAX; i++) {
		free(names[i]);
		free(again[i]);
	}
	(void)closedir(d);
	return (long)count2;
}

/* Everything in a directory is removed while it is listed: no name may be left out. */
static long op_empty_while_listing(struct side *side, const struct step *step)
{
	DIR *d = opendir(step->a);
	struct dirent *e;
	long removed = 0;

	(void)side;
	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (e->d_type != DT_DIR && unlinkat(dirfd(d), e->d_name, 0) == 0)
			removed++;
	(void)closedir(d);
	return removed;
}

/* A new name in a directory that is open, and perhaps removed. */
static long op_mkdir_below(struct side *side, const struct step *step)
{
	return result_of(mkdirat(side->slots[step->s], strrchr(step->a, '/') + 1, 0755));
}

static long op_unlink_below(struct side *side, const struct step *step)
{
	return result_of(unlinkat(side->slots[step->s], strrchr(step->a, '/') + 1,
		step->n[0] & 1 ? AT_REMOVEDIR : 0));
}

static long op_rename_between(struct side *side, const struct step *step)
{
	return result_of(renameat(side->slots[step->s], strrchr(step->a, '/') + 1,
		side->slots[step->t], strrchr(step->b, '/') + 1));
}

static long op_up(struct side *side, const struct step *step)
{
	put_stat_at(side, " up", side->slots[step->s], "..");
	return 0;
}

static const struct op ops[] = {
	{"list", 15, USES_A, op_list},
	{"list_open", 8, USES_S, op_list_open},
	{"seekdir", 8, USES_A, op_seekdir},
	{"empty_while_listing", 2, USES_A | UNORDERED, op_empty_while_listing},
	{"mkdir_below", 8, USES_A | USES_S, op_mkdir_below},
	{"unlink_below", 8, USES_A | USES_S, op_unlink_below},
	{"rename_between", 8, USES_A | USES_B | USES_S | USES_T, op_rename_between},
	{"up", 3, USES_S, op_up},
};
const struct op_table dir_ops = {ops, sizeof(ops) / sizeof(ops[0])};
