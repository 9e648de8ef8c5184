/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that know their rank. In debug builds each thread keeps the list of locks it holds; taking
 * one whose rank is not above all of them aborts with the names of both, before it can deadlock.
 * Release builds (NDEBUG) compile to the bare pthread calls. An error from pthread here is always a
 * bug of the caller (unlock of a lock not held, a destroyed lock): it aborts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"

static const char *rank_name(enum lock_rank rank)
{
	switch (rank) {
	case LOCK_RANK_DAEMON:
		return "DAEMON";
	case LOCK_RANK_API:
		return "API";
	case LOCK_RANK_MOUNTS:
		return "MOUNTS";
	case LOCK_RANK_MOUNT:
		return "MOUNT";
	case LOCK_RANK_API_CALL:
		return "API_CALL";
	case LOCK_RANK_TENANT:
		return "TENANT";
	case LOCK_RANK_SESSIONS:
		return "SESSIONS";
	case LOCK_RANK_SESSION:
		return "SESSION";
	case LOCK_RANK_PARK:
		return "PARK";
	case LOCK_RANK_OVL_GATE:
		return "OVL_GATE";
	case LOCK_RANK_OVL:
		return "OVL";
	case LOCK_RANK_OVL_WS:
		return "OVL_WS";
	case LOCK_RANK_OVL_DIR:
		return "OVL_DIR";
	case LOCK_RANK_OVL_NODE:
		return "OVL_NODE";
	case LOCK_RANK_OVL_TABLE:
		return "OVL_TABLE";
	case LOCK_RANK_OVL_FDS:
		return "OVL_FDS";
	case LOCK_RANK_OVL_JOURNAL:
		return "OVL_JOURNAL";
	case LOCK_RANK_STORAGE:
		return "STORAGE";
	case LOCK_RANK_ORIGIN:
		return "ORIGIN";
	case LOCK_RANK_BLOB:
		return "BLOB";
	case LOCK_RANK_BLOB_RECLAIM:
		return "BLOB_RECLAIM";
	case LOCK_RANK_BLOB_TIER:
		return "BLOB_TIER";
	case LOCK_RANK_BLOB_INDEX:
		return "BLOB_INDEX";
	case LOCK_RANK_COLLECT:
		return "COLLECT";
	case LOCK_RANK_INDEX:
		return "INDEX";
	case LOCK_RANK_KV:
		return "KV";
	case LOCK_RANK_POOL:
		return "POOL";
	case LOCK_RANK_LEAF:
		return "LEAF";
	}
	return "?";
}

static _Noreturn void die(const char *what, enum lock_rank rank, int code)
{
	(void)fprintf(
		stderr, "lock: %s %s(%d): errno %d\n", what, rank_name(rank), (int)rank, code);
	abort();
}

static void check(int code, const char *what, enum lock_rank rank)
{
	if (__builtin_expect(code != 0, 0))
		die(what, rank, code);
}

#ifndef NDEBUG
#define HELD_MAX 32

struct held {
	const void *lock;
	enum lock_rank rank;
};

static _Thread_local struct held held[HELD_MAX];
static _Thread_local unsigned held_count;

static bool is_held(const void *lock)
{
	for (unsigned i = 0; i < held_count; i++)
		if (held[i].lock == lock)
			return true;
	return false;
}

/* Abort unless every lock held has a lower rank. `pair` may have an equal one (NULL: none may). */
static void rank_check(const char *what, const void *lock, enum lock_rank rank, const void *pair)
{
	for (unsigned i = 0; i < held_count; i++) {
		if (held[i].rank < rank || (held[i].lock == pair && held[i].rank == rank))
			continue;
		(void)fprintf(stderr, "lock: %s %s(%d) while holding %s(%d)%s: ranks must rise\n",
			what, rank_name(rank), (int)rank, rank_name(held[i].rank),
			(int)held[i].rank, held[i].lock == lock ? ", the same lock" : "");
		abort();
	}
}

static void rank_push(const void *lock, enum lock_rank rank)
{
	if (held_count == HELD_MAX)
		die("too many held at", rank, 0);
	held[held_count++] = (struct held){lock, rank};
}

static void rank_pop(const void *lock, enum lock_rank rank)
{
	for (unsigned i = held_count; i-- > 0;) {
		if (held[i].lock != lock)
			continue;
		for (held_count--; i < held_count; i++)
			held[i] = held[i + 1];
		return;
	}
	die("released but not held", rank, 0);
}

static void rank_assert_held(const void *lock, enum lock_rank rank)
{
	if (!is_held(lock))
		die("must be held", rank, 0);
}

/* A wait releases only its own lock: whatever else is held must be outside of it, as if it were
 * taken anew. */
static void rank_check_wait(const void *lock, enum lock_rank rank)
{
	rank_pop(lock, rank);
	rank_check("wait with", lock, rank, NULL);
	rank_push(lock, rank);
}
#else
static void rank_check(const char *what, const void *lock, enum lock_rank rank, const void *pair)
{
	(void)what, (void)lock, (void)rank, (void)pair;
}

