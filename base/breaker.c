/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breaker; see breaker.h for the states. No threads, no clock of its own. */
#include "base/breaker.h"

void breaker_init(
	struct breaker *b, unsigned failures_max, uint64_t open_min_ns, uint64_t open_max_ns)
{
	*b = (struct breaker){
		.failures_max = failures_max,
		.open_min_ns = open_min_ns,
		.open_max_ns = open_max_ns,
		.open_ns = open_min_ns,
	};
}

static uint64_t later(uint64_t now_ns, uint64_t delta_ns)
{
	return now_ns > UINT64_MAX - delta_ns ? UINT64_MAX : now_ns + delta_ns;
}

bool breaker_allows(struct breaker *b, uint64_t now_ns)
{
	if (b->state == BREAKER_CLOSED)
		return true;
	if (now_ns < b->retry_ns)
		return false;
	/* Half open with a trial that never reported: its time is over too. */
	b->state = BREAKER_HALF_OPEN;
	b->retry_ns = later(now_ns, b->open_max_ns);
	return true;
}

bool breaker_success(struct breaker *b)
{
	bool closed = b->state != BREAKER_CLOSED;

	b->state = BREAKER_CLOSED;
	b->failures = 0;
	b->open_ns = b->open_min_ns;
	return closed;
}

bool breaker_failure(struct breaker *b, uint64_t now_ns)
{
	if (b->state == BREAKER_OPEN) /* one that was under way when it opened */
		return false;
	if (b->state == BREAKER_HALF_OPEN) {
		b->open_ns = b->open_ns > b->open_max_ns / 2 ? b->open_max_ns : b->open_ns * 2;
	} else if (++b->failures < b->failures_max) {
		return false;
	}
	b->state = BREAKER_OPEN;
	b->retry_ns = later(now_ns, b->open_ns);
	return true;
}

void breaker_forget(struct breaker *b, uint64_t now_ns)
{
	if (b->state == BREAKER_HALF_OPEN)
		b->retry_ns = now_ns;
}
