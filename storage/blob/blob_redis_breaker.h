/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breaker of base/breaker.h as a server of Redis has it: with a lock, the given clock,
 * and jitter, so that nodes that lost Redis together do not come back together. It opens after
 * three failures in a row, for 250 ms doubling to 10 s. Any thread.
 */
#pragma once
#include "base/breaker.h"
#include "base/lock.h"

#include <stdbool.h>
#include <stdint.h>

struct clock;

/* From good to bad; also the value of the metric. */
enum l3_state { L3_UP, L3_PROBING, L3_DOWN };

struct l3_breaker {
	struct lock mu; /* LOCK_RANK_LEAF */
	const struct clock *clock;
	struct breaker b; /* guarded by mu */
	uint64_t jitter;  /* guarded by mu: state of a small generator */
};

void l3_breaker_init(struct l3_breaker *b, const struct clock *clock);
void l3_breaker_fini(struct l3_breaker *b);
/* May we ask? Whoever is told yes must say how it ended. */
bool l3_breaker_allow(struct l3_breaker *b);
/* True if this changed whether asking is allowed. */
bool l3_breaker_succeeded(struct l3_breaker *b);
bool l3_breaker_failed(struct l3_breaker *b);
/* It ended without saying anything of the server. */
void l3_breaker_forget(struct l3_breaker *b);
enum l3_state l3_breaker_state(struct l3_breaker *b);
const char *l3_state_word(enum l3_state state);
