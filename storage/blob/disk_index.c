/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index is sixteen shards by the top bits of the hash, each with its lock. A shard keeps
 *entries in chunks that never move, and an open-addressed table of entry numbers over them (linear
 *probing, deletion by shifting back, so there are no tombstones). Free entries are chained through
 *`low`. Growth is bounded by the disk budget: an entry exists only for bytes on disk.
 *
 *	table[hash & mask] ──► number + 1 ──► chunk[number / 512][number % 512]
 *
 * Threads: any; each call takes one shard lock and holds it for a probe, or for one chunk when
 *visiting.
 */
#include "blob/disk_index.h"

#include "base/io.h"
#include "base/lock.h"
#include "blob/blob_hash.h"
#include "blob/disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SHARDS        16
#define CHUNK_ENTRIES 512
#define TABLE_MIN     64

struct entry {
	uint8_t key[DISK_KEY_BYTES];
	uint32_t segment;
	uint32_t low; /* offset in the segment; of a file: low bits of the size; free: number of the
			 next free entry */
	uint32_t high; /* size in the segment; of a file: high bits of the size */
	uint16_t used;
	uint8_t oid_len; /* 0 = free */
	uint8_t heat : 2;
	uint8_t proven : 1;
};
static_assert(sizeof(struct entry) == 36, "an entry and its table slot must stay within 48 bytes");

struct shard {
	struct lock lock;
	struct entry **chunk; /* all below guarded by lock */
	uint32_t chunk_count;
	uint32_t *table; /* entry number + 1; 0 = empty */
	uint32_t mask;
	uint32_t count;
	uint32_t free_head; /* entry number + 1 */
};

struct disk_index {
	struct blob_hash_key hash_key; /* const after init */
	struct shard shard[SHARDS];
};

struct disk_key disk_key(const struct oid *oid)
{
	struct disk_key key = {.oid_len = oid->len};

	memcpy(key.bytes, oid->bytes, DISK_KEY_BYTES);
	return key;
}

static struct entry *entry_at(const struct shard *s, uint32_t number)
{
	return &s->chunk[number / CHUNK_ENTRIES][number % CHUNK_ENTRIES];
}

static struct shard *shard_of(struct disk_index *ix, uint64_t hash)
{
	return &ix->shard[hash >> 60];
}

static void place_to_entry(struct entry *e, const struct disk_place *p)
{
	e->segment = p->segment;
	e->low = p->segment ? p->offset : (uint32_t)p->size;
	e->high = (uint32_t)(p->segment ? p->size : p->size >> 32);
	e->used = p->used;
	e->heat = (uint8_t)(p->heat & DISK_HEAT_MAX) & 3u;
	e->proven = p->proven;
}

static struct disk_place entry_to_place(const struct entry *e)
{
	return (struct disk_place){
		.segment = e->segment,
		.offset = e->segment ? e->low : 0,
		.size = e->segment ? e->high : (uint64_t)e->high << 32 | e->low,
		.proven = e->proven,
		.heat = e->heat,
		.used = e->used,
	};
}

/* The table slot that names `key`, or the empty one where it would go. */
static uint32_t probe(const struct shard *s, const struct disk_key *key, uint64_t hash)
{
	uint32_t slot = (uint32_t)hash & s->mask;

	for (; s->table[slot]; slot = (slot + 1) & s->mask) {
		const struct entry *e = entry_at(s, s->table[slot] - 1);

		if (e->oid_len == key->oid_len && memcmp(e->key, key->bytes, DISK_KEY_BYTES) == 0)
			break;
	}
	return slot;
}

static struct entry *find_locked(const struct shard *s, const struct disk_key *key, uint64_t hash)
{
	uint32_t slot = probe(s, key, hash);

	return s->table[slot] ? entry_at(s, s->table[slot] - 1) : NULL;
}

/* Keeps the load at or below 7/8. Linear probing at that load costs a few cache lines, and the
 * table 4.6 to 9.2 bytes a blob. */
