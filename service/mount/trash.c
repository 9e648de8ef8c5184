/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See trash.h. One background thread removes one directory after the other, so that deleting many
 * large workspaces leaves the disk to the jobs that run. Nothing is queued by name: the one job
 * looks into the directory until it is empty, so the queue has no length.
 *
 * Threads: callers of trash_put; the remover, which blocks on local disk only, and stops between
 * two files: the next start goes on.
 */
#include "trash.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <base/io.h>
#include <base/log.h>
#include <base/pool.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trash {
	int workspaces_fd, trash_fd; /* const after init */
	struct pool *pool;
	struct cancel *stop; /* fired by trash_close */
};

static int open_dir(const char *path, int *ret_fd, struct err *e)
{
	int err = io_mkdirs(path, 0700);
	int fd = err ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) {
		err = err ? err : -errno;
		return err_set(
			e, err, "", "cannot open the directory %s: %s", path, strerror(-err));
	}
	*ret_fd = fd;
	return 0;
}

int trash_open(
	struct trash **ret_trash, const char *workspaces, const char *trash_dir, struct err *e)
{
	struct pool_config config = {.name = "trash", .threads_max = 1, .queue_max = 2};
	struct trash *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return err_set(e, -ENOMEM, "", "no memory");
	t->workspaces_fd = t->trash_fd = -1;
	t->stop = cancel_new();
	err = t->stop ? open_dir(workspaces, &t->workspaces_fd, e)
		      : err_set(e, -ENOMEM, "", "no memory");
	if (!err)
		err = open_dir(trash_dir, &t->trash_fd, e);
	if (!err) {
		err = pool_new(&t->pool, &config);
		if (err)
			(void)err_set(e, err, "",
				"cannot start the thread that removes workspaces: %s",
				strerror(-err));
	}
	if (err) {
		trash_close(t);
		return err;
	}
	*ret_trash = t;
	return 0;
}

struct trash *trash_close(struct trash *t)
{
	if (!t)
		return NULL;
	if (t->stop)
		cancel_fire(t->stop);
	pool_free(t->pool);
	if (t->workspaces_fd >= 0)
		(void)close(t->workspaces_fd); /* a directory: nothing was written */
	if (t->trash_fd >= 0)
		(void)close(t->trash_fd);
	cancel_unref(t->stop);
	free(t);
	return NULL;
}

/* One pass over what lies there. How many could be removed. */
static unsigned remove_pass(struct trash *t)
{
	int fd = openat(t->trash_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned removed = 0;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return 0;
	}
	for (const struct dirent *entry; (entry = readdir(dir));) {
		int err;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		err = io_remove_tree_until(t->trash_fd, entry->d_name, t->stop);
		if (err == -ECANCELED)
			break;
		if (err)
			log_warn("trash_remove_failed", LOG_S("name", entry->d_name), LOG_E(err));
		else
			removed++;
	}
	(void)closedir(dir);
	return removed;
}

static void remove_all(void *arg)
{
	struct trash *t = arg;

	while (!cancel_fired(t->stop) && remove_pass(t) > 0)
		;
}

void trash_sweep(struct trash *t)
{
	/* Full means that a job is queued which has not started and will see everything. */
	(void)pool_submit(t->pool, remove_all, t, false);
}

int trash_put(struct trash *t, const char *name)
{
	if (renameat(t->workspaces_fd, name, t->trash_fd, name) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY)
			return -errno;
		/* an earlier deletion of the same workspace was cut short between the rename and
		 * the journal */
		return io_remove_tree_until(t->workspaces_fd, name, t->stop);
	}
	trash_sweep(t);
	return 0;
}
