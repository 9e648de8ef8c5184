/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out what disk_evict.c decides. A round is three passes over the index, however many
 * segments go:
 * 1. how warm is every segment, and which files are cold;  2. which blobs in the chosen segments
 * are hot: they are copied to the open segment, while readers go on;  3. drop what is left in them,
 * then their files. A pin is taken under the index lock that pass 3 holds for the entry, so a
 * pinned blob is never dropped.
 *
 * Runs on the thread that needs the room, one at a time. Memory is bounded by the batch sizes here,
 * not by the store.
 */
#include "base/cleanup.h"
#include "blob/disk_evict.h"
#include "blob/disk_tier.h"

#include <errno.h>
#include <stdlib.h>

#define ROUNDS_MAX 64
#define HOT_MAX    8192

enum slot_state { SLOT_KEPT, SLOT_CHOSEN, SLOT_PINNED };

struct hot_blob {
	struct disk_key key;
	struct disk_place place;
};

struct round {
	struct disk_tier *tier;
	struct disk_evict_plan plan;
	uint16_t *warmth; /* per slot: tick of the last read in it */
	uint8_t *slot_state;
	struct hot_blob *hot;
	unsigned hot_count;
	uint64_t hot_bytes, hot_bytes_max;
	uint64_t dropped;
};

static bool visit_warmth(void *arg, const struct disk_key *key, const struct disk_place *place)
{
	struct round *round = arg;
	struct disk_candidate c = {
		.bytes = disk_file_cost(place->size),
		.used = place->used,
		.key = *key,
		.size = place->size,
	};

	if (!place->segment)
		disk_evict_offer(&round->plan, &c);
	else if (round->warmth[place->segment] < place->used)
		round->warmth[place->segment] = place->used;
	return false;
}

static bool visit_hot(void *arg, const struct disk_key *key, const struct disk_place *place)
{
	struct round *round = arg;

	if (!place->segment || round->slot_state[place->segment] != SLOT_CHOSEN ||
		place->heat < DISK_EVICT_HOT || place->size > round->tier->small_max)
		return false;
	if (round->hot_count == HOT_MAX || round->hot_bytes + place->size > round->hot_bytes_max)
		return false;
	round->hot[round->hot_count++] = (struct hot_blob){*key, *place};
	round->hot_bytes += disk_log_cost(place->size);
	return false;
}

static bool visit_drop(void *arg, const struct disk_key *key, const struct disk_place *place)
{
	struct round *round = arg;

	(void)key;
	if (!place->segment || round->slot_state[place->segment] != SLOT_CHOSEN)
		return false;
	if (disk_log_pinned(round->tier->log, place->segment)) {
		round->slot_state[place->segment] = SLOT_PINNED;
		return false;
	}
	round->dropped++;
	return true;
}

/* Copy one blob to the open segment. What cannot be carried is dropped like the rest. */
static void carry(struct disk_tier *t, const struct hot_blob *hot, uint8_t *buf)
{
	struct disk_hold hold = {.fn = disk_log_hold, .arg = t->log};
	uint64_t cost = disk_log_cost(hot->place.size);
	struct disk_append append = {
		.len = hot->place.size, .used = hot->place.used, .from = &hot->place};
	struct disk_place now;
	struct oid oid;
	const uint8_t *data;
	bool stored = false;

	if (!disk_index_use(t->index, &hot->key, hot->place.used, &hold, &now))
		return;
	if (now.segment == hot->place.segment && now.offset == hot->place.offset &&
		disk_segment_load(hold.segment, &hot->key, &hot->place, buf, &oid, &data) == 0 &&
		disk_space_reserve(&t->space, cost) == 0) {
		append.oid = &oid;
		append.data = data;
		(void)disk_log_append(t->log, &append, &stored); /* see above */
		if (!stored)
			disk_space_release(&t->space, cost);
	}
	if (hold.segment)
		disk_handle_put(&hold.segment->handle);
}

static void carry_all(struct round *round)
{
	_cleanup_free_ uint8_t *buf = malloc(disk_record_bytes(round->tier->small_max));

	round->hot_count = 0;
	round->hot_bytes = 0;
	disk_index_each(round->tier->index, visit_hot, round);
	for (unsigned i = 0; buf && i < round->hot_count; i++)
		carry(round->tier, &round->hot[i], buf);
}

