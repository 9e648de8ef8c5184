/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_serial.h. New numbers are only made here, so what lies before the nearest one in use
 * stays free until it is given out: one look at all mounts serves for as long as that lasts, which
 * in the first round is for all of it. */
#include "mount_serial.h"

uint32_t serial_distance(uint32_t from, uint32_t to)
{
	return to > from ? to - from : to + SERIAL_MAX - from;
}

bool serial_is_later(uint32_t a, uint32_t b)
{
	return a && a <= SERIAL_MAX && a != b &&
	       serial_distance(b, a) <= (b ? SERIAL_NEAR : SERIAL_MAX);
}

void serial_note(struct serial_counter *c, uint32_t serial)
{
	if (!serial_is_later(serial, c->last))
		return;
	c->last = serial;
	c->clear = 0;
}

uint32_t serial_give(struct serial_counter *c, serial_nearest nearest, void *arg)
{
	for (uint32_t tried = 0; tried < SERIAL_MAX && !c->clear; tried++) {
		uint32_t steps = nearest(arg, c->last);

		c->clear = steps ? steps - 1 : SERIAL_MAX;
		if (!c->clear)
			c->last = c->last % SERIAL_MAX + 1;
	}
	if (!c->clear)
		return 0;
	c->clear--;
	c->last = c->last % SERIAL_MAX + 1;
	return c->last;
}
