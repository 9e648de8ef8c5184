/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing over a power of two. Every entry sits at or after its home slot with no empty
 * slot between (the invariant of linear probing); removal restores it by shifting later entries
 * back. Not thread-safe.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/hashmap.h"
#include "base/io.h"

#define CAP_MIN 16

/* Finalizer of MurmurHash3: every bit of the key reaches every bit of the index. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
	x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return x ^ (x >> 33);
}

static size_t home(const struct hashmap *m, uint64_t key)
{
	return (size_t)mix(mix(key ^ m->seed) + m->seed) & (m->cap - 1);
}

void hashmap_init(struct hashmap *m)
{
	*m = (struct hashmap){0};
	if (io_random(&m->seed, sizeof(m->seed)) < 0)
		m->seed = (uintptr_t)m; /* no entropy: still a good hash, only guessable */
}

void hashmap_fini(struct hashmap *m)
{
	if (!m)
		return;
	free(m->slots);
	*m = (struct hashmap){.seed = m->seed};
}

/* The slot of the key, or the empty one where it belongs. There is always an empty one. */
static struct hashmap_slot *probe(const struct hashmap *m, uint64_t key)
{
	size_t i = home(m, key);

	while (m->slots[i].value && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

static int resize(struct hashmap *m, size_t cap)
{
	struct hashmap bigger = {.cap = cap, .count = m->count, .seed = m->seed};

	bigger.slots = calloc(cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].value)
			*probe(&bigger, m->slots[i].key) = m->slots[i];
	free(m->slots);
	*m = bigger;
	return 0;
}

/* At most seven tenths full: beyond that, probes for absent keys get long. */
static bool fits(size_t count, size_t cap)
{
	return count <= cap / 10 * 7 + cap % 10 * 7 / 10;
}

int hashmap_reserve(struct hashmap *m, size_t more)
{
	size_t wanted, cap = m->cap ? m->cap : CAP_MIN;

	if (__builtin_add_overflow(m->count, more, &wanted))
		return -ENOMEM;
	while (!fits(wanted, cap))
		if (__builtin_mul_overflow(cap, 2u, &cap))
			return -ENOMEM;
	return cap == m->cap ? 0 : resize(m, cap);
}

int hashmap_insert(struct hashmap *m, uint64_t key, void *value)
{
	struct hashmap_slot *slot;
	int r;

	if (!value)
		return -EINVAL;
	if (m->cap && probe(m, key)->value)
		return -EEXIST;
	r = hashmap_reserve(m, 1);
	if (r < 0)
		return r;
	slot = probe(m, key);
	*slot = (struct hashmap_slot){key, value};
	m->count++;
	return 0;
}

void *hashmap_find(const struct hashmap *m, uint64_t key)
{
	return m->cap ? probe(m, key)->value : NULL;
}

/* Fill the hole with the next entry that may sit there, and go on with the hole that this leaves.
 */
static void close_gap(struct hashmap *m, size_t hole)
{
	size_t mask = m->cap - 1;

	for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
		/* an entry may move back to the hole unless its home lies between the hole and
		 * itself */
		if (((i - home(m, m->slots[i].key)) & mask) < ((i - hole) & mask))
			continue;
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole] = (struct hashmap_slot){0};
}

void *hashmap_remove(struct hashmap *m, uint64_t key)
{
	struct hashmap_slot *slot;
	void *value;

	if (!m->cap)
		return NULL;
	slot = probe(m, key);
	value = slot->value;
	if (!value)
		return NULL;
	close_gap(m, (size_t)(slot - m->slots));
	m->count--;
	if (m->cap > CAP_MIN && m->count < m->cap / 8)
		(void)resize(m, m->cap / 2); /* without memory it stays as large as it is */
	return value;
}

size_t hashmap_count(const struct hashmap *m)
{
	return m->count;
}

bool hashmap_next(const struct hashmap *m, struct hashmap_cursor *it)
{
	while (it->index < m->cap) {
		const struct hashmap_slot *slot = &m->slots[it->index++];

		if (!slot->value)
			continue;
		it->key = slot->key;
		it->value = slot->value;
		return true;
	}
	return false;
}