static int table_reserve_locked(const struct disk_index *ix, struct shard *s)
{
	uint32_t size = s->mask + 1, *old = s->table;

	if (s->count < size / 8 * 7)
		return 0;
	s->table = calloc((size_t)size * 2, sizeof(*s->table));
	if (!s->table) {
		s->table = old;
		return s->count < size - 1 ? 0 : -ENOMEM; /* one empty slot must end every probe */
	}
	s->mask = size * 2 - 1;
	for (uint32_t i = 0; i < size; i++) {
		uint32_t slot;

		if (!old[i])
			continue;
		slot = (uint32_t)blob_hash(&ix->hash_key, entry_at(s, old[i] - 1)->key) & s->mask;
		while (s->table[slot])
			slot = (slot + 1) & s->mask;
		s->table[slot] = old[i];
	}
	free(old);
	return 0;
}

static int entry_reserve_locked(struct shard *s)
{
	struct entry **chunks, *chunk;
	uint32_t first = s->chunk_count * CHUNK_ENTRIES;

	if (s->free_head)
		return 0;
	if (first > UINT32_MAX - 2 * CHUNK_ENTRIES)
		return -ENOMEM;
	chunks = reallocarray(s->chunk, s->chunk_count + 1, sizeof(struct entry *));
	if (!chunks)
		return -ENOMEM;
	s->chunk = chunks;
	chunk = calloc(CHUNK_ENTRIES, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	s->chunk[s->chunk_count++] = chunk;
	for (uint32_t i = CHUNK_ENTRIES; i-- > 0;) {
		chunk[i].low = s->free_head;
		s->free_head = first + i + 1;
	}
	return 0;
}

/* Empty a slot and close the gap: a later entry moves back if its own home does not lie between the
 * gap and itself. */
static void remove_slot_locked(const struct disk_index *ix, struct shard *s, uint32_t gap)
{
	uint32_t number = s->table[gap] - 1;
	struct entry *e = entry_at(s, number);

	for (uint32_t at = (gap + 1) & s->mask; s->table[at]; at = (at + 1) & s->mask) {
		const uint8_t *key = entry_at(s, s->table[at] - 1)->key;
		uint32_t home = (uint32_t)blob_hash(&ix->hash_key, key) & s->mask;

		if (((at - home) & s->mask) >= ((at - gap) & s->mask)) {
			s->table[gap] = s->table[at];
			gap = at;
		}
	}
	s->table[gap] = 0;
	*e = (struct entry){.low = s->free_head};
	s->free_head = number + 1;
	s->count--;
}

int disk_index_new(struct disk_index **ret_index)
{
	struct disk_index *ix = calloc(1, sizeof(*ix));
	int r = 0;

	if (!ix)
		return -ENOMEM;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &ix->shard[i];

		lock_init(&s->lock, LOCK_RANK_BLOB_INDEX);
		s->table = calloc(TABLE_MIN, sizeof(*s->table));
		s->mask = TABLE_MIN - 1;
		if (!s->table)
			r = -ENOMEM;
	}
	if (r == 0)
		r = io_random(&ix->hash_key, sizeof(ix->hash_key));
	if (r < 0) {
		(void)disk_index_free(ix);
		return r;
	}
	*ret_index = ix;
	return 0;
}

struct disk_index *disk_index_free(struct disk_index *ix)
{
	if (!ix)
		return NULL;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &ix->shard[i];

		for (uint32_t c = 0; c < s->chunk_count; c++)
			free(s->chunk[c]);
		free(s->chunk);
		free(s->table);
		lock_fini(&s->lock);
	}
	free(ix);
	return NULL;
}

