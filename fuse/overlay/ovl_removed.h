/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of a directory whose name goes while somebody has it open: nothing of it is
 * kept on the disk, so its attributes are in its NODE record, in the place of the second name that
 * nodes do not have. They are written before the name goes, and count once it has gone; so a
 * process that takes over shows the same.
 *
 *	u32 mode, uid, gid | u32 nanoseconds of atime, mtime, ctime | u64 seconds of the three
 *	u64 size, blocks
 */
#pragma once
#include "overlay/ovl_internal.h"

#define OVL_REMOVED_BYTES ((size_t)64)

void ovl_removed_encode(const struct stat *attr, uint8_t ret_bytes[OVL_REMOVED_BYTES]);
/* False: not what ovl_removed_encode makes. st_ino and st_nlink are left 0. */
bool ovl_removed_decode(const void *bytes, size_t len, struct stat *ret_attr);

/* The directory's name is about to go: note what it is. Its attributes are loaded. Caller holds
 * node->lock. -ENOSPC. */
int ovl_removed_announce_locked(struct ovl_node *dir);
