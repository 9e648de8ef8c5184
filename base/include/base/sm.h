/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table-driven state machine: states by number with names, legal edges as bit sets, and a hook that
 * sees every move. The table is const and shared; the machine is embedded in what it describes and
 * guarded by that object's lock.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define SM_STATES_MAX 32
#define SM_BIT(s)     (1u << (s))

struct sm_state {
	const char *name;
	uint32_t edges; /* SM_BIT of every state that may follow */
};

struct sm_table {
	const char *name;
	const struct sm_state *states;
	unsigned state_count;
};

struct sm {
	const struct sm_table *table;
	unsigned state;
};

void sm_init(struct sm *m, const struct sm_table *table, unsigned state);
bool sm_may(const struct sm *m, unsigned to);
/* Move along a legal edge. -EINVAL, and no move, if there is none. */
int sm_move(struct sm *m, unsigned to);
const char *sm_name(const struct sm_table *table, unsigned state);
/* State by name, or -EINVAL. */
int sm_parse(const struct sm_table *table, const char *name);