int disk_index_add(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	struct entry *e;
	uint32_t slot, number;
	int r;

	LOCK_GUARD(&s->lock);
	r = table_reserve_locked(ix, s);
	if (r < 0)
		return r;
	slot = probe(s, key, hash);
	if (s->table[slot])
		return -EEXIST;
	r = entry_reserve_locked(s);
	if (r < 0)
		return r;
	number = s->free_head - 1;
	e = entry_at(s, number);
	s->free_head = e->low;
	s->table[slot] = number + 1;
	s->count++;
	memcpy(e->key, key->bytes, DISK_KEY_BYTES);
	e->oid_len = key->oid_len;
	place_to_entry(e, place);
	return 0;
}

bool disk_index_find(
	struct disk_index *ix, const struct disk_key *key, struct disk_place *ret_place)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	const struct entry *e;

	LOCK_GUARD(&s->lock);
	e = find_locked(s, key, hash);
	if (e)
		*ret_place = entry_to_place(e);
	return e;
}

bool disk_index_use(struct disk_index *ix, const struct disk_key *key, uint16_t now,
	struct disk_hold *hold, struct disk_place *ret_place)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	struct entry *e;

	LOCK_GUARD(&s->lock);
	e = find_locked(s, key, hash);
	if (!e)
		return false;
	*ret_place = entry_to_place(e);
	e->used = now;
	if (e->heat < DISK_HEAT_MAX)
		e->heat = (e->heat + 1u) & 3u;
	hold->segment = e->segment ? hold->fn(hold->arg, e->segment) : NULL;
	return true;
}

static bool entry_is_at(const struct entry *e, const struct disk_place *place)
{
	struct disk_place is = entry_to_place(e);

	return is.segment == place->segment && is.offset == place->offset && is.size == place->size;
}

void disk_index_prove(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	struct entry *e;

	LOCK_GUARD(&s->lock);
	e = find_locked(s, key, hash);
	if (e && entry_is_at(e, place))
		e->proven = 1;
}

bool disk_index_drop(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	uint32_t slot;

	LOCK_GUARD(&s->lock);
	slot = probe(s, key, hash);
	if (!s->table[slot] || !entry_is_at(entry_at(s, s->table[slot] - 1), place))
		return false;
	remove_slot_locked(ix, s, slot);
	return true;
}

bool disk_index_move(struct disk_index *ix, const struct disk_key *key,
	const struct disk_place *place, const struct disk_place *to)
{
	uint64_t hash = blob_hash(&ix->hash_key, key->bytes);
	struct shard *s = shard_of(ix, hash);
	struct entry *e;

	LOCK_GUARD(&s->lock);
	e = find_locked(s, key, hash);
	if (!e || !entry_is_at(e, place))
		return false;
	place_to_entry(e, to);
	return true;
}

/* One chunk under the lock. False: there is no such chunk. */
static bool visit_chunk(
	struct disk_index *ix, struct shard *s, uint32_t chunk, disk_index_visit fn, void *arg)
{
	LOCK_GUARD(&s->lock);
	if (chunk >= s->chunk_count)
		return false;
	for (uint32_t i = 0; i < CHUNK_ENTRIES; i++) {
		const struct entry *e = &s->chunk[chunk][i];
		struct disk_key key = {.oid_len = e->oid_len};
		struct disk_place place;

		if (!e->oid_len)
			continue;
		memcpy(key.bytes, e->key, DISK_KEY_BYTES);
		place = entry_to_place(e);
		if (fn(arg, &key, &place))
			remove_slot_locked(
				ix, s, probe(s, &key, blob_hash(&ix->hash_key, key.bytes)));
	}
	return true;
}

void disk_index_each(struct disk_index *ix, disk_index_visit fn, void *arg)
{
	for (unsigned i = 0; i < SHARDS; i++)
		for (uint32_t chunk = 0; visit_chunk(ix, &ix->shard[i], chunk, fn, arg); chunk++)
			;
}

uint64_t disk_index_count(struct disk_index *ix)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		LOCK_GUARD(&ix->shard[i].lock);
		count += ix->shard[i].count;
	}
	return count;
}
