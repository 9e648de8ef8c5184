// SPDX-License-Identifier: Apache-2.0
/* A binary heap of waiters by deadline. Each knows its place, so that any can be taken out. Guarded
 * by its owner's lock. */
#include "storage_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int deadline_heap_reserve(struct deadline_heap *h)
{
	size_t cap = h->cap ? h->cap * 2 : 64;
	struct waiter **slot;

	if (h->count < h->cap)
		return 0;
	slot = reallocarray(h->slot, cap, sizeof(struct waiter *));
	if (!slot)
		return -ENOMEM;
	h->slot = slot;
	h->cap = cap;
	return 0;
}

static void place(struct deadline_heap *h, size_t i, struct waiter *w)
{
	h->slot[i] = w;
	w->heap_index = i;
}

static void sift_up(struct deadline_heap *h, size_t i, struct waiter *w)
{
	while (i > 0 && h->slot[(i - 1) / 2]->deadline_ns > w->deadline_ns) {
		place(h, i, h->slot[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, w);
}

static void sift_down(struct deadline_heap *h, size_t i, struct waiter *w)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < h->count &&
			h->slot[child + 1]->deadline_ns < h->slot[child]->deadline_ns)
			child++;
		if (child >= h->count || h->slot[child]->deadline_ns >= w->deadline_ns)
			break;
		place(h, i, h->slot[child]);
		i = child;
	}
	place(h, i, w);
}

void deadline_heap_add(struct deadline_heap *h, struct waiter *w)
{
	assert(h->count < h->cap);
	h->count++;
	sift_up(h, h->count - 1, w);
}

void deadline_heap_remove(struct deadline_heap *h, struct waiter *w)
{
	size_t i = w->heap_index;
	struct waiter *last;

	assert(i < h->count && h->slot[i] == w);
	last = h->slot[--h->count];
	if (last == w)
		return;
	if (i > 0 && h->slot[(i - 1) / 2]->deadline_ns > last->deadline_ns)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

struct waiter *deadline_heap_first(const struct deadline_heap *h)
{
	return h->count ? h->slot[0] : NULL;
}

void deadline_heap_fini(struct deadline_heap *h)
{
	free(h->slot);
	*h = (struct deadline_heap){0};
}
