/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory tier: small blobs in a few shards, each a hash table and an LRU list under one lock.
 * The budget counts bookkeeping too. A reader takes a reference under the lock and copies outside
 * it, so an entry may outlive its eviction by one memcpy.
 *
 * Threads: any; no call blocks or does I/O.
 */
#include "base/io.h"
#include "base/ref.h"
#include "blob/blob_internal.h"

#include <errno.h>
#include <stdlib.h>

#define SHARDS_MAX      16
#define SHARD_BYTES_MIN (4ull << 20)
#define BUCKETS_MAX     (1u << 16)
#define MALLOC_OVERHEAD 16

struct item {
	struct ref ref;
	struct list lru;
	struct item *next; /* in its bucket */
	struct oid oid;
	uint32_t size;
	uint8_t data[];
};

struct shard {
	struct lock lock;
	struct list lru; /* most recent first; all guarded by lock */
	struct item **bucket;
	uint64_t bytes, count;
};

struct blob_mem {
	struct blob_hash_key hash_key; /* all const after init, but what the shards' locks guard */
	uint64_t shard_budget;
	uint32_t item_max, bucket_mask;
	unsigned shard_count;
	struct blob_counters counters;
	struct shard shard[SHARDS_MAX];
};

static uint64_t item_cost(size_t size)
{
	return sizeof(struct item) + size + MALLOC_OVERHEAD;
}

static void item_put(struct item *it)
{
	if (ref_put(&it->ref))
		free(it);
}

static struct shard *shard_of(struct blob_mem *m, uint64_t hash)
{
	return &m->shard[(hash >> 60) % m->shard_count];
}

/* The link that points to the item, or the end of its bucket. */
static struct item **find_locked(
	const struct blob_mem *m, struct shard *s, const struct oid *oid, uint64_t hash)
{
	struct item **link = &s->bucket[hash & m->bucket_mask];

	while (*link && !oid_equal(&(*link)->oid, oid))
		link = &(*link)->next;
	return link;
}

static void remove_locked(struct shard *s, struct item **link)
{
	struct item *it = *link;

	*link = it->next;
	list_remove(&it->lru);
	s->bytes -= item_cost(it->size);
	s->count--;
	item_put(it);
}

static uint64_t evict_last_locked(struct blob_mem *m, struct shard *s)
{
	struct item *last = list_entry(list_last(&s->lru), struct item, lru);
	uint64_t cost = item_cost(last->size);

	remove_locked(s, find_locked(m, s, &last->oid, blob_hash(&m->hash_key, last->oid.bytes)));
	counter_add(m->counters.evictions, 1);
	counter_add(m->counters.evicted_bytes, cost);
	return cost;
}

static struct item *take(struct blob_mem *m, const struct oid *oid)
{
	uint64_t hash = blob_hash(&m->hash_key, oid->bytes);
	struct shard *s = shard_of(m, hash);
	struct item *it;

	LOCK_GUARD(&s->lock);
	it = *find_locked(m, s, oid, hash);
	if (it) {
		list_remove(&it->lru);
		list_push_front(&s->lru, &it->lru);
		ref_get(&it->ref);
	}
	return it;
}

static ssize_t mem_read(void *impl, const struct oid *oid, void *buf, size_t len, uint64_t offset,
	struct blob_hit *ret_hit)
{
	struct blob_mem *m = impl;
	struct item *it = take(m, oid);

	if (!it) {
		counter_add(m->counters.misses, 1);
		return -EAGAIN;
	}
	if (offset >= it->size)
		len = 0;
	else if (len > it->size - offset)
		len = it->size - offset;
	if (len)
		memcpy(buf, it->data + offset, len);
	*ret_hit = (struct blob_hit){.size = it->size};
	item_put(it);
	counter_add(m->counters.hits, 1);
	return (ssize_t)len;
}

static bool mem_has(void *impl, const struct oid *oid)
{
	struct blob_mem *m = impl;
	uint64_t hash = blob_hash(&m->hash_key, oid->bytes);
	struct shard *s = shard_of(m, hash);

	LOCK_GUARD(&s->lock);
	return *find_locked(m, s, oid, hash);
}

static int mem_put(void *impl, const struct oid *oid, const void *data, size_t len)
{
	struct blob_mem *m = impl;
	uint64_t hash = blob_hash(&m->hash_key, oid->bytes), cost = item_cost(len);
	struct shard *s = shard_of(m, hash);
	struct item *it, **link;

	if (len > m->item_max)
		return -EFBIG;
	if (cost > m->shard_budget)
		return -ENOSPC;
	it = malloc(sizeof(*it) + len);
	if (!it)
		return -ENOMEM;
	*it = (struct item){.oid = *oid, .size = (uint32_t)len};
	ref_init(&it->ref);
	if (len)
		memcpy(it->data, data, len);
	LOCK_GUARD(&s->lock);
	if (*find_locked(m, s, oid, hash)) {
		free(it);
		return 0;
	}
	while (s->bytes + cost > m->shard_budget)
		(void)evict_last_locked(m, s);
	link = &s->bucket[hash & m->bucket_mask];
	it->next = *link;
	*link = it;
	list_push_front(&s->lru, &it->lru);
	s->bytes += cost;
	s->count++;
	return 0;
}

