/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workspaces as the kernel sees them: names that come and go, bind mounts for callers who asked for
 * a directory of their own, and the sweep of what a dead process left.
 *
 * Binding walks a path through our own mount, so it runs on the control thread, and may wait there
 * for our own answers. Threads: any but workers.
 */
#include "session/control.h"
#include "session/device.h"
#include "session/mountinfo.h"
#include "session/notify.h"
#include "session/seal.h"
#include "session/session_internal.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/io.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/switch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOTIFY_WAIT_NS (1 * NS_PER_S)
#define BIND_WAIT_NS   (30 * NS_PER_S)

static void forget_name(struct session *s, const char *name)
{
	/* Beyond the second it goes on by itself; a lost connection has nothing cached. */
	(void)notify_entry(
		s->farm->notify, s, OVL_ROOT_ID, name, clock_after(&clock_system, NOTIFY_WAIT_NS));
}

void sess_name_changed(struct session *s, uint64_t parent, const char *name)
{
	/* as in forget_name */
	(void)notify_entry(
		s->farm->notify, s, parent, name, clock_after(&clock_system, NOTIFY_WAIT_NS));
}

int sess_tell(struct session *s, struct ovl_switched *done, uint64_t deadline_ns)
{
	struct ovl_notice *notices = TAKE_PTR(done->notices);
	size_t count = done->notice_count;

	done->notice_count = 0;
	return count ? notify_all(s->farm->notify, s, notices, count, deadline_ns) : 0;
}

void sess_workspace_added(struct session *s, const char *name)
{
	forget_name(s, name);
}

void sess_workspace_removed(struct session *s, const char *name)
{
	forget_name(s, name);
}

/* ---- jobs of the control thread ---- */

struct bind_job {
	char *source, *target;
	char root[PATH_NAME_MAX + 2]; /* of what is unbound: "/name", as mountinfo tells it */
	unsigned dev_major, dev_minor;
	bool read_only;
	bool bound;
	struct err err;
};

static struct bind_job *bind_job_free(struct bind_job *job)
{
	if (!job)
		return NULL;
	free(job->source);
	free(job->target);
	free(job);
	return NULL;
}

static struct bind_job *bind_job_new(const char *dir, const char *name, const char *target)
{
	struct bind_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->source = name ? path_join(dir, name) : strdup(dir);
	job->target = strdup(target);
	return job->source && job->target ? job : bind_job_free(job);
}

static void bind_job_abandon(void *arg)
{
	struct bind_job *job = arg;

	if (job->bound) { /* nobody knows of it: what remains is swept */
		(void)device_unmount(job->target);
		(void)seal_take(job->target);
	}
	(void)bind_job_free(job); /* returns NULL always */
}

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
}

static int require_empty(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_dir) DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *entry;

	if (!d) {
		int r = -errno;

		if (own >= 0)
			(void)close(own); /* it was only read */
		return r;
	}
	errno = 0;
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return -ENOTEMPTY;
	return -errno;
}

/* The target as an O_PATH descriptor, reached without any symbolic link: what lies on the way may
 * belong to a tenant, who could otherwise lead the mount elsewhere after its path was checked.
 * Opened so, the root of a mount is asked nothing. */
static int open_target(const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The directory `name` in `dir`, made if it is not there; never through a link. */
static int open_made(int dir, const char *name)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags);

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, flags);
	return fd >= 0 ? fd : -errno;
}

/* open_target of a path of which the end need not be there yet. */
static int make_target(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = open_target("/");
	char *rest = copy, *name;

	if (!copy)
		return -ENOMEM;
	while (fd >= 0 && (name = strsep(&rest, "/"))) {
		int next = *name ? open_made(fd, name) : TAKE_FD(fd);

		if (fd >= 0)
			(void)close(fd); /* O_PATH */
		fd = next;
	}
	return TAKE_FD(fd);
}

/* Of a read-only mount the kernel refuses to open files for writing, which we are not asked about.
 * Attached only when it is so; by descriptors, as open_target. */