static void choose(struct round *round)
{
	uint32_t slots = disk_log_slots(round->tier->log);

	memset(round->warmth, 0, slots * sizeof(*round->warmth));
	memset(round->slot_state, SLOT_KEPT, slots);
	disk_index_each(round->tier->index, visit_warmth, round);
	for (uint32_t slot = 1; slot < slots; slot++) {
		struct disk_candidate c = {.segment = slot, .used = round->warmth[slot]};

		if (disk_log_evictable(round->tier->log, slot, &c.bytes, &c.order))
			disk_evict_offer(&round->plan, &c);
	}
}

/* One that is pinned or gone frees nothing, and says 0. */
static uint64_t evict_file(struct round *round, const struct disk_candidate *c)
{
	struct disk_place place = {.size = c->size};
	uint64_t bytes;

	if (disk_files_remove(round->tier->files, &c->key, &place, false, &bytes) < 0)
		return 0;
	round->dropped++;
	return bytes;
}

/* Coldest first, until it is enough: files go at once, segments are chosen. A file that cannot go
 * is passed over, so that the next coldest takes its place. */
static uint64_t evict_files(struct round *round, uint64_t *ret_chosen)
{
	uint64_t freed = 0, chosen = 0;

	for (unsigned i = 0; i < round->plan.count && freed + chosen < round->plan.want_bytes;
		i++) {
		const struct disk_candidate *c = &round->plan.heap[i];

		if (!c->segment) {
			freed += evict_file(round, c);
			continue;
		}
		round->slot_state[c->segment] = SLOT_CHOSEN;
		chosen += c->bytes;
	}
	*ret_chosen = chosen;
	return freed;
}

/* *ret_pinned: one of them has been pinned since it was chosen, and stays. */
static uint64_t evict_segments(struct round *round, uint64_t chosen, bool *ret_pinned)
{
	struct disk_tier *t = round->tier;
	uint64_t freed = 0;

	*ret_pinned = false;
	if (!chosen)
		return 0;
	round->hot_bytes_max = chosen / 4; /* eviction must free more than it copies */
	carry_all(round);
	disk_index_each(t->index, visit_drop, round);
	for (uint32_t slot = 1; slot < disk_log_slots(t->log); slot++) {
		if (round->slot_state[slot] == SLOT_CHOSEN)
			freed += disk_log_remove(t->log, slot);
		*ret_pinned = *ret_pinned || round->slot_state[slot] == SLOT_PINNED;
	}
	return freed > round->hot_bytes ? freed - round->hot_bytes : 0;
}

static int round_alloc(struct round **ret_round, struct disk_tier *t)
{
	struct round *round = calloc(1, sizeof(*round));
	uint32_t slots = disk_log_slots(t->log);

	if (!round)
		return -ENOMEM;
	*ret_round = round;
	round->tier = t;
	round->warmth = calloc(slots, sizeof(*round->warmth));
	round->slot_state = calloc(slots, 1);
	round->hot = reallocarray(NULL, HOT_MAX, sizeof(*round->hot));
	return round->warmth && round->slot_state && round->hot ? 0 : -ENOMEM;
}

static void round_free(struct round **round)
{
	if (!*round)
		return;
	free((*round)->warmth);
	free((*round)->slot_state);
	free((*round)->hot);
	free(*round);
}

int disk_reclaim(struct disk_tier *t, uint64_t want_bytes, uint64_t *ret_freed)
{
	__attribute__((cleanup(round_free))) struct round *round = NULL;
	uint64_t freed = 0;
	int r;

	r = round_alloc(&round, t);
	if (r < 0)
		return r;
	LOCK_GUARD(&t->reclaim_lock);
	for (unsigned i = 0; i < ROUNDS_MAX && freed < want_bytes; i++) {
		uint64_t before = freed, chosen;
		bool pinned;

		disk_evict_begin(&round->plan, want_bytes - freed);
		choose(round);
		disk_evict_sort(&round->plan);
		freed += evict_files(round, &chosen);
		freed += evict_segments(round, chosen, &pinned);
		if (freed == before && !pinned) /* the next round looks for others */
			break;
	}
	counter_add(t->counters.evictions, round->dropped);
	counter_add(t->counters.evicted_bytes, freed);
	*ret_freed = freed;
	return 0;
}
