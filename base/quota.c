/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charge accounts. A charge walks from the account up to the top and adds itself at each step with
 * a compare-and-swap that never passes the limit; where a step refuses, the steps below are undone.
 * So the sum of the children never exceeds the parent's usage for longer than such an undo takes,
 * and no limit is ever passed. The price: while a charge that will be refused further up is not yet
 * undone, another one may be refused too; usage is then within one charge of the limit.
 *
 * All memory orders are relaxed: the numbers guard nothing but themselves.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/quota.h"

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

void quota_init(struct quota *q, struct quota *parent)
{
	q->parent = parent;
	for (int k = 0; k < QUOTA_KIND_COUNT; k++) {
		atomic_init(&q->used[k], 0);
		atomic_init(&q->limit[k], QUOTA_UNLIMITED);
		atomic_init(&q->refused[k], 0);
	}
}

void quota_fini(struct quota *q)
{
	if (!q)
		return;
	for (int k = 0; k < QUOTA_KIND_COUNT; k++)
		quota_release(q, (enum quota_kind)k, load(&q->used[k]));
}

void quota_set_limit(struct quota *q, enum quota_kind kind, uint64_t limit)
{
	atomic_store_explicit(&q->limit[kind], limit, memory_order_relaxed);
}

uint64_t quota_limit(const struct quota *q, enum quota_kind kind)
{
	return load(&q->limit[kind]);
}

uint64_t quota_used(const struct quota *q, enum quota_kind kind)
{
	return load(&q->used[kind]);
}

uint64_t quota_refused(const struct quota *q, enum quota_kind kind)
{
	return load(&q->refused[kind]);
}

uint64_t quota_available(const struct quota *q, enum quota_kind kind)
{
	uint64_t least = QUOTA_UNLIMITED;

	for (; q; q = q->parent) {
		uint64_t limit = load(&q->limit[kind]), used = load(&q->used[kind]);
		uint64_t here = limit > used ? limit - used : 0;

		if (limit != QUOTA_UNLIMITED && here < least)
			least = here;
	}
	return least;
}

/* Charge this account alone. False, and nothing changed, if it does not fit. */
static bool charge_one(struct quota *q, enum quota_kind kind, uint64_t amount)
{
	uint64_t used = load(&q->used[kind]), sum;

	do {
		if (__builtin_add_overflow(used, amount, &sum) || sum > load(&q->limit[kind]))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&q->used[kind], &used, sum, memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* Give back to this account alone. Returns what it really held of it. */
static uint64_t release_one(struct quota *q, enum quota_kind kind, uint64_t amount)
{
	uint64_t used = load(&q->used[kind]), back;

	do {
		back = amount < used ? amount : used;
	} while (!atomic_compare_exchange_weak_explicit(
		&q->used[kind], &used, used - back, memory_order_relaxed, memory_order_relaxed));
	return back;
}

int quota_charge(struct quota *q, enum quota_kind kind, uint64_t amount)
{
	if (amount == 0)
		return 0; /* takes nothing, so it fits even where the limit was lowered below the
			     usage */
	for (struct quota *at = q; at; at = at->parent) {
		if (charge_one(at, kind, amount))
			continue;
		atomic_fetch_add_explicit(&at->refused[kind], 1, memory_order_relaxed);
		for (struct quota *undo = q; undo != at; undo = undo->parent)
			(void)release_one(
				undo, kind, amount); /* charged above: all of it is there */
		return -EDQUOT;
	}
	return 0;
}

void quota_charge_force(struct quota *q, enum quota_kind kind, uint64_t amount)
{
	for (; q; q = q->parent) {
		uint64_t used = load(&q->used[kind]), sum;

		do {
			if (__builtin_add_overflow(used, amount, &sum))
				sum = UINT64_MAX;
		} while (!atomic_compare_exchange_weak_explicit(
			&q->used[kind], &used, sum, memory_order_relaxed, memory_order_relaxed));
	}
}

void quota_release(struct quota *q, enum quota_kind kind, uint64_t amount)
{
	for (; q && amount > 0; q = q->parent) {
		uint64_t back = release_one(q, kind, amount);

		assert(back == amount && "quota: more given back than was charged");
		amount = back; /* the parents never held more than that for us */
	}
}
