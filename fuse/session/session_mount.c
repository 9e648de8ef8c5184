/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount under a session: clear the place, mount, tune, and take it away. Everything that
 * follows a path which may lead into a mount of ours is a job of the control thread; a caller who
 * waited in vain leaves the job to it, which then undoes what it did.
 *
 * Beneath the mount is a directory of mode 0 with a seal on it (seal.h), so that nobody writes
 * there while the mount is dead.
 */
#include "session/control.h"
#include "session/fusectl.h"
#include "session/mountinfo.h"
#include "session/seal.h"
#include "session/session_internal.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNT_WAIT_NS (10 * NS_PER_S)

struct mount_job {
	struct sess_mounter *mounter;
	char *tenant, *mountpoint;
	int fd;
	struct err err;
};

static struct mount_job *mount_job_free(struct mount_job *job)
{
	if (!job)
		return NULL;
	free(job->tenant);
	free(job->mountpoint);
	free(job);
	return NULL;
}

static struct mount_job *mount_job_new(
	struct sess_mounter *mounter, const char *tenant, const char *mountpoint)
{
	struct mount_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->mounter = mounter;
	job->tenant = strdup(tenant);
	job->mountpoint = strdup(mountpoint);
	job->fd = -1;
	return job->tenant && job->mountpoint ? job : mount_job_free(job);
}

/* Nobody waits for this mount any more: take it away. */
static void mount_job_abandon(void *arg)
{
	struct mount_job *job = arg;

	if (job->fd >= 0) {
		(void)job->mounter->unmount(
			job->mounter, job->tenant, job->mountpoint); /* closing ends it anyway */
		(void)seal_take(job->mountpoint); /* else the next mount there is on it */
		(void)close(job->fd);
	}
	(void)mount_job_free(job); /* returns NULL always */
}

static int mount_clean(void *arg)
{
	struct mount_job *job = arg;
	int r = mountinfo_sweep(job->mountpoint);

	if (r < 0)
		return err_wrap(&job->err, r, "detach a dead mount at %s", job->mountpoint);
	r = io_mkdirs(job->mountpoint, 0755);
	if (r < 0)
		return err_wrap(&job->err, r, "create %s", job->mountpoint);
	if (chmod(job->mountpoint, 0) < 0)
		return err_wrap(&job->err, -errno, "protect %s", job->mountpoint);
	(void)seal_path(job->mountpoint); /* where it is not allowed: `doctor` says so */
	return job->mounter->mount(job->mounter, job->tenant, job->mountpoint, &job->fd, &job->err);
}

int sess_mount(struct session *s, int *ret_fd, struct err *e)
{
	struct sess_farm *farm = s->farm;
	struct mount_job *job = mount_job_new(farm->mounter, s->tenant, s->mountpoint);
	int r;

	if (!job)
		return -ENOMEM;
	r = control_run(farm->control, mount_clean, mount_job_abandon, job,
		clock_after(&clock_system, MOUNT_WAIT_NS));
	if (r == -ETIMEDOUT)
		return err_set(e, r, NULL, "mounting %s took too long", s->mountpoint);
	if (r == 0)
		*ret_fd = job->fd;
	else if (e && job->err.code)
		*e = job->err;
	(void)mount_job_free(job); /* returns NULL always */
	return r;
}

static int unmount_clean(void *arg)
{
	struct mount_job *job = arg;
	int r = job->mounter->unmount(job->mounter, job->tenant, job->mountpoint);

	(void)seal_take(job->mountpoint); /* else the next mount there is on it */
	if (rmdir(job->mountpoint) < 0 && r == 0 && errno != ENOENT && errno != EBUSY)
		r = -errno;
	return r;
}

void sess_unmount(struct session *s)
{
	struct mount_job *job = mount_job_new(s->farm->mounter, s->tenant, s->mountpoint);

	if (!job)
		return; /* closing the descriptor ends the connection; the dead mount is swept at
			   the next start */
	if (control_run(s->farm->control, unmount_clean, mount_job_abandon, job,
		    clock_after(&clock_system, MOUNT_WAIT_NS)) != -ETIMEDOUT)
		(void)mount_job_free(job); /* as above; returns NULL always */
}

/* ---- after mounting ---- */

static void write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)io_write_full(fd, text, strlen(text)); /* see the callers */
}

/* The kernel's read-ahead window, which INIT can lower but not raise. Without /sys (some
 * containers) reading is slower. */
void sess_mount_tune(struct session *s)
{
	char path[64];

	if (mountinfo_device(s->mountpoint, &s->dev_major, &s->dev_minor) < 0)
		return; /* it was unmounted at once; the worker will see that */
	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", s->dev_major,
		s->dev_minor); /* fits */
	write_file(path, SESS_READ_AHEAD_KB);
}

bool sess_mount_abort(struct session *s)
{
	counter_add(s->farm->m.forced_aborts, 1);
	return s->farm->fusectl_fd >= 0 && s->dev_minor != 0 &&
	       fusectl_abort(s->farm->fusectl_fd, s->dev_minor) == 0;
}

void sess_device(const struct session *s, unsigned *ret_major, unsigned *ret_minor)
{
	*ret_major = s->dev_major;
	*ret_minor = s->dev_minor;
}

int sess_waiting(struct session *s, uint64_t *ret_count)
{
	if (s->farm->fusectl_fd < 0 || s->dev_minor == 0)
		return -ENOENT;
	return fusectl_waiting(s->farm->fusectl_fd, s->dev_minor, ret_count);
}
