/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of parked requests by deadline, with removal from the middle. Not thread-safe: the
 * park's lock guards it. */
#pragma once
#include <stdint.h>

struct park_timer {
	uint64_t deadline_ns;
	unsigned index; /* in the heap, from 1; 0: in none */
};

struct park_heap {
	struct park_timer **timer; /* [1..count] */
	unsigned count, max;
};

int park_heap_init(struct park_heap *h, unsigned max);
void park_heap_fini(struct park_heap *h);
/* The heap has room: callers bound the number of timers by `max`. */
void park_heap_push(struct park_heap *h, struct park_timer *t);
/* Harmless for a timer that is in none. */
void park_heap_remove(struct park_heap *h, struct park_timer *t);
/* The earliest, or NULL. */
struct park_timer *park_heap_first(const struct park_heap *h);
