/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of a tenant's workspaces, of which node ids are made: 1 .. SERIAL_MAX in a circle. A
 * number comes again after all the others, and never while its workspace is there. What is
 * journaled may lag behind by the creations that were under way, so "later" is only told of numbers
 * that are near. Pure; the owner locks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define SERIAL_MAX  ((1u << 23) - 1)
#define SERIAL_NEAR (1u << 16) /* far more than creations can be under way at once */

struct serial_counter {
	uint32_t last;  /* given out; 0: none yet */
	uint32_t clear; /* so many after it are known to be free */
};

/* How many steps from `from` (0: from before the first) to `to`: 1 .. SERIAL_MAX. */
uint32_t serial_distance(uint32_t from, uint32_t to);
/* `a` was given out after `b`, which may be 0, and not long after. False for what is no
 * serial. */
bool serial_is_later(uint32_t a, uint32_t b);
/* This one was given out too. */
void serial_note(struct serial_counter *c, uint32_t serial);

/* Steps from `after` to the nearest number in use; 0: none is. */
typedef uint32_t (*serial_nearest)(void *arg, uint32_t after);
/* The next free one; 0: all are in use. Asks `nearest` (which must not come back to the counter)
 * only when nothing is known any more. */
uint32_t serial_give(struct serial_counter *c, serial_nearest nearest, void *arg);
