/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The farm's shared cache (L3): a Redis server or cluster, as a remote tier of the blob store and
 * as a place for packed directories.
 *
 * It is lossy by design and trusted with nothing: every value is verified by whoever takes it, and
 * whatever Redis does (down, slow, full, read-only, evicting, lying), nobody waits longer than the
 * deadlines below, after which a circuit breaker stops asking for a while. Writes are queued and
 * dropped rather than waited for.
 *
 * Threads: any; calls that ask Redis block for at most the deadlines and belong on fetch threads.
 */
#pragma once
#include "storage/blob_tier.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel;
struct clock;
struct err;
struct metrics;
struct blob_redis;

/* What is zero has the default. Strings are copied. */
struct blob_redis_config {
	const char *url;
	const char *password_file;      /* wins over the URL's; read at each connect */
	const char *tls_ca;             /* NULL: the system's */
	const char *tls_cert, *tls_key; /* NULL: no client certificate */
	const char *key_file;           /* the farm's secret, see docs/adr/0010 */
	uint64_t ttl_ns;                /* 7 days */
	uint64_t connect_timeout_ns;    /* 100 ms */
	uint64_t timeout_ns;            /* 100 ms, of one exchange */
	uint64_t queue_bytes;           /* 64 MiB */
	uint64_t blob_max_bytes;        /* 64 MiB */
	struct metrics *metrics;        /* may be NULL */
	/* Called on edges of availability, on the thread that met them, with no lock held; `reason`
	 * is for a person. */
	void (*on_change)(void *arg, bool available, const char *reason);
	void *arg;
};

/* Is it a URL that blob_redis_new takes? -EINVAL with the reason in `e`. Pure. */
int blob_redis_check_url(const char *url, struct err *e);

/* Does not connect: Redis may come later. -EINVAL, -EIO (certificates), -ENOENT and the like for
 * files. */
int blob_redis_new(
	struct blob_redis **ret_redis, const struct blob_redis_config *config, struct err *e);
/* Frees one that was never given to a store. */
struct blob_redis *blob_redis_free(struct blob_redis *r);
/* As a tier; the store that it is added to owns it then. */
struct blob_tier blob_redis_tier(struct blob_redis *r);

/* A packed directory as another node has offered it: a malloc'ed record, unverified. -EAGAIN: none.
 * *ret_proven: it carries the farm's signature, so its sizes are those that the other node knew. */
int blob_redis_load_tree(struct blob_redis *r, const struct oid *tree, void **ret_record,
	size_t *ret_len, bool *ret_proven);
/* It was not what its key says: remove it. */
void blob_redis_reject_tree(struct blob_redis *r, const struct oid *tree);
/* How it went with a directory, for the metrics. */
void blob_redis_count_tree(struct blob_redis *r, bool hit);
/* Offer one to others: copied and queued, or dropped. */
void blob_redis_offer_tree(
	struct blob_redis *r, const struct oid *tree, const void *record, size_t len);
