/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutexes and read-write locks that carry a rank. A thread may take a lock only if its rank is
 * higher than that of every lock it holds (equal ranks only through lock_acquire_pair, which orders
 * by address). Debug builds (no NDEBUG) check this and abort with both ranks named; release builds
 * pay nothing. Every lock has a line in docs/locking.md. Model: the witness of FreeBSD and
 * jemalloc.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Low ranks are taken first (outer), high ranks last (leaf). */
enum lock_rank {
	LOCK_RANK_DAEMON = 10,   /* daemon/: start, stop, reload */
	LOCK_RANK_API = 20,      /* api/: server, watch subscribers */
	LOCK_RANK_MOUNTS = 30,   /* service/: the registry */
	LOCK_RANK_MOUNT = 35,    /* service/: one mount */
	LOCK_RANK_API_CALL = 38, /* api/: one call; the registry queues its events under its own */
	LOCK_RANK_TENANT = 40,   /* service/: tenant table */
	LOCK_RANK_SESSIONS = 50, /* fuse/session: the table of sessions, epoll slots */
	LOCK_RANK_SESSION = 52,  /* fuse/session: one session */
	LOCK_RANK_PARK = 54,     /* fuse/session: parked requests, deadline heap */
	LOCK_RANK_OVL_GATE = 58, /* fuse/overlay: waiting for a switch; nothing is held before */
	LOCK_RANK_OVL = 60,      /* fuse/overlay: an overlay's table of workspaces */
	LOCK_RANK_OVL_WS = 61,   /* fuse/overlay: workspace wide: rename of directories, quiesce */
	LOCK_RANK_OVL_DIR = 62,  /* fuse/overlay: one directory (pairs: ordered by node id, see
				    ovl_dir_lock_pair) */
	LOCK_RANK_OVL_NODE =
		64, /* fuse/overlay: one file's upper state: copy-up, write, attributes */
	LOCK_RANK_OVL_TABLE = 66,    /* fuse/overlay: shard of the id → node table */
	LOCK_RANK_OVL_FDS = 67,      /* fuse/overlay: LRU of open descriptors */
	LOCK_RANK_OVL_JOURNAL = 68,  /* fuse/overlay: append to the workspace journal */
	LOCK_RANK_STORAGE = 70,      /* storage: table of sources and fetches under way */
	LOCK_RANK_ORIGIN = 72,       /* storage/origin: registry, handles */
	LOCK_RANK_BLOB = 74,         /* storage/blob: single-flight table */
	LOCK_RANK_BLOB_RECLAIM = 75, /* storage/blob: one reclaimer of the disk at a time */
	LOCK_RANK_BLOB_TIER = 76,    /* storage/blob: one tier: the memory's, the log, the files */
	LOCK_RANK_BLOB_INDEX = 77,   /* storage/blob: what the disk has; perhaps under a tier's */
	LOCK_RANK_COLLECT = 78,      /* storage: what the collector of the index must keep */
	LOCK_RANK_INDEX = 79,        /* storage/tree: a batch of a sweep is being deleted */
	LOCK_RANK_KV = 80,           /* storage/kv: writer queue */
	LOCK_RANK_POOL = 90,         /* base: worker pool queue, cancel token */
	LOCK_RANK_LEAF = 100,        /* nothing is taken under it: metrics, quota, small lists */
};

struct lock {
	pthread_mutex_t mu;
	enum lock_rank rank;
};

struct rwlock {
	pthread_rwlock_t rw;
	enum lock_rank rank;
};

struct cond {
	pthread_cond_t cv; /* on CLOCK_MONOTONIC */
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_fini(struct lock *l);
void lock_acquire(struct lock *l);
bool lock_try(struct lock *l);
void lock_release(struct lock *l);
/* Two locks of one rank; a == b is taken once. Order is by address. */
void lock_acquire_pair(struct lock *a, struct lock *b);
void lock_release_pair(struct lock *a, struct lock *b);
/* Debug builds: abort unless the calling thread holds it. */
void lock_assert_held(const struct lock *l);

void rwlock_init(struct rwlock *l, enum lock_rank rank);
void rwlock_fini(struct rwlock *l);
void rwlock_read(struct rwlock *l);
void rwlock_write(struct rwlock *l);
void rwlock_release(struct rwlock *l);

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct lock *l);
/* Wait until `deadline_ns` (monotonic, base/clock.h). False on time-out. */
bool cond_wait_until(struct cond *c, struct lock *l, uint64_t deadline_ns);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

static inline void lock_cleanup(struct lock **l)
{
	if (*l)
		lock_release(*l);
}

static inline void rwlock_cleanup(struct rwlock **l)
{
	if (*l)
		rwlock_release(*l);
}

#define LOCK_CAT_(a, b) a##b
#define LOCK_CAT(a, b)  LOCK_CAT_(a, b)
/* Hold until the end of the scope. */
#define LOCK_GUARD(l)                                                                            \
	__attribute__((cleanup(lock_cleanup), unused)) struct lock *LOCK_CAT(guard_, __LINE__) = \
		({                                                                               \
			struct lock *l_ = (l);                                                   \
			lock_acquire(l_);                                                        \
			l_;                                                                      \
		})
#define RWLOCK_READ_GUARD(l)                                                      \
	__attribute__((cleanup(rwlock_cleanup), unused)) struct rwlock *LOCK_CAT( \
		guard_, __LINE__) = ({                                            \
		struct rwlock *l_ = (l);                                          \
		rwlock_read(l_);                                                  \
		l_;                                                               \
	})
#define RWLOCK_WRITE_GUARD(l)                                                     \
	__attribute__((cleanup(rwlock_cleanup), unused)) struct rwlock *LOCK_CAT( \
		guard_, __LINE__) = ({                                            \
		struct rwlock *l_ = (l);                                          \
		rwlock_write(l_);                                                 \
		l_;                                                               \
	})
