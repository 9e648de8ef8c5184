// SPDX-License-Identifier: Apache-2.0
/* See blob_redis_queue.h. */
#include "blob/blob_redis_queue.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

struct l3_item *l3_item_new(
	enum l3_item_kind kind, const struct oid *oid, const void *data, size_t len)
{
	struct l3_item *item = malloc(sizeof(*item) + len);

	if (!item)
		return NULL;
	*item = (struct l3_item){.kind = kind, .oid = *oid, .len = len};
	list_init(&item->node);
	if (data && len)
		memcpy(item->data, data, len);
	return item;
}

void l3_queue_init(struct l3_queue *q, uint64_t bytes_max)
{
	*q = (struct l3_queue){.bytes_max = bytes_max};
	lock_init(&q->mu, LOCK_RANK_BLOB_TIER);
	cond_init(&q->changed);
	list_init(&q->items);
}

void l3_queue_fini(struct l3_queue *q)
{
	list_for_each_safe (it, &q->items) {
		list_remove(it);
		free(list_entry(it, struct l3_item, node));
	}
	cond_fini(&q->changed);
	lock_fini(&q->mu);
}

static size_t charge_of(const struct l3_item *item)
{
	return sizeof(*item) + item->len;
}

bool l3_queue_push(struct l3_queue *q, struct l3_item *item)
{
	bool room;

	lock_acquire(&q->mu);
	room = !q->stopping && q->count < L3_QUEUE_ITEMS_MAX &&
	       q->bytes + charge_of(item) <= q->bytes_max;
	if (room) {
		list_push_back(&q->items, &item->node);
		q->bytes += charge_of(item);
		q->count++;
		q->pushed++;
		if (q->count == 1)
			cond_signal(&q->changed);
	}
	lock_release(&q->mu);
	if (!room)
		free(item);
	return room;
}

bool l3_queue_take(struct l3_queue *q, struct list *ret_items, unsigned count_max, size_t bytes_max,
	uint64_t deadline_ns)
{
	size_t bytes = 0;

	LOCK_GUARD(&q->mu);
	while (!q->stopping && !q->count && !q->kicked)
		if (!cond_wait_until(&q->changed, &q->mu, deadline_ns))
			break;
	q->kicked = false;
	while (q->count && count_max--) {
		struct l3_item *item = list_entry(list_first(&q->items), struct l3_item, node);

		if (bytes && bytes + item->len > bytes_max)
			break;
		bytes += item->len;
		list_remove(&item->node);
		list_push_back(ret_items, &item->node);
		q->bytes -= charge_of(item);
		q->count--;
		q->taken++;
	}
	return !q->stopping;
}

void l3_queue_kick(struct l3_queue *q)
{
	LOCK_GUARD(&q->mu);
	q->kicked = true;
	cond_signal(&q->changed);
}

void l3_queue_stop(struct l3_queue *q)
{
	LOCK_GUARD(&q->mu);
	q->stopping = true;
	cond_broadcast(&q->changed);
}

uint64_t l3_queue_mark(struct l3_queue *q)
{
	LOCK_GUARD(&q->mu);
	return q->pushed;
}

void l3_queue_wrote(struct l3_queue *q)
{
	LOCK_GUARD(&q->mu);
	q->written = q->taken;
}

uint64_t l3_queue_written(struct l3_queue *q)
{
	LOCK_GUARD(&q->mu);
	return q->written;
}

void l3_queue_fill(struct l3_queue *q, uint64_t *ret_count, uint64_t *ret_bytes)
{
	LOCK_GUARD(&q->mu);
	*ret_count = q->count;
	*ret_bytes = q->bytes;
}