static void mem_drop(void *impl, const struct oid *oid)
{
	struct blob_mem *m = impl;
	uint64_t hash = blob_hash(&m->hash_key, oid->bytes);
	struct shard *s = shard_of(m, hash);
	struct item **link;

	LOCK_GUARD(&s->lock);
	link = find_locked(m, s, oid, hash);
	if (*link)
		remove_locked(s, link);
}

static int mem_evict(void *impl, uint64_t want_bytes, uint64_t *ret_freed)
{
	struct blob_mem *m = impl;
	uint64_t freed = 0;

	for (unsigned i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shard[i];
		uint64_t share = want_bytes / m->shard_count + 1, here = 0;

		LOCK_GUARD(&s->lock);
		while (here < share && !list_empty(&s->lru))
			here += evict_last_locked(m, s);
		freed += here;
	}
	*ret_freed = freed;
	return 0;
}

static void mem_stats(void *impl, struct blob_tier_stats *ret_stats)
{
	struct blob_mem *m = impl;

	blob_counters_get(&m->counters, ret_stats);
	ret_stats->budget_bytes = m->shard_budget * m->shard_count;
	for (unsigned i = 0; i < m->shard_count; i++) {
		LOCK_GUARD(&m->shard[i].lock);
		ret_stats->blobs += m->shard[i].count;
		ret_stats->bytes += m->shard[i].bytes;
	}
}

static void mem_close(void *impl)
{
	struct blob_mem *m = impl;

	for (unsigned i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shard[i];

		while (!list_empty(&s->lru)) {
			struct item *it = list_entry(list_first(&s->lru), struct item, lru);

			list_remove(&it->lru);
			item_put(it);
		}
		free(s->bucket);
		lock_fini(&s->lock);
	}
	free(m);
}

static const struct blob_tier_ops mem_ops = {
	.name = "memory",
	.close = mem_close,
	.read = mem_read,
	.has = mem_has,
	.put = mem_put,
	.drop = mem_drop,
	.evict = mem_evict,
	.stats = mem_stats,
};

static const struct blob_tier_ops spill_ops = {
	.name = "spill",
	.close = mem_close,
	.read = mem_read,
	.has = mem_has,
	.put = mem_put,
	.drop = mem_drop,
	.evict = mem_evict,
	.stats = mem_stats,
};

/* One bucket for 2 KiB of budget: chains stay short for blobs of a usual size, and 1/256 of the
 * budget goes to the table. */
static uint32_t bucket_count(uint64_t shard_budget)
{
	uint32_t count = 64;

	while (count < BUCKETS_MAX && count * 2048ull < shard_budget)
		count *= 2;
	return count;
}

static int mem_new(
	struct blob_mem **ret_mem, uint64_t budget_bytes, unsigned shards, uint32_t item_max)
{
	struct blob_mem *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return -ENOMEM;
	m->shard_count = shards;
	m->shard_budget = budget_bytes / m->shard_count;
	m->item_max = item_max;
	m->bucket_mask = bucket_count(m->shard_budget) - 1;
	for (unsigned i = 0; i < m->shard_count; i++) {
		struct shard *s = &m->shard[i];

		lock_init(&s->lock, LOCK_RANK_BLOB_TIER);
		list_init(&s->lru);
		s->bucket = calloc(m->bucket_mask + 1, sizeof(struct item *));
		if (!s->bucket)
			r = -ENOMEM;
	}
	if (r == 0)
		r = io_random(&m->hash_key, sizeof(m->hash_key));
	if (r < 0) {
		mem_close(m);
		return r;
	}
	*ret_mem = m;
	return 0;
}

int blob_mem_new(struct blob_tier *ret_tier, uint64_t budget_bytes, uint32_t item_max,
	struct metrics *metrics)
{
	struct blob_mem *m;
	unsigned shards = 1;
	int r;

	while (shards < SHARDS_MAX && budget_bytes / shards > SHARD_BYTES_MIN)
		shards *= 2;
	r = mem_new(&m, budget_bytes, shards, item_max);
	if (r < 0)
		return r;
	blob_counters_init(&m->counters, metrics, mem_ops.name);
	*ret_tier = (struct blob_tier){.ops = &mem_ops, .impl = m};
	return 0;
}

/* One shard: it holds a few large blobs. */
int blob_spill_new(struct blob_tier *ret_tier, uint64_t budget_bytes, struct metrics *metrics)
{
	uint64_t item_max = budget_bytes / 4;
	struct blob_mem *m;
	int r;

	r = mem_new(&m, budget_bytes, 1,
		item_max < UINT32_MAX / 2 ? (uint32_t)item_max : UINT32_MAX / 2);
	if (r < 0)
		return r;
	blob_counters_init(&m->counters, metrics, spill_ops.name);
	*ret_tier = (struct blob_tier){.ops = &spill_ops, .impl = m};
	return 0;
}
