/* SPDX-License-Identifier: Apache-2.0 */
/* Atomic reference count. The last ref_put returns true and sees everything the other holders
 * wrote. */
#pragma once
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ref {
	_Atomic uint32_t count;
};

static inline void ref_init(struct ref *r)
{
	atomic_init(&r->count, 1);
}

static inline void ref_get(struct ref *r)
{
	/* relaxed: the caller already holds a reference, so the object cannot go away meanwhile */
	uint32_t old = atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);

	assert(old > 0 && old < UINT32_MAX);
	(void)old;
}

/* Take a reference unless the count is already zero (object found in a table, not yet removed). */
static inline bool ref_try_get(struct ref *r)
{
	uint32_t old = atomic_load_explicit(&r->count, memory_order_relaxed);

	while (old)
		if (atomic_compare_exchange_weak_explicit(
			    &r->count, &old, old + 1, memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

static inline bool ref_put(struct ref *r)
{
	/* release: our writes before; acquire in the last holder: everyone's writes, before it
	 * frees */
	uint32_t old = atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel);

	assert(old > 0);
	return old == 1;
}