static void rank_push(const void *lock, enum lock_rank rank)
{
	(void)lock, (void)rank;
}

static void rank_pop(const void *lock, enum lock_rank rank)
{
	(void)lock, (void)rank;
}

static void rank_assert_held(const void *lock, enum lock_rank rank)
{
	(void)lock, (void)rank;
}

static void rank_check_wait(const void *lock, enum lock_rank rank)
{
	(void)lock, (void)rank;
}
#endif

void lock_init(struct lock *l, enum lock_rank rank)
{
	l->rank = rank;
	check(pthread_mutex_init(&l->mu, NULL), "init", rank);
}

void lock_fini(struct lock *l)
{
	if (l)
		check(pthread_mutex_destroy(&l->mu), "destroy", l->rank);
}

static void acquire(struct lock *l, const struct lock *pair)
{
	rank_check("acquire", l, l->rank, pair);
	check(pthread_mutex_lock(&l->mu), "acquire", l->rank);
	rank_push(l, l->rank);
}

void lock_acquire(struct lock *l)
{
	acquire(l, NULL);
}

bool lock_try(struct lock *l)
{
	int code = pthread_mutex_trylock(&l->mu); /* cannot deadlock, so any order will do */

	if (code == EBUSY)
		return false;
	check(code, "try", l->rank);
	rank_push(l, l->rank);
	return true;
}

void lock_release(struct lock *l)
{
	rank_pop(l, l->rank);
	check(pthread_mutex_unlock(&l->mu), "release", l->rank);
}

void lock_acquire_pair(struct lock *a, struct lock *b)
{
	struct lock *first = (uintptr_t)a <= (uintptr_t)b ? a : b;
	struct lock *second = first == a ? b : a;

	acquire(first, NULL);
	if (first != second)
		acquire(second, first);
}

void lock_release_pair(struct lock *a, struct lock *b)
{
	lock_release(a);
	if (a != b)
		lock_release(b);
}

void lock_assert_held(const struct lock *l)
{
	rank_assert_held(l, l->rank);
}

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
	pthread_rwlockattr_t attr;

	l->rank = rank;
	check(pthread_rwlockattr_init(&attr), "init", rank);
	/* Writers do not starve. A reader that took the lock again could deadlock behind a waiting
	 * writer, but no thread takes a lock twice: that is an equal rank, and debug builds abort
	 * on it. */
	check(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP),
		"init", rank);
	check(pthread_rwlock_init(&l->rw, &attr), "init", rank);
	(void)pthread_rwlockattr_destroy(&attr); /* cannot fail on a good attribute */
}

void rwlock_fini(struct rwlock *l)
{
	if (l)
		check(pthread_rwlock_destroy(&l->rw), "destroy", l->rank);
}

void rwlock_read(struct rwlock *l)
{
	rank_check("read", l, l->rank, NULL);
	check(pthread_rwlock_rdlock(&l->rw), "read", l->rank);
	rank_push(l, l->rank);
}

void rwlock_write(struct rwlock *l)
{
	rank_check("write", l, l->rank, NULL);
	check(pthread_rwlock_wrlock(&l->rw), "write", l->rank);
	rank_push(l, l->rank);
}

void rwlock_release(struct rwlock *l)
{
	rank_pop(l, l->rank);
	check(pthread_rwlock_unlock(&l->rw), "release", l->rank);
}

void cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	check(pthread_condattr_init(&attr), "cond init", LOCK_RANK_LEAF);
	check(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "cond init", LOCK_RANK_LEAF);
	check(pthread_cond_init(&c->cv, &attr), "cond init", LOCK_RANK_LEAF);
	(void)pthread_condattr_destroy(&attr); /* cannot fail on a good attribute */
}

void cond_fini(struct cond *c)
{
	if (c)
		check(pthread_cond_destroy(&c->cv), "cond destroy", LOCK_RANK_LEAF);
}

void cond_wait(struct cond *c, struct lock *l)
{
	rank_check_wait(l, l->rank);
	check(pthread_cond_wait(&c->cv, &l->mu), "wait", l->rank);
}

bool cond_wait_until(struct cond *c, struct lock *l, uint64_t deadline_ns)
{
	struct timespec ts;
	int code;

	if (deadline_ns == NS_NEVER) {
		cond_wait(c, l);
		return true;
	}
	rank_check_wait(l, l->rank);
	ts = clock_timespec(deadline_ns);
	code = pthread_cond_timedwait(&c->cv, &l->mu, &ts);
	if (code == ETIMEDOUT)
		return false;
	check(code, "wait", l->rank);
	return true;
}

void cond_signal(struct cond *c)
{
	check(pthread_cond_signal(&c->cv), "signal", LOCK_RANK_LEAF);
}

void cond_broadcast(struct cond *c)
{
	check(pthread_cond_broadcast(&c->cv), "broadcast", LOCK_RANK_LEAF);
}
