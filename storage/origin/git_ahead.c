/* SPDX-License-Identifier: Apache-2.0 */
/* See git_ahead.h. */
#include "origin/git_ahead.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GROWTH    4u
#define FORGET_NS (10 * NS_PER_S) /* a walk that pauses for so long starts again */

int gitahead_init(struct gitahead *a, unsigned window_min, unsigned window_max)
{
	*a = (struct gitahead){.stack = calloc(GITAHEAD_MAX, sizeof(struct oid)),
		.window = 0,
		.window_min = window_min,
		.window_max = window_max};
	return a->stack ? 0 : -ENOMEM;
}

void gitahead_fini(struct gitahead *a)
{
	free(a->stack);
	a->stack = NULL;
}

/* Its place on the stack, or `count`. The newest are the likeliest. */
static size_t find(const struct gitahead *a, const struct oid *tree)
{
	for (size_t i = a->count; i > 0; i--)
		if (oid_equal(&a->stack[i - 1], tree))
			return i - 1;
	return a->count;
}

static void push(struct gitahead *a, const struct oid *tree)
{
	if (a->count == GITAHEAD_MAX) { /* the older half goes */
		a->count = GITAHEAD_MAX / 2;
		memmove(a->stack, a->stack + a->count, a->count * sizeof(*a->stack));
	}
	a->stack[a->count++] = *tree;
}

void gitahead_listed(
	struct gitahead *a, const struct oid *tree, const struct oid *children, size_t count)
{
	size_t at = find(a, tree);

	if (at < a->count) {
		a->count--;
		memmove(a->stack + at, a->stack + at + 1, (a->count - at) * sizeof(*a->stack));
	}
	if (count > GITAHEAD_MAX / 2)
		count = GITAHEAD_MAX / 2;
	for (size_t i = count; i > 0; i--)
		push(a, &children[i - 1]);
}

unsigned gitahead_missed(struct gitahead *a, const struct oid *tree, uint64_t now_ns)
{
	bool expected = find(a, tree) < a->count && now_ns - a->last_ns < FORGET_NS;
	unsigned window = expected && a->window ? a->window * GROWTH : a->window_min;

	if (!expected)
		window = a->window_min;
	a->window = window < a->window_max ? window : a->window_max;
	a->last_ns = now_ns;
	return a->window;
}

size_t gitahead_next(
	const struct gitahead *a, const struct oid *tree, struct oid *ret_trees, size_t cap)
{
	size_t at = find(a, tree), count = 0;

	for (size_t i = at; i > 0 && count < cap; i--)
		ret_trees[count++] = a->stack[i - 1];
	return count;
}