static int attach(const struct bind_job *job, int target)
{
	struct mount_attr attr = {.attr_set = job->read_only ? MOUNT_ATTR_RDONLY : 0};
	_cleanup_close_ int tree =
		open_tree(AT_FDCWD, job->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
		move_mount(tree, "", target, "",
			MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* With a seal beneath. */
static int attach_sealed(const struct bind_job *job, int target)
{
	_cleanup_close_ int seal = -1;
	int r;

	if (!seal_there(job->target))
		(void)seal_put(target, &seal); /* where it is not allowed: `doctor` says so */
	r = attach(job, seal >= 0 ? seal : target);
	if (r < 0 && seal >= 0)
		seal_undo(seal);
	return r;
}

static int bind_run(void *arg)
{
	struct bind_job *job = arg;
	_cleanup_close_ int fd = -1;
	unsigned major, minor;
	int r;

	if (mountinfo_device(job->target, &major, &minor) == 0)
		return err_set(
			&job->err, -EBUSY, NULL, "%s is already a mount of ours", job->target);
	fd = make_target(job->target);
	if (fd < 0)
		return err_wrap(&job->err, fd, "make or open %s", job->target);
	r = require_empty(fd);
	if (r < 0)
		return err_wrap(&job->err, r, "%s must be an empty directory", job->target);
	r = attach_sealed(job, fd);
	if (r < 0)
		return err_wrap(&job->err, r, "bind %s to %s", job->source, job->target);
	job->bound = true;
	return 0;
}

int sess_bind(
	struct session *s, const char *name, const char *target, bool read_only, struct err *e)
{
	struct bind_job *job;
	int r;

	if (!path_name_ok(name, strlen(name)))
		return err_field(e, "name", "\"%s\" is not a workspace's name", name);
	if (target[0] != '/')
		return err_field(e, "mountpoint", "\"%s\" is not an absolute path", target);
	job = bind_job_new(s->mountpoint, name, target);
	if (!job)
		return err_wrap(e, -ENOMEM, "bind %s", target);
	job->read_only = read_only;
	r = control_run(s->farm->control, bind_run, bind_job_abandon, job,
		clock_after(&clock_system, BIND_WAIT_NS));
	if (r == -ETIMEDOUT)
		return err_set(e, r, NULL, "binding %s took too long", target);
	if (r < 0 && job->err.code && e)
		*e = job->err;
	(void)bind_job_free(job); /* returns NULL always */
	return r;
}

bool sess_bound(struct session *s, const char *target)
{
	unsigned major, minor;

	return mountinfo_device(target, &major, &minor) == 0 && major == s->dev_major &&
	       minor == s->dev_minor;
}

/* By descriptor, as open_target, and only what is of that device: a path on which something else
 * lies by now is not touched. */
static int unmount_of(const char *path, unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = open_target(path);
	char self[32];
	struct statx st;

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return -errno;
	if (st.stx_dev_major != major || st.stx_dev_minor != minor)
		return -ENOENT;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* fits */
	return umount2(self, MNT_DETACH) < 0 ? -errno : 0;
}

static int unmount_sealed(const char *path, unsigned major, unsigned minor)
{
	int r = unmount_of(path, major, minor);

	return r < 0 ? r : seal_take(path);
}

/* A directory on the way was renamed: the mount went along. */
struct moved {
	const struct bind_job *job;
	char *path;
};

static int find_moved(void *arg, const struct mount_point *m)
{
	struct moved *moved = arg;
	size_t len = strlen(moved->job->root);

	if (m->major != moved->job->dev_major || m->minor != moved->job->dev_minor ||
		strncmp(m->root, moved->job->root, len) != 0 ||
		(m->root[len] && strcmp(m->root + len, "//deleted") != 0))
		return 0;
	moved->path = strdup(m->path);
	return moved->path ? 1 : -ENOMEM;
}

static int unbind_run(void *arg)
{
	const struct bind_job *job = arg;
	struct moved moved = {.job = job};
	unsigned major, minor;
	int r = mountinfo_device(job->target, &major, &minor);

	if (r == 0 && major == job->dev_major && minor == job->dev_minor)
		return unmount_sealed(job->target, major, minor);
	if (r < 0 && r != -ENOENT)
		return r;
	r = mountinfo_each(find_moved, &moved);
	if (r > 0)
		r = unmount_sealed(moved.path, job->dev_major, job->dev_minor);
	free(moved.path);
	return r;
}

static int sweep_run(void *arg)
{
	const struct bind_job *job = arg;

	return mountinfo_sweep(job->target);
}

static int unseal_run(void *arg)
{
	const struct bind_job *job = arg;

	return seal_take(job->target);
}

/* Frees the job. */
static int run_on(struct sess_farm *farm, int (*fn)(void *arg), struct bind_job *job)
{
	int r;

	if (!job)
		return -ENOMEM;
	r = control_run(
		farm->control, fn, bind_job_abandon, job, clock_after(&clock_system, BIND_WAIT_NS));
	if (r != -ETIMEDOUT)
		(void)bind_job_free(job); /* returns NULL always */
	return r;
}

int sess_unbind(struct session *s, const char *name, const char *target)
{
	struct bind_job *job = bind_job_new("", NULL, target);

	if (job) {
		(void)snprintf(job->root, sizeof(job->root), "/%s", name); /* a name fits */
		job->dev_major = s->dev_major;
		job->dev_minor = s->dev_minor;
	}
	return run_on(s->farm, unbind_run, job);
}

int sess_abort_mounts(const char *dir)
{
	return mountinfo_abort(dir);
}

int sess_unseal(struct sess_farm *farm, const char *path)
{
	return run_on(farm, unseal_run, bind_job_new("", NULL, path));
}

int sess_sweep_mounts(struct sess_farm *farm, const char *dir)
{
	return run_on(farm, sweep_run, bind_job_new("", NULL, dir));
}
