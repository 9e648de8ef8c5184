/* SPDX-License-Identifier: Apache-2.0 */
/* Opening /dev/fuse and mounting it. Plain libc, because the keeper is built from it too. */
#pragma once

#define DEVICE_FSTYPE "fuse.coppice"

/* An O_NONBLOCK|O_CLOEXEC descriptor of a new connection, mounted on `mountpoint`. Negative errno
 * otherwise. Blocking. */
int device_mount(const char *mountpoint, int *ret_fd);
/* Lazy: the name goes at once, the connection when the last user has gone. -EINVAL: no mount of
 * ours is there; what was beneath it stays. */
int device_unmount(const char *mountpoint);
/* The same of whatever is on top there. */
int device_detach(const char *mountpoint);
/* Abort the connection: every request that waits fails, whoever holds the descriptor. The mount
 * stays, dead. Does not wait for the one who serves it. */
int device_abort(const char *mountpoint);
