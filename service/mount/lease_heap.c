/* SPDX-License-Identifier: Apache-2.0 */
/* See lease_heap.h. */
#include "lease_heap.h"

#include <assert.h>
#include <base/clock.h>
#include <errno.h>
#include <stdlib.h>

void lease_heap_fini(struct lease_heap *h)
{
	free(h->nodes);
	*h = (struct lease_heap){0};
}

int lease_heap_reserve(struct lease_heap *h, size_t count)
{
	struct lease_node **grown;
	size_t cap = h->cap ? h->cap : 64;

	if (count <= h->cap)
		return 0;
	while (cap < count)
		cap *= 2;
	grown = reallocarray(h->nodes, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	h->nodes = grown;
	h->cap = cap;
	return 0;
}

static void put(struct lease_heap *h, size_t index, struct lease_node *node)
{
	h->nodes[index] = node;
	node->place = index + 1;
}

static void sift_up(struct lease_heap *h, size_t index)
{
	struct lease_node *node = h->nodes[index];

	while (index && h->nodes[(index - 1) / 2]->due_ns > node->due_ns) {
		put(h, index, h->nodes[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	put(h, index, node);
}

static void sift_down(struct lease_heap *h, size_t index)
{
	struct lease_node *node = h->nodes[index];

	for (;;) {
		size_t child = 2 * index + 1;

		if (child + 1 < h->count && h->nodes[child + 1]->due_ns < h->nodes[child]->due_ns)
			child++;
		if (child >= h->count || h->nodes[child]->due_ns >= node->due_ns)
			break;
		put(h, index, h->nodes[child]);
		index = child;
	}
	put(h, index, node);
}

void lease_heap_set(struct lease_heap *h, struct lease_node *node, uint64_t due_ns)
{
	lease_heap_remove(h, node);
	assert(h->count < h->cap);
	node->due_ns = due_ns;
	put(h, h->count++, node);
	sift_up(h, h->count - 1);
}

void lease_heap_remove(struct lease_heap *h, struct lease_node *node)
{
	size_t index = node->place - 1;
	struct lease_node *last;

	if (!node->place)
		return;
	node->place = 0;
	last = h->nodes[--h->count];
	if (last == node)
		return;
	put(h, index, last);
	sift_up(h, index);
	sift_down(h, last->place - 1);
}

struct lease_node *lease_heap_first(const struct lease_heap *h)
{
	return h->count ? h->nodes[0] : NULL;
}

struct lease_node *lease_heap_pop_due(struct lease_heap *h, uint64_t now_ns)
{
	struct lease_node *first = lease_heap_first(h);

	if (!first || first->due_ns > now_ns)
		return NULL;
	lease_heap_remove(h, first);
	return first;
}

uint64_t lease_after_restart(uint64_t stored_wall_ns, uint32_t lease_seconds, uint64_t now_wall_ns)
{
	uint64_t whole = lease_seconds * NS_PER_S;
	uint64_t grace = lease_seconds < LEASE_GRACE_S ? whole : LEASE_GRACE_S * NS_PER_S;

	if (stored_wall_ns < now_wall_ns + grace)
		return now_wall_ns + grace;
	if (stored_wall_ns > now_wall_ns + whole)
		return now_wall_ns + whole;
	return stored_wall_ns;
}
