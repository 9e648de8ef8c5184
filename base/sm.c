/* SPDX-License-Identifier: Apache-2.0 */
/* State machines over a const table of legal edges. Guarded by the lock of the object that embeds
 * the machine. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/sm.h"

void sm_init(struct sm *m, const struct sm_table *table, unsigned state)
{
	assert(table->state_count <= SM_STATES_MAX && state < table->state_count);
	*m = (struct sm){.table = table, .state = state};
}

bool sm_may(const struct sm *m, unsigned to)
{
	return to < m->table->state_count && (m->table->states[m->state].edges & SM_BIT(to));
}

int sm_move(struct sm *m, unsigned to)
{
	if (!sm_may(m, to))
		return -EINVAL;
	m->state = to;
	return 0;
}

const char *sm_name(const struct sm_table *table, unsigned state)
{
	return state < table->state_count ? table->states[state].name : "UNKNOWN";
}

int sm_parse(const struct sm_table *table, const char *name)
{
	for (unsigned i = 0; i < table->state_count; i++)
		if (strcmp(table->states[i].name, name) == 0)
			return (int)i;
	return -EINVAL;
}
