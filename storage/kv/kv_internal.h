/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of storage/kv share: the environment, its recycled read transactions and its
 * writer. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "storage/kv.h"

#include <lmdb.h>
#include <pthread.h>

/* Read transactions: at most KV_READERS at once; KV_SHARDS * KV_IDLE_PER_SHARD of them may lie
 * idle. */
#define KV_READERS        512
#define KV_SHARDS         8
#define KV_IDLE_PER_SHARD 32

struct kv_txn {
	MDB_txn *txn;
	struct kv *kv;
	struct kv_txn *next; /* in a shard's idle list */
};

/* Idle (reset) read transactions; one list per group of CPUs, so that workers do not meet. */
struct kv_shard {
	struct lock mu;      /* leaf */
	struct kv_txn *idle; /* guarded by mu */
	unsigned idle_count; /* guarded by mu */
} __attribute__((aligned(64)));

struct kv_metrics {
	struct counter *commits, *ops, *failures, *syncs, *damaged;
	struct gauge *queued_bytes, *used_bytes;
	struct histogram *commit_seconds;
	/* Stand-ins when there is no registry. */
	struct counter own_counter[5];
	struct gauge own_gauge[2];
	struct histogram own_histogram;
};

struct kv_writer {
	struct lock mu; /* LOCK_RANK_KV */
	struct cond work;
	struct cond progress; /* a batch ended: results are there, and room in the queue */
	struct list queue;    /* struct kv_req; guarded by mu */
	size_t queued_bytes;  /* queued or being committed; guarded by mu */
	bool stop;            /* guarded by mu */
	bool damaged;         /* guarded by mu: a damaged page was met since the start */
	bool mark_damaged; /* guarded by mu: and the writer has yet to put that down in `state` */
	bool started;      /* const after kv_open */
	pthread_t thread;
	uint64_t sync_due_ns; /* writer thread only: when what was committed must reach the disk; 0
				 = clean */
};

struct kv {
	char *dir; /* without trailing slashes */
	char name[12];
	enum kv_mode mode;
	int lock_fd;
	MDB_env *env;
	MDB_dbi dbi[KV_TABLES_MAX];
	unsigned table_count;
	size_t page_bytes;
	uint64_t max_bytes;  /* of pages in use; the map is larger. Const */
	uint64_t live_bytes; /* of them; the writer's, after open */
	uint64_t room_end;   /* so far has the file blocks; the writer's, once it runs */
	struct kv_shard shard[KV_SHARDS];
	_Atomic uint32_t readers; /* open read transactions: a statistic, and kv_close asserts that
				     it is 0 */
	struct kv_writer writer;
	struct kv_metrics m;
};

/* One write, or a flush. Owned by the caller of kv_write, or by the writer (heap). */
struct kv_req {
	struct list node; /* in the queue, or in the batch */
	const struct kv_op *ops;
	unsigned op_count; /* 0: a flush */
	bool sync;         /* reach the disk before it is done */
	bool heap;         /* malloc'ed by kv_write_async, freed by the writer */
	bool done;         /* guarded by the writer's mu */
	int result;        /* written by the writer before `done` */
	size_t bytes;
	kv_done fn;
	void *arg;
};

/* Blocks behind the end of a journal, which a disk that is full otherwise does not take: what frees
 * room has to be journaled too, and so has a start. Without them (a file system that has none to
 * give) the journal is as full as the rest. */
void kv_keep_room(struct kv *kv);

/* The one table from LMDB's results to errnos. */
int kv_errno(int mdb_result);
/* Of the tables, as `txn` sees them; an error of LMDB. */
int kv_live_bytes(const struct kv *kv, MDB_txn *txn, uint64_t *ret_bytes);

/* kv_check.c: is the file one that LMDB can walk? `whole`: every page, else the meta pages and the
 * size. -EIO with *ret_why. */
int kv_check_file(int fd, uint64_t file_bytes, bool whole, const char **ret_why);

/* kv_guard.c: what stands between an environment and other processes, crashes and damage. */
enum kv_state {
	KV_STATE_OPEN,    /* trusted only under the same boot */
	KV_STATE_CLEAN,   /* synced and closed */
	KV_STATE_DAMAGED, /* set aside at the next start */
};
int kv_guard_lock(const char *dir, int *ret_fd, struct err *e);
/* 0: nothing there or as it should be; -EIO: damaged, with the finding in *ret_why. *ret_kills: for
 * kv_guard_mark. */
int kv_guard_inspect(const char *dir, enum kv_mode mode, unsigned *ret_kills, const char **ret_why);
int kv_guard_set_aside(const char *dir, struct err *e);
/* What was set aside goes: its room is needed. */
int kv_guard_drop_aside(const char *dir);
/* Blocks for the file that LMDB maps and writes to when it opens: a full disk would kill us then.
 * -ENOSPC. */
int kv_guard_allocate(const char *dir);
int kv_guard_mark(const char *dir, enum kv_state state, unsigned kills);

/* kv_read.c */
void kv_read_init(struct kv *kv);
void kv_read_fini(struct kv *kv);

/* kv_commit.c */
int kv_writer_start(struct kv *kv);
/* A page was found damaged (any thread): a cache is set aside at the next start. */
void kv_note_damage(struct kv *kv);
void kv_writer_stop(struct kv *kv);
