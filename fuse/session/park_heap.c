/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The array is allocated for the largest number of records at once, so that parking cannot fail for
 * want of a timer. A timer knows its place, which makes removal (the usual end: the fetch came)
 * logarithmic too.
 */
#include "session/park_heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int park_heap_init(struct park_heap *h, unsigned max)
{
	*h = (struct park_heap){.max = max};
	h->timer = calloc((size_t)max + 1, sizeof(*h->timer));
	return h->timer ? 0 : -ENOMEM;
}

void park_heap_fini(struct park_heap *h)
{
	free(h->timer);
	*h = (struct park_heap){0};
}

static void put(struct park_heap *h, unsigned i, struct park_timer *t)
{
	h->timer[i] = t;
	t->index = i;
}

static void sift_up(struct park_heap *h, unsigned i, struct park_timer *t)
{
	for (; i > 1 && h->timer[i / 2]->deadline_ns > t->deadline_ns; i /= 2)
		put(h, i, h->timer[i / 2]);
	put(h, i, t);
}

static void sift_down(struct park_heap *h, unsigned i, struct park_timer *t)
{
	for (unsigned child; (child = i * 2) <= h->count; i = child) {
		if (child < h->count &&
			h->timer[child + 1]->deadline_ns < h->timer[child]->deadline_ns)
			child++;
		if (h->timer[child]->deadline_ns >= t->deadline_ns)
			break;
		put(h, i, h->timer[child]);
	}
	put(h, i, t);
}

void park_heap_push(struct park_heap *h, struct park_timer *t)
{
	assert(h->count < h->max && t->index == 0);
	h->count++;
	sift_up(h, h->count, t);
}

void park_heap_remove(struct park_heap *h, struct park_timer *t)
{
	unsigned i = t->index;
	struct park_timer *last;

	if (i == 0)
		return;
	t->index = 0;
	last = h->timer[h->count];
	h->timer[h->count--] = NULL;
	if (last == t)
		return;
	if (i > 1 && h->timer[i / 2]->deadline_ns > last->deadline_ns)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

struct park_timer *park_heap_first(const struct park_heap *h)
{
	return h->count ? h->timer[1] : NULL;
}
