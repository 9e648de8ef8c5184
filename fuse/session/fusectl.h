/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own door to its FUSE connections: how many requests wait, and the abort. */
#pragma once
#include <stdint.h>

/* A directory with a sub-directory per connection, mounted for us alone where /sys has none (most
 * containers). -EPERM, -ENODEV: there is no way to it. */
int fusectl_open(int *ret_fd);
/* Requests of the connection that are not answered, queued ones included; `minor` is that of the
 * mount's device. -ENOENT: it has ended. */
int fusectl_waiting(int fd, unsigned minor, uint64_t *ret_count);
/* Every request that waits fails, and all later ones. -ENOENT as above. */
int fusectl_abort(int fd, unsigned minor);
