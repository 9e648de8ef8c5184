/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door to LMDB: a few named tables of bytes → bytes in one environment directory. Values are
 * read in place, inside a short read transaction that must not span a blocking call. All writes go
 * through one writer thread that batches what is queued into one transaction (group commit).
 *
 * KV_DURABLE: a write is on disk (fsync) when kv_write returns. KV_CACHE: it survives a crash of
 * the process; after a crash of the machine the environment may be damaged, which kv_open finds out
 * and repairs by setting it aside and starting empty.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct kv;
struct kv_txn;
struct metrics;

#define KV_KEY_MAX    511
#define KV_TABLES_MAX 8

enum kv_mode { KV_DURABLE, KV_CACHE };

struct kv_config {
	const char *dir; /* created if missing; locked against a second process (-EBUSY) */
	enum kv_mode mode;
	uint64_t max_bytes;      /* of pages in use; puts beyond are -ENOSPC. The file may be larger
				    by an eighth and 1 MiB, so that there is room to delete in */
	uint32_t format_version; /* another version on disk: KV_CACHE sets aside, KV_DURABLE fails
				    with -EPROTONOSUPPORT */
	const char *tables[KV_TABLES_MAX]; /* names, ended by NULL; a table's number is its index
					      here */
	struct metrics *metrics;           /* may be NULL */
	const char *name;                  /* for metrics, logs and the thread: "index", "mounts" */
};

/* *ret_set_aside (may be NULL) tells that an older or damaged environment was moved to
 * DIR.damaged-<time>; one is kept. -EBUSY, reason STORE_BUSY: another process has it open.
 * KV_DURABLE is never moved: -EIO, reason STORE_DAMAGED, or -EPROTONOSUPPORT, reason STORE_VERSION.
 * -ENOSPC: the disk is full. */
int kv_open(struct kv **ret_kv, const struct kv_config *config, bool *ret_set_aside, struct err *e);
/* Commits what is queued, stops the writer, closes. No transaction may be open. */
struct kv *kv_close(struct kv *kv);

/* Begin is cheap (a recycled transaction is renewed). Several may be open at once, also on one
 * thread. */
int kv_read_begin(struct kv *kv, struct kv_txn **ret_txn);
void kv_read_end(struct kv_txn *txn);
/* 0 with *ret_value = NULL if there is no such key. The value points into the map until
 * kv_read_end. -EIO: damaged. */
int kv_get(struct kv_txn *txn, unsigned table, const void *key, size_t key_len,
	const void **ret_value, size_t *ret_len);
/* Calls `fn` for every key >= from (NULL: all) in order; a non-zero answer ends the scan and is
 * returned. */
typedef int (*kv_visit)(void *arg, const void *key, size_t key_len, const void *value, size_t len);
int kv_scan(struct kv_txn *txn, unsigned table, const void *from, size_t from_len, kv_visit fn,
	void *arg);
/* Entries in a table. */
int kv_count(struct kv_txn *txn, unsigned table, uint64_t *ret_count);

struct kv_op {
	unsigned table;
	const void *key;
	size_t key_len;
	const void *value; /* NULL: delete (a missing key is fine) */
	size_t value_len;
	bool keep_existing; /* a put that changes nothing if the key is there already */
};
/* All or nothing. Blocks until committed, and before that up to 10 s for room in the queue.
 * -ENOSPC: max_bytes are in use, or the disk is full; -EAGAIN: queue still full; -ESHUTDOWN. */
int kv_write(struct kv *kv, const struct kv_op *ops, unsigned op_count);
/* Copies the ops and returns; `fn` (may be NULL) is called on the writer thread after the commit,
 * and must not block. -EAGAIN: queue full, at once. */
typedef void (*kv_done)(void *arg, int result);
int kv_write_async(
	struct kv *kv, const struct kv_op *ops, unsigned op_count, kv_done fn, void *arg);
/* Wait until everything queued before is committed; for KV_CACHE also synced to disk. */
int kv_flush(struct kv *kv);

struct kv_stats {
	uint64_t used_bytes; /* of the file */
	uint64_t live_bytes; /* pages that hold entries; the others are used again */
	uint64_t max_bytes, entries, commits, ops, readers;
};
int kv_stats(struct kv *kv, struct kv_stats *ret_stats);
