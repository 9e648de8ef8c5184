/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting in this process: the connection dies with it. For tests, and where no keeper was
 * started. */
#include "session/device.h"

#include "fuse/session.h"

#include <base/err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int local_mount(struct sess_mounter *m, const char *tenant, const char *mountpoint,
	int *ret_fd, struct err *e)
{
	int r = device_mount(mountpoint, ret_fd);

	(void)m;
	(void)tenant;
	if (r == -ENOENT || r == -ENODEV || r == -EPERM || r == -EACCES)
		return err_set(e, r, "FUSE_UNAVAILABLE",
			"cannot mount %s: %s. Is /dev/fuse there (modprobe fuse; in a container "
			"--device /dev/fuse), and may "
			"this process mount (CAP_SYS_ADMIN)?",
			mountpoint, strerror(-r));
	return r < 0 ? err_wrap(e, r, "mount %s", mountpoint) : 0;
}

static int local_unmount(struct sess_mounter *m, const char *tenant, const char *mountpoint)
{
	(void)m;
	(void)tenant;
	return device_unmount(mountpoint);
}

static void local_free(struct sess_mounter *m)
{
	free(m);
}

struct sess_mounter *sess_mounter_local_new(void)
{
	struct sess_mounter *m = calloc(1, sizeof(*m));

	if (m)
		*m = (struct sess_mounter){.mount = local_mount,
			.unmount = local_unmount,
			.free = local_free,
			.name = "local"};
	return m;
}

struct sess_mounter *sess_mounter_free(struct sess_mounter *m)
{
	if (m)
		m->free(m);
	return NULL;
}
