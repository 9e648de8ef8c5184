/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines of leases, soonest first: a binary heap of nodes that are part of what they time. Times
 * are the monotonic clock's; what is stored is wall-clock time, and lease_after_restart turns one
 * into the other. Pure; the owner locks.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease_node {
	uint64_t due_ns;
	size_t place; /* index in the heap + 1; 0 = not in it */
};

struct lease_heap {
	struct lease_node **nodes;
	size_t count, cap;
};

#define LEASE_MIN_S 5u
#define LEASE_MAX_S 604800u
/* What is left of a lease, at least, when the daemon comes back: its client could not renew while
 * it was away. */
#define LEASE_GRACE_S 30u

void lease_heap_fini(struct lease_heap *h);
/* Room for `count` nodes in all: lease_heap_set cannot fail up to it. -ENOMEM. */
int lease_heap_reserve(struct lease_heap *h, size_t count);
/* Put in, or move to another time. Room must have been reserved. */
void lease_heap_set(struct lease_heap *h, struct lease_node *node, uint64_t due_ns);
/* Harmless for a node that is not in. */
void lease_heap_remove(struct lease_heap *h, struct lease_node *node);
/* The soonest; NULL: none. */
struct lease_node *lease_heap_first(const struct lease_heap *h);
/* Takes out the soonest if it is due at `now_ns`; NULL: none is. */
struct lease_node *lease_heap_pop_due(struct lease_heap *h, uint64_t now_ns);

/* The wall-clock end of a lease that is found at start: what was stored, but not sooner than the
 * grace time (or the lease, if that is shorter) from now, and not later than a whole lease from now
 * (a clock that was set back). */
uint64_t lease_after_restart(uint64_t stored_wall_ns, uint32_t lease_seconds, uint64_t now_wall_ns);
