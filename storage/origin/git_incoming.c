/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs on their way into a mirror (git_mirror.h). As Git does it for pushes, each has an object
 * directory of its own, which sees the mirror's as an alternate; a pack that is whole is moved, one
 * that is not disappears with its directory.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "origin/git_mirror.h"
#include "origin/git_mirror_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_MAX 4096u
#define PREFIX     "incoming-"

/* The mirror's environment and where objects are; the strings that are added belong to the caller.
 */
static char **environment(char *const *base, char *objects, char *alternates)
{
	size_t count = 0;
	char **env;

	while (base[count])
		count++;
	env = calloc(count + 3, sizeof(*env));
	if (!env)
		return NULL;
	memcpy(env, base, count * sizeof(*env));
	env[count] = objects;
	env[count + 1] = alternates;
	return env;
}

static int start(struct gitmirror *m, struct gitpack *pack)
{
	static const char *const argv[] = {
		"git", "index-pack", "--stdin", "--fix-thin", "--threads=1", NULL};
	_cleanup_free_ char *objects = NULL, *alternates = NULL;
	_cleanup_free_ char **env = NULL;
	struct gitrun_spec spec = {.argv = argv, .dir = m->path, .keep_fd = -1};

	if (asprintf(&objects, "GIT_OBJECT_DIRECTORY=%s", pack->dir) < 0)
		return -ENOMEM;
	if (asprintf(&alternates, "GIT_ALTERNATE_OBJECT_DIRECTORIES=%s/objects", m->path) < 0)
		return -ENOMEM;
	env = environment(m->env, objects, alternates);
	if (!env)
		return -ENOMEM;
	spec.env = env;
	return gitrun_start(&pack->run, &spec);
}

int gitmirror_begin_pack(struct gitmirror *m, struct gitpack *ret_pack, struct err *e)
{
	struct gitpack pack = {.run = {.fd = -1, .err_fd = -1}};
	_cleanup_free_ char *below = NULL;
	int r = 0;

	if (asprintf(&pack.dir, "%s/" PREFIX "XXXXXX", m->path) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	if (!mkdtemp(pack.dir)) {
		r = err_set(e, -errno, NULL, "%s: %s", pack.dir, strerror(errno));
		free(pack.dir);
		return r;
	}
	below = path_join(pack.dir, "pack");
	r = below ? io_mkdirs(below, 0700) : -ENOMEM;
	if (r == 0)
		r = start(m, &pack);
	if (r < 0) {
		gitmirror_drop_pack(&pack);
		return err_set(e, r == -ENOENT ? -EIO : r, NULL, "git cannot be started: %s",
			strerror(-r));
	}
	*ret_pack = pack;
	return 0;
}

void gitmirror_drop_pack(struct gitpack *pack)
{
	gitrun_end(&pack->run);
	if (pack->dir)
		(void)io_remove_tree(AT_FDCWD, pack->dir); /* or at the next start */
	free(pack->dir);
	pack->dir = NULL;
}

static bool is_index(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, ".idx") == 0;
}

/* Its indexes, or its other files: a pack is seen when its index is. */
static int move(const struct gitmirror *m, const struct gitpack *pack, bool indexes)
{
	_cleanup_free_ char *from = path_join(pack->dir, "pack");
	_cleanup_free_ char *to = path_join(m->path, "objects/pack");
	struct dirent *entry;
	DIR *dir, *target;
	int r = 0;

	if (!from || !to || io_mkdirs(to, 0700) < 0)
		return -ENOMEM;
	dir = opendir(from);
	target = dir ? opendir(to) : NULL;
	if (!target) {
		r = -errno;
		if (dir)
			(void)closedir(dir);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (strncmp(entry->d_name, "pack-", 5) == 0 && is_index(entry->d_name) == indexes &&
			renameat(dirfd(dir), entry->d_name, dirfd(target), entry->d_name) < 0)
			r = -errno;
	if (r == 0 && fsync(dirfd(target)) < 0)
		r = -errno;
	(void)closedir(target);
	(void)closedir(dir);
	return r;
}

int gitmirror_end_pack(
	struct gitmirror *m, struct gitpack *pack, const struct gitrun_wait *wait, struct err *e)
{
	char out[OUTPUT_MAX];
	int r = gitmirror_run_to_end(&pack->run, out, sizeof(out), wait, e);

	if (r < 0) {
		r = err_wrap(e, r, "take in a pack");
	} else {
		r = move(m, pack, false);
		if (r == 0)
			r = move(m, pack, true);
		if (r < 0)
			(void)err_set(e, r, NULL, "%s: %s", m->path, strerror(-r));
	}
	gitmirror_drop_pack(pack);
	if (r == 0)
		gitmirror_count_pack(m);
	return r;
}

void gitmirror_clean_incoming(const struct gitmirror *m)
{
	DIR *dir = opendir(m->path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
			(void)io_remove_tree(dirfd(dir), entry->d_name); /* or at the next start */
	if (dir)
		(void)closedir(dir);
}
