/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that a side has met: a class per object in the order of the first meeting, and its times
 * at the last look. */
#pragma once
#include "side.h"

#include <sys/stat.h>

struct seen {
	uint64_t ino, life; /* ext4 gives numbers out again: which life of the number it is */
	unsigned class;
	bool looked; /* what follows is valid */
	struct statx_timestamp atime, mtime, ctime;
	uint32_t mode, uid, gid;
};

/* NULL: no memory. Valid until the next call. */
struct seen *ids_meet(struct ids *ids, uint64_t ino, uint64_t life);
