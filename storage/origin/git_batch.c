/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See git_batch.h. A fetch goes on when nobody waits for it any more: what it brings stays, so that
 * a large object, or the first commit of a large repository, arrives in the end even if each of
 * those who ask has less time than that takes.
 *
 * If the server refuses a request because it does not have one of the objects, the request is
 * halved until the culprits are alone, a bounded number of times.
 */
#include "origin/git_batch.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/hashmap.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_MAX  65536u
#define TAKE_MAX     8192u
#define SPLITS_MAX   64u
#define WAIT_STEP_NS (50 * NS_PER_MS)

struct item {
	struct oid oid;
	struct list node;  /* in `pending` while that */
	struct item *next; /* others with the same key */
	bool under_way;
	unsigned waiters;
	bool over;
	int result; /* once over */
};

/* One fetch. */
struct round {
	struct item **items;
	size_t count;
};

struct gitbatch {
	struct gitbatch_config config; /* const */
	struct pool *pool;
	struct lock lock;
	struct cond changed;
	struct hashmap items; /* first 8 bytes of the oid → item; all guarded by lock */
	struct list pending;
	size_t pending_count;
	unsigned jobs, rounds; /* of the pool; of which fetch now */
};

static uint64_t key_of(const struct oid *oid)
{
	uint64_t key;

	memcpy(&key, oid->bytes, sizeof(key));
	return key;
}

static struct item *find_locked(struct gitbatch *b, const struct oid *oid)
{
	struct item *it = hashmap_find(&b->items, key_of(oid));

	while (it && !oid_equal(&it->oid, oid))
		it = it->next;
	return it;
}

static int insert_locked(struct gitbatch *b, struct item *item)
{
	struct item *first = hashmap_find(&b->items, key_of(&item->oid));

	if (!first)
		return hashmap_insert(&b->items, key_of(&item->oid), item);
	item->next = first->next;
	first->next = item;
	return 0;
}

static void remove_locked(struct gitbatch *b, struct item *item)
{
	struct item *first = hashmap_remove(&b->items, key_of(&item->oid)), *rest = first;

	if (first == item) {
		rest = item->next;
	} else if (first) {
		struct item *at = first;

		while (at->next && at->next != item)
			at = at->next;
		if (at->next)
			at->next = item->next;
	}
	item->next = NULL;
	if (rest)
		(void)hashmap_insert(&b->items, key_of(&rest->oid), rest); /* its place is free */
}

/* Nobody else will look at it: freed by the last who waits, or here if nobody does. */
static void end_item_locked(struct gitbatch *b, struct item *item, int result)
{
	remove_locked(b, item);
	item->over = true;
	item->result = result;
	if (item->waiters == 0)
		free(item);
}

static void leave_locked(struct gitbatch *b, struct item *item)
{
	if (--item->waiters > 0)
		return;
	if (item->over) {
		free(item);
	} else if (!item->under_way) {
		list_remove(&item->node);
		b->pending_count--;
		remove_locked(b, item);
		free(item);
	}
}

/* What a fetch that ended with `r` means for one of its objects. */
static int result_of(const struct gitbatch *b, const struct oid *oid, int r)
{
	if (r < 0 && r != -ENXIO)
		return r;
	if (b->config.here)
		return b->config.here(b->config.arg, oid) ? 0 : -EIO;
	return r == 0 ? 0 : -EIO;
}

/* Results of items [from, from + count) of a round, each fetched once or in halves. */
static void fetch_part(
	struct gitbatch *b, const struct oid *oids, int *results, size_t count, unsigned *splits)
{
	int r = b->config.fetch(b->config.arg, oids, count);

	if (r == -ENXIO && count > 1 && *splits < SPLITS_MAX) {
		size_t half = count / 2;

		*splits += 1;
		fetch_part(b, oids, results, half, splits);
		fetch_part(b, oids + half, results + half, count - half, splits);
		return;
	}
	for (size_t i = 0; i < count; i++)
		results[i] = result_of(b, &oids[i], r);
}

/* Take what is pending; false: nothing, or no memory (*ret_r). */
static bool take_round_locked(struct gitbatch *b, struct round *round)
{
	size_t max = b->config.take_max ? b->config.take_max : TAKE_MAX;
	size_t count = b->pending_count < max ? b->pending_count : max;

	*round = (struct round){.items = calloc(count ? count : 1, sizeof(struct item *))};
	if (count == 0 || !round->items) {
		while (count > 0 && !list_empty(&b->pending)) {
			struct item *item = list_entry(list_first(&b->pending), struct item, node);

			list_remove(&item->node);
			b->pending_count--;
			end_item_locked(b, item, -ENOMEM);
		}
		cond_broadcast(&b->changed);
		return false;
	}
	while (round->count < count) {
		struct item *item = list_entry(list_first(&b->pending), struct item, node);

		list_remove(&item->node);
		item->under_way = true;
		round->items[round->count++] = item;
	}
	b->pending_count -= count;
	return true;
}

