/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the storage_*.c files share: the storage, its lanes, and those who wait for a fetch.
 *
 *	waiter ─┐                     lane of the origin
 *	waiter ─┼─► fetch ─► queue of its kind, or for the background ─► origin ─► index or blob
 *store waiter ─┘            (tenants take turns) ▲ └─── reaper: ends waiters whose deadline has
 *come, whatever their fetch is doing
 */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "storage/storage.h"
#include "storage_collect.h"
#include "storage_fair.h"
#include "storage_kept.h"

#include <pthread.h>

struct blob_redis;
struct cancel;
struct pool;
struct fetch;

enum fetch_kind {
	FETCH_TREE = STORAGE_TREE,
	FETCH_BLOB = STORAGE_BLOB,
	FETCH_DIGESTS = STORAGE_DIGESTS,
	FETCH_KIND_COUNT
};
/* QUEUED → RUNNING → OVER. RUNNING → QUEUED if it ran out of time but someone has more.
 * QUEUED → OVER if all who waited have gone. */
enum fetch_state { FETCH_QUEUED, FETCH_RUNNING, FETCH_OVER };

/* One request. Either in its fetch's list and the heap, or in a list of the thread that ends it. */
struct waiter {
	struct list node;
	struct fetch *fetch;
	size_t heap_index;
	uint64_t deadline_ns;
	unsigned tenant;
	int result;
	storage_done fn;
	void *arg;
};

/* Waiters by deadline: a binary heap, its memory reserved before a waiter is admitted. */
struct deadline_heap {
	struct waiter **slot;
	size_t count, cap;
};
int deadline_heap_reserve(struct deadline_heap *h); /* room for one more, or -ENOMEM */
void deadline_heap_add(struct deadline_heap *h, struct waiter *w);
void deadline_heap_remove(struct deadline_heap *h, struct waiter *w);
struct waiter *deadline_heap_first(const struct deadline_heap *h);
void deadline_heap_fini(struct deadline_heap *h);

/* A queue and the threads that work through it. */
struct lane_queue {
	struct lane *lane;      /* const */
	struct pool *pool;      /* const */
	unsigned workers_max;   /* const */
	unsigned workers;       /* jobs in the pool; guarded by st->mu */
	struct fair_queue fair; /* guarded by st->mu */
};

/* What an origin works through: a stuck origin stops only its own lane. */
struct lane {
	struct list node;
	struct storage *st;
	struct origin *origin; /* owned; NULL: the lane of origins that were never added */
	struct lane_queue foreground[FETCH_KIND_COUNT];
	struct lane_queue background;
	struct pool *readahead;
	struct pool *giving; /* to other nodes; NULL: there are none */
	struct cancel *giving_ends;
	struct gauge given_later; /* blobs that wait to be given */
	unsigned strikes; /* failures of the origin since its last answer; guarded by st->mu */
	bool down;        /* it is asked whether it is back; guarded by st->mu, as the next */
	uint64_t failed_ns;
};

struct fetch_metrics {
	struct gauge *queued, *running;
	struct counter *joined, *refused, *done;
	struct counter *failures[5]; /* by reason, storage_metrics.c */
	struct histogram *seconds;
	/* Stand-ins when there is no registry. */
	struct gauge own_gauge[2];
	struct counter own_counter[8];
	struct histogram own_histogram;
};
void fetch_metrics_setup(struct fetch_metrics *m, struct metrics *registry, enum fetch_kind kind);
void fetch_metrics_failed(struct fetch_metrics *m, int result);

#define FETCH_BUCKETS 1024

struct storage {
	struct tree_index *index;
	struct blob_store *blobs;
	struct collector collector;
	struct kept_table kept;
	struct blob_redis *redis; /* a tier of blobs, which owns it; NULL: none */
	unsigned fetch_threads;
	struct health *health;        /* may be NULL */
	struct pool *prober;          /* const after open, as the next */
	struct cancel *closing;       /* of what the prober waits for */
	bool probing;                 /* guarded by mu */
	struct lock mu;               /* LOCK_RANK_STORAGE */
	struct list lanes;            /* guarded by mu; only grows */
	struct lane *stray;           /* const after open */
	struct list *bucket;          /* fetches by kind, oid, origin; guarded by mu, as they are */
	struct deadline_heap heap;    /* guarded by mu; its size is the number of waiters */
	bool stopping;                /* guarded by mu */
	char *tenant[FAIR_FLOWS_MAX]; /* names, by number; guarded by mu */
	unsigned tenant_count;
	bool reaper_started;      /* const after open */
	uint64_t reaper_alarm_ns; /* until when the reaper sleeps; guarded by mu */
	struct cond reaper_wake;
	pthread_t reaper;
	struct fetch_metrics m[FETCH_KIND_COUNT];
	struct counter *crawls, own_crawls; /* readers found to read in order */
};

/* storage_health.c: what an origin answered to a fetch (`why`: for people, or NULL), and to the
 * question for a revision. */
void storage_origin_said(struct storage *st, struct origin *o, int r, const char *why);
void storage_origin_resolved(struct storage *st, struct origin *o, int r, const struct err *e);
int health_probe_start(struct storage *st);
void health_probe_stop(struct storage *st); /* after fetch_stop; waits */

/* storage_lookup.c; both block */
/* A view of a directory, fetched if need be. */
int storage_need_view(struct storage *st, struct origin *o, const struct oid *tree,
	uint64_t deadline_ns, struct tree_view *ret_view);
/* Of a blob, which is fetched if nobody knows it. */
int storage_need_size(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, uint64_t *ret_size);

/* storage_lane.c */
int lane_new(struct lane **ret_lane, struct storage *st, struct origin *origin);
void lane_stop(struct lane *lane); /* waits for its jobs; nothing may be asked of it any more */
struct lane *lane_free(struct lane *lane); /* stops it, too */
struct lane *lane_of_locked(struct storage *st, const struct origin *origin);
/* Queue a ticket of `tenant`. -EAGAIN: the queue is full. */
int lane_push_locked(struct lane_queue *q, unsigned tenant, struct fair_item *ticket);

/* Does a foreground request of this origin wait for a thread? */
bool lane_foreground_waits(struct storage *st, const struct origin *origin);

struct pool *lane_readahead(struct storage *st, const struct origin *origin);

/* storage_reaper.c */
int fetch_start(struct storage *st);
/* End every fetch and waiter with -ECANCELED; the lanes' threads may still be on their way out. */
void fetch_stop(struct storage *st);
void fetch_fini(struct storage *st);
