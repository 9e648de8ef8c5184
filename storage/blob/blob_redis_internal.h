/* SPDX-License-Identifier: Apache-2.0 */
/* What blob_redis.c (life and hooks), blob_redis_read.c, blob_redis_write.c and blob_redis_tree.c
 * share. */
#pragma once
#include "base/metrics.h"
#include "blob/blob_internal.h"
#include "blob/blob_redis_client.h"
#include "blob/blob_redis_codec.h"
#include "blob/blob_redis_lease.h"
#include "blob/blob_redis_missed.h"
#include "blob/blob_redis_queue.h"
#include "storage/blob_redis.h"

#include <pthread.h>

#define L3_SECRET_BYTES 32

/* What reads, writes and leases count. */
struct l3_metrics {
	struct counter *skipped, *rejected, *read_bytes, *written_bytes;
	struct counter *drop_full, *drop_failed, *drop_refused;
	struct counter *tree_hits, *tree_misses;
	struct counter *claims, *claim_waits, *claim_saves;
	struct histogram *read, *write, *lease;
	/* Stand-ins when there is no registry. */
	struct counter own[12];
	struct histogram own_histogram[3];
};

struct blob_redis {
	struct blob_redis_config config; /* const; its strings are the next ones */
	char *password_file;
	struct l3_tls *tls;
	struct l3_client *client;
	bool has_secret;
	uint8_t secret[L3_SECRET_BYTES];
	struct l3_queue queue;
	struct l3_leases leases;
	struct l3_missed missed;
	struct l3_breaker refusals; /* of writes alone: full, read-only */
	struct l3_packer *packer;   /* the writer's */
	struct l3_unpackers unpackers;
	bool writer_started;
	pthread_t writer;
	struct blob_counters counters;
	struct l3_metrics m;
};

void l3_metrics_setup(struct blob_redis *r, struct metrics *registry);
int l3_metrics_callbacks(struct blob_redis *r, struct metrics *registry);
uint64_t l3_drops(const struct blob_redis *r);

/* blob_redis_read.c: hooks of the tier. */
int l3_load(void *impl, const struct oid *oid, struct blob_sink *sink, const struct cancel *cancel,
	uint64_t deadline_ns);
void l3_load_many(void *impl, const struct oid *oids, unsigned count, blob_loaded fn, void *arg,
	const struct cancel *cancel, uint64_t deadline_ns);
void l3_drop(void *impl, const struct oid *oid);
/* The value of a key, malloc'ed and unpacked. -EAGAIN: none, or none that can be used. */
int l3_get(struct blob_redis *r, const struct oid *oid, enum l3_item_kind kind,
	uint64_t deadline_ns, void **ret_plain, size_t *ret_len);

/* blob_redis_write.c */
int l3_writer_start(struct blob_redis *r);
void l3_writer_stop(struct blob_redis *r);
/* Queue or drop. */
void l3_behind(struct blob_redis *r, struct l3_item *item);
void l3_touch_later(struct blob_redis *r, const struct oid *oid, enum l3_item_kind kind,
	uint32_t chunks, uint32_t written_min);
