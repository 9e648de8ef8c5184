// SPDX-License-Identifier: Apache-2.0
/* See blob_redis_breaker.h. The clock is given, so that tests own the time. */
#include "blob/blob_redis_breaker.h"

#include "base/clock.h"

#define FAILURES_MAX 3
#define OPEN_MIN_NS  (250 * NS_PER_MS)
#define OPEN_MAX_NS  (10 * NS_PER_S)

void l3_breaker_init(struct l3_breaker *b, const struct clock *clock)
{
	*b = (struct l3_breaker){.clock = clock, .jitter = clock_mono_ns(clock) | 1};
	breaker_init(&b->b, FAILURES_MAX, OPEN_MIN_NS, OPEN_MAX_NS);
	lock_init(&b->mu, LOCK_RANK_LEAF);
}

void l3_breaker_fini(struct l3_breaker *b)
{
	lock_fini(&b->mu);
}

bool l3_breaker_allow(struct l3_breaker *b)
{
	uint64_t now_ns = clock_mono_ns(b->clock);

	LOCK_GUARD(&b->mu);
	return breaker_allows(&b->b, now_ns);
}

bool l3_breaker_succeeded(struct l3_breaker *b)
{
	LOCK_GUARD(&b->mu);
	return breaker_success(&b->b);
}

/* Up to a quarter later. */
static void spread_locked(struct l3_breaker *b)
{
	b->jitter ^= b->jitter << 13; /* xorshift */
	b->jitter ^= b->jitter >> 7;
	b->jitter ^= b->jitter << 17;
	b->b.retry_ns += b->jitter % (b->b.open_ns / 4);
}

bool l3_breaker_failed(struct l3_breaker *b)
{
	uint64_t now_ns = clock_mono_ns(b->clock);
	bool was_closed, opened;

	LOCK_GUARD(&b->mu);
	was_closed = b->b.state == BREAKER_CLOSED;
	opened = breaker_failure(&b->b, now_ns);
	if (opened)
		spread_locked(b);
	return opened && was_closed; /* a probe that failed changes nothing */
}

void l3_breaker_forget(struct l3_breaker *b)
{
	uint64_t now_ns = clock_mono_ns(b->clock);

	LOCK_GUARD(&b->mu);
	breaker_forget(&b->b, now_ns);
}

enum l3_state l3_breaker_state(struct l3_breaker *b)
{
	static const enum l3_state states[] = {[BREAKER_CLOSED] = L3_UP,
		[BREAKER_HALF_OPEN] = L3_PROBING,
		[BREAKER_OPEN] = L3_DOWN};

	LOCK_GUARD(&b->mu);
	return states[b->b.state];
}

const char *l3_state_word(enum l3_state state)
{
	static const char *const words[] = {
		[L3_UP] = "up", [L3_PROBING] = "probing", [L3_DOWN] = "down"};

	return words[state];
}
