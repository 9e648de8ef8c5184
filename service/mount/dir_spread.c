/* SPDX-License-Identifier: Apache-2.0 */
/* FS_TOPDIR_FL on a directory: `chattr +T`. Stateless; blocks on local disk only. */
#include "dir_spread.h"

#include <base/cleanup.h>
#include <base/log.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

void dir_spread_children(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned flags = 0;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		log_debug("children_not_spread", LOG_S("dir", dir), LOG_E(-errno));
		return;
	}
	flags |= FS_TOPDIR_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
		log_debug("children_not_spread", LOG_S("dir", dir), LOG_E(-errno));
}
