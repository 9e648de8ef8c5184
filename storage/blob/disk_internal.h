/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the disk tier share: ranks of their locks, the descriptor that readers and pins
 * hold, and the account of bytes.
 *
 * Lock order inside the tier: reclaim → log or files → index → space. The ranks lie between those
 * of the store's single-flight table and of the key-value store, so that they need no numbers of
 * their own in base/.
 */
#pragma once
#include "base/lock.h"
#include "base/metrics.h"
#include "base/ref.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* An open descriptor with holders. Content behind it stays readable while held, even when its name
 * is gone. `pins` says how many of them forbid eviction; it rises only under the lock that guards
 * removal. */
struct disk_handle {
	struct ref ref;
	struct gauge pins;
	int fd;
	void (*release)(struct disk_handle *h); /* frees what embeds it; closes fd */
};

static inline void disk_handle_put(struct disk_handle *h)
{
	if (h && ref_put(&h->ref))
		h->release(h);
}

/* Bytes on disk against the budget: reserved before they are written, so that the budget is never
 * passed. */
struct disk_space {
	struct lock lock;
	uint64_t budget; /* const after init */
	uint64_t used;   /* guarded by lock */
};

static inline int disk_space_reserve(struct disk_space *s, uint64_t bytes)
{
	LOCK_GUARD(&s->lock);
	if (bytes > s->budget || s->used > s->budget - bytes)
		return -ENOSPC;
	s->used += bytes;
	return 0;
}

/* What is on disk already, at start. */
static inline void disk_space_force(struct disk_space *s, uint64_t bytes)
{
	LOCK_GUARD(&s->lock);
	s->used += bytes;
}

static inline void disk_space_release(struct disk_space *s, uint64_t bytes)
{
	LOCK_GUARD(&s->lock);
	s->used -= bytes < s->used ? bytes : s->used;
}

static inline uint64_t disk_space_used(struct disk_space *s)
{
	LOCK_GUARD(&s->lock);
	return s->used;
}
