/* SPDX-License-Identifier: Apache-2.0 */
/* Scoped release of locals, and hand-over of what they hold. */
#pragma once
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through it that is not already checked */
}

#define _cleanup_free_  CLEANUP(cleanup_free)
#define _cleanup_close_ CLEANUP(cleanup_close)

/* Give the value away: the scoped local no longer owns it. */
#define TAKE_PTR(p)                      \
	({                               \
		__auto_type take_ = (p); \
		(p) = NULL;              \
		take_;                   \
	})
#define TAKE_FD(fd)               \
	({                        \
		int take_ = (fd); \
		(fd) = -1;        \
		take_;            \
	})