static void end_round_locked(struct gitbatch *b, struct round *round, const int *results)
{
	for (size_t i = 0; i < round->count; i++)
		end_item_locked(b, round->items[i], results ? results[i] : -ENOMEM);
	cond_broadcast(&b->changed);
}

static void fetch_round(struct gitbatch *b, struct round *round)
{
	struct oid *oids = calloc(round->count, sizeof(*oids));
	int *results = calloc(round->count, sizeof(*results));
	unsigned splits = 0;

	for (size_t i = 0; oids && i < round->count; i++)
		oids[i] = round->items[i]->oid; /* const while it is under way */
	if (oids && results)
		fetch_part(b, oids, results, round->count, &splits);
	lock_acquire(&b->lock);
	end_round_locked(b, round, oids ? results : NULL);
	b->rounds--;
	lock_release(&b->lock);
	free(oids);
	free(results);
}

static void job(void *arg)
{
	struct gitbatch *b = arg;
	struct round round;
	bool more = true;

	while (more) {
		lock_acquire(&b->lock);
		if (b->rounds == 0 && b->pending_count > 0) {
			uint64_t until_ns = clock_after(&clock_system, b->config.window_ns);

			while (b->pending_count < TAKE_MAX &&
				cond_wait_until(&b->changed, &b->lock, until_ns))
				;
		}
		more = take_round_locked(b, &round);
		if (more)
			b->rounds++;
		else
			b->jobs--;
		lock_release(&b->lock);
		if (more)
			fetch_round(b, &round);
		free(round.items);
	}
}

/* Wait for one object: joined, or made pending. */
static int join_locked(struct gitbatch *b, const struct oid *oid, struct item **ret_item)
{
	struct item *item = find_locked(b, oid);
	int r;

	if (!item) {
		if (b->pending_count >= PENDING_MAX)
			return -EAGAIN;
		item = calloc(1, sizeof(*item));
		if (!item)
			return -ENOMEM;
		item->oid = *oid;
		r = insert_locked(b, item);
		if (r < 0) {
			free(item);
			return r;
		}
		list_push_back(&b->pending, &item->node);
		b->pending_count++;
	}
	item->waiters++;
	*ret_item = item;
	return 0;
}

/* One; or, if they are taken few at a time, as many as there is work for. */
static void start_jobs_locked(struct gitbatch *b)
{
	size_t take = b->config.take_max, wanted = b->pending_count ? 1 : 0;

	if (take)
		wanted = (b->pending_count + take - 1) / take;
	for (; wanted > 0 && b->jobs < b->config.threads; wanted--) {
		if (pool_submit(b->pool, job, b, false) < 0)
			return;
		b->jobs++;
	}
}

/* 0 if all are over and here; 1: not all are over. */
static int look_locked(struct item *const *items, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		if (!items[i]->over)
			return 1;
		if (r == 0)
			r = items[i]->result;
	}
	return r;
}

static int wait_locked(struct gitbatch *b, struct item *const *items, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	int r, over;

	while ((over = look_locked(items, count)) == 1) {
		uint64_t step_ns = clock_after(&clock_system, WAIT_STEP_NS);

		r = cancel_check(cancel, deadline_ns);
		if (r < 0)
			return r;
		(void)cond_wait_until(
			&b->changed, &b->lock, step_ns < deadline_ns ? step_ns : deadline_ns);
	}
	return over;
}

int gitbatch_get(struct gitbatch *b, const struct oid *oids, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct item **items = calloc(count ? count : 1, sizeof(*items));
	size_t joined = 0;
	int r = 0;

	if (!items)
		return -ENOMEM;
	lock_acquire(&b->lock);
	while (r == 0 && joined < count) {
		r = join_locked(b, &oids[joined], &items[joined]);
		if (r == 0)
			joined++;
	}
	start_jobs_locked(b);
	cond_broadcast(&b->changed); /* a job that waits for company looks whether it is enough */
	if (r == 0)
		r = wait_locked(b, items, joined, cancel, deadline_ns);
	while (joined > 0)
		leave_locked(b, items[--joined]);
	lock_release(&b->lock);
	free(items);
	return r;
}

int gitbatch_new(struct gitbatch **ret_batch, const struct gitbatch_config *config)
{
	const struct pool_config pool = {
		.name = "git-batch", .threads_max = config->threads, .queue_max = 64};
	struct gitbatch *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->config = *config;
	lock_init(&b->lock, LOCK_RANK_ORIGIN);
	cond_init(&b->changed);
	list_init(&b->pending);
	hashmap_init(&b->items);
	r = pool_new(&b->pool, &pool);
	if (r < 0) {
		gitbatch_free(b);
		return r;
	}
	*ret_batch = b;
	return 0;
}

struct gitbatch *gitbatch_free(struct gitbatch *b)
{
	if (!b)
		return NULL;
	if (b->pool)
		pool_free(b->pool);
	hashmap_fini(&b->items);
	cond_fini(&b->changed);
	lock_fini(&b->lock);
	free(b);
	return NULL;
}
