// SPDX-License-Identifier: Apache-2.0
/*
 * Lanes: each origin has its own threads, in pools: directories, blobs, digests, prefetches. An
 * origin that hangs keeps its own threads busy and no one else's; large blobs never hold up a
 * directory, for which the kernel holds locks up to the root. Within a pool tenants take turns
 * (storage_fair.h). A prefetch starts only while nothing in the foreground of the same origin waits
 * for a thread.
 *
 * A pool's job works until its queue has nothing to run; there are never more jobs than threads,
 * and whoever queues something sees to it that there is one. Threads start on first need.
 */
#include "storage_fetch.h"
#include "storage_peers.h"

#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>

#define FOREGROUND_QUEUE_MAX 8192
#define BACKGROUND_QUEUE_MAX 4096
#define READAHEAD_THREADS    2
#define READAHEAD_QUEUE_MAX  64
#define NETWORK_FACTOR       4 /* who waits for a network waits longer, and costs no CPU meanwhile */

static bool foreground_waits_locked(const struct lane *lane)
{
	for (unsigned kind = 0; kind < FETCH_KIND_COUNT; kind++)
		if (lane->foreground[kind].fair.queued)
			return true;
	return false;
}

static bool is_background(const struct lane_queue *q)
{
	return q == &q->lane->background;
}

static void work(void *arg);

static int start_worker_locked(struct lane_queue *q)
{
	int r;

	if (q->workers == q->workers_max)
		return 0;
	r = pool_submit(q->pool, work, q, false);
	if (r == 0)
		q->workers++;
	return q->workers ? 0 : r;
}

/* The last of the foreground has found a thread. */
static void start_background_locked(struct lane *lane)
{
	struct lane_queue *q = &lane->background;

	for (unsigned i = 0; i < q->fair.queued && q->workers < q->workers_max; i++)
		if (start_worker_locked(q) < 0)
			return; /* no thread now: the next one to come this way tries again */
}

static struct ticket *next_locked(struct lane_queue *q)
{
	struct lane *lane = q->lane;
	struct fair_item *item;

	if (is_background(q) && foreground_waits_locked(lane))
		return NULL; /* who takes the last of them starts us again */
	item = fair_pop(&q->fair);
	if (item && !is_background(q) && !foreground_waits_locked(lane))
		start_background_locked(lane);
	return item ? (struct ticket *)item : NULL;
}

static void work(void *arg)
{
	struct lane_queue *q = arg;
	struct storage *st = q->lane->st;
	struct ticket *t;

	lock_acquire(&st->mu);
	while ((t = next_locked(q))) {
		unsigned tenant = t->item.flow;
		uint64_t bytes;

		lock_release(&st->mu);
		bytes = fetch_run(t);
		lock_acquire(&st->mu);
		fair_done(&q->fair, tenant, bytes);
	}
	q->workers--;
	lock_release(&st->mu);
}

int lane_push_locked(struct lane_queue *q, unsigned tenant, struct fair_item *ticket)
{
	int r = fair_push(&q->fair, tenant, ticket);

	if (r < 0)
		return r;
	r = start_worker_locked(q);
	if (r < 0)
		fair_take_back(&q->fair, ticket);
	return r;
}

/* `threads`: of one tenant; all together have twice as many. */
static int start_queue(struct lane *lane, struct lane_queue *q, const char *name, unsigned threads)
{
	bool background = q == &lane->background;
	unsigned queued_max = background ? BACKGROUND_QUEUE_MAX : FOREGROUND_QUEUE_MAX;
	const struct pool_config config = {name, 2 * threads, 2 * threads};

	q->lane = lane;
	q->workers_max = 2 * threads;
	q->fair.queued_max = queued_max;
	q->fair.running_max = threads;
	return pool_new(&q->pool, &config);
}

static int start_queues(struct lane *lane, unsigned threads)
{
	const struct pool_config readahead = {"read-ahead", READAHEAD_THREADS, READAHEAD_QUEUE_MAX};
	int r = start_queue(lane, &lane->foreground[FETCH_TREE], "fetch-tree", threads);

	if (r == 0)
		r = start_queue(lane, &lane->foreground[FETCH_BLOB], "fetch-blob", threads);
	if (r == 0)
		r = start_queue(lane, &lane->foreground[FETCH_DIGESTS], "digest", threads);
	if (r == 0)
		r = pool_new(&lane->readahead, &readahead);
	if (r == 0)
		r = start_queue(lane, &lane->background, "prefetch", threads > 1 ? threads / 2 : 1);
	return r;
}

int lane_new(struct lane **ret_lane, struct storage *st, struct origin *origin)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	unsigned threads = st->fetch_threads;
	int r;

	if (!lane)
		return -ENOMEM;
	list_init(&lane->node);
	lane->st = st;
	fair_init(&lane->background.fair, 0, 0); /* their bounds come with their threads */
	for (unsigned kind = 0; kind < FETCH_KIND_COUNT; kind++)
		fair_init(&lane->foreground[kind].fair, 0, 0);
	if (origin && !(origin_caps(origin) & ORIGIN_CAP_LOCAL))
		threads *= NETWORK_FACTOR;
	r = start_queues(lane, threads);
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	lane->origin = origin ? origin_ref(origin) : NULL;
	*ret_lane = lane;
	return 0;
}

/* What still lies in the background queue, whose fetches are over: tickets hold memory. */
static void drop_background(struct lane *lane)
{
	struct fair_item *item;

	while ((item = fair_pop(&lane->background.fair))) {
		fair_done(&lane->background.fair, item->flow, 0);
		(void)fetch_run((struct ticket *)item);
	}
}

void lane_stop(struct lane *lane)
{
	lane->readahead = pool_free(lane->readahead); /* first: it asks for more */
	for (unsigned kind = 0; kind < FETCH_KIND_COUNT; kind++)
		lane->foreground[kind].pool = pool_free(lane->foreground[kind].pool);
	lane->background.pool = pool_free(lane->background.pool);
	peers_stop(lane); /* last: what the others brought is given away there */
}

struct lane *lane_free(struct lane *lane)
{
	if (!lane)
		return NULL;
	lane_stop(lane);
	drop_background(lane);
	for (unsigned kind = 0; kind < FETCH_KIND_COUNT; kind++)
		fair_fini(&lane->foreground[kind].fair);
	fair_fini(&lane->background.fair);
	if (lane->origin)
		origin_unref(lane->origin);
	free(lane);
	return NULL;
}

/* A handful of origins: a walk is cheaper than a table. */
struct lane *lane_of_locked(struct storage *st, const struct origin *origin)
{
	lock_assert_held(&st->mu);
	list_for_each (it, &st->lanes) {
		struct lane *lane = list_entry(it, struct lane, node);

		if (lane->origin == origin)
			return lane;
	}
	return st->stray;
}

bool lane_foreground_waits(struct storage *st, const struct origin *origin)
{
	LOCK_GUARD(&st->mu);
	return foreground_waits_locked(lane_of_locked(st, origin));
}

struct pool *lane_readahead(struct storage *st, const struct origin *origin)
{
	LOCK_GUARD(&st->mu);
	return lane_of_locked(st, origin)->readahead;
}
