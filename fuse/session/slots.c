/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One 64-bit word per slot decides everything: (generation << 32 | references). An odd generation
 * is alive. Taking a reference is one compare-and-swap that succeeds only on the generation of the
 * key; retiring makes the generation even and waits for the count to reach zero. Workers do this
 * once per request, so it takes no lock (the reason for atomics here).
 *
 * Threads: any. slots_retire blocks. The lock guards claiming and the wait, and is a leaf.
 */
#include "session/slots.h"

#include <base/lock.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct slot {
	_Atomic uint64_t state;  /* generation << 32 | references */
	struct session *session; /* const while the generation is odd; NULL: free to claim */
};

struct slots {
	struct lock lock;
	struct cond unused; /* a retired slot lost its last reference */
	struct slot slot[SLOTS_MAX];
};

static uint32_t generation_of(uint64_t state)
{
	return (uint32_t)(state >> 32);
}

static uint32_t references_of(uint64_t state)
{
	return (uint32_t)state;
}

static bool is_alive(uint64_t state)
{
	return generation_of(state) & 1;
}

struct slots *slots_new(void)
{
	struct slots *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	lock_init(&t->lock, LOCK_RANK_LEAF);
	cond_init(&t->unused);
	return t;
}

struct slots *slots_free(struct slots *t)
{
	if (!t)
		return NULL;
	cond_fini(&t->unused);
	lock_fini(&t->lock);
	free(t);
	return NULL;
}

int slots_claim(struct slots *t, struct session *s, uint64_t *ret_key)
{
	LOCK_GUARD(&t->lock);
	for (uint32_t i = 0; i < SLOTS_MAX; i++) {
		struct slot *slot = &t->slot[i];
		uint64_t state;

		if (slot->session)
			continue;
		state = atomic_load_explicit(
			&slot->state, memory_order_relaxed); /* claims are under the lock */
		slot->session = s;
		state += 1ull << 32;
		/* release: whoever sees the new generation sees the session behind it */
		atomic_store_explicit(&slot->state, state, memory_order_release);
		*ret_key = (uint64_t)i << 32 | generation_of(state);
		return 0;
	}
	return -EMFILE;
}

struct session *slots_ref(struct slots *t, uint64_t key)
{
	uint32_t index = (uint32_t)(key >> 32);
	struct slot *slot;
	uint64_t state;

	if (index >= SLOTS_MAX)
		return NULL;
	slot = &t->slot[index];
	state = atomic_load_explicit(&slot->state, memory_order_relaxed);
	do {
		if (generation_of(state) != (uint32_t)key || !is_alive(state))
			return NULL;
		/* acquire: pairs with the release in slots_claim */
	} while (!atomic_compare_exchange_weak_explicit(
		&slot->state, &state, state + 1, memory_order_acquire, memory_order_relaxed));
	return slot->session;
}

void slots_unref(struct slots *t, uint64_t key)
{
	struct slot *slot = &t->slot[key >> 32];
	/* release: what we did with the session is done before slots_retire sees the count drop */
	uint64_t state = atomic_fetch_sub_explicit(&slot->state, 1, memory_order_release) - 1;

	if (!is_alive(state) && references_of(state) == 0) {
		LOCK_GUARD(&t->lock);
		cond_broadcast(&t->unused);
	}
}

bool slots_retire(struct slots *t, uint64_t key, uint64_t deadline_ns)
{
	struct slot *slot = &t->slot[key >> 32];

	atomic_fetch_add_explicit(&slot->state, 1ull << 32,
		memory_order_relaxed); /* the generation; the wait below orders */
	LOCK_GUARD(&t->lock);
	/* acquire: pairs with the release in slots_unref */
	while (references_of(atomic_load_explicit(&slot->state, memory_order_acquire)) > 0)
		if (!cond_wait_until(&t->unused, &t->lock, deadline_ns))
			return false;
	slot->session = NULL;
	return true;
}
