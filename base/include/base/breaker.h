/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A circuit breaker: whoever has failed often enough in a row is left alone for a while, then asked
 * once, and is believed again when that succeeds.
 *
 *	CLOSED ── failures_max in a row ──► OPEN ── open_ns later ──► HALF_OPEN (one trial)
 *	   ▲                                 ▲                            │
 *	   └──────────── success ────────────┼──────────── failure ◄──────┘
 *	                                open_ns doubles, up to open_max_ns
 *
 * Time comes from the caller. Pure; guarded by the lock of the object that embeds it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
	unsigned failures_max; /* const after init */
	uint64_t open_min_ns, open_max_ns;
	enum breaker_state state;
	unsigned failures; /* in a row */
	uint64_t open_ns;  /* how long it stays open */
	uint64_t retry_ns; /* when it becomes half open; of a trial: when that counts as lost */
};

void breaker_init(
	struct breaker *b, unsigned failures_max, uint64_t open_min_ns, uint64_t open_max_ns);
/* Whether to try now. Half open, the first who asks gets the trial and must tell how it ended;
 * others are refused until then, or until the trial has lasted longer than open_max_ns. */
bool breaker_allows(struct breaker *b, uint64_t now_ns);
/* It answered, whatever it said. True: this closed the breaker. */
bool breaker_success(struct breaker *b);
/* It did not. True: this opened the breaker. */
bool breaker_failure(struct breaker *b, uint64_t now_ns);
/* The trial was given up without an answer: the next who asks gets it. */
void breaker_forget(struct breaker *b, uint64_t now_ns);
