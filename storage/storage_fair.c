// SPDX-License-Identifier: Apache-2.0
/* See storage_fair.h. */
#include "storage_fair.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define QUANTUM  (256 << 10)             /* bytes a turn */
#define ITEM     (16 << 10)              /* what an item costs besides its bytes: a request */
#define DEBT_MAX (64 * (int64_t)QUANTUM) /* nobody pays longer than 64 rounds */

void fair_init(struct fair_queue *q, unsigned queued_max, unsigned running_max)
{
	*q = (struct fair_queue){.queued_max = queued_max, .running_max = running_max};
	list_init(&q->ring);
}

void fair_fini(struct fair_queue *q)
{
	for (unsigned i = 0; i < FAIR_FLOWS_MAX; i++) {
		free(q->flow[i]);
		q->flow[i] = NULL;
	}
}

static struct fair_flow *flow_of(struct fair_queue *q, unsigned number)
{
	struct fair_flow *flow = q->flow[number];

	if (flow)
		return flow;
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	list_init(&flow->node);
	list_init(&flow->items);
	q->flow[number] = flow;
	return flow;
}

static void add_credit(struct fair_flow *flow)
{
	flow->credit += QUANTUM;
	if (flow->credit > QUANTUM)
		flow->credit = QUANTUM; /* turns that were not needed are not saved up */
}

int fair_push(struct fair_queue *q, unsigned number, struct fair_item *item)
{
	struct fair_flow *flow = flow_of(q, number);

	if (!flow)
		return -ENOMEM;
	if (q->queued >= q->queued_max ||
		(flow->queued >= q->queued_max / 4 * 3 && q->queued_max >= 4))
		return -EAGAIN;
	if (list_empty(&flow->items)) {
		if (list_empty(&q->ring))
			flow->credit = 0; /* what it owed was owed to others, who are gone */
		add_credit(flow);
		list_push_back(&q->ring, &flow->node);
	}
	item->flow = number;
	list_push_back(&flow->items, &item->node);
	flow->queued++;
	q->queued++;
	return 0;
}

/* The next flow that may run something; *ret_waits: there are some that only lack credit. */
static struct fair_flow *find(struct fair_queue *q, bool *ret_waits)
{
	*ret_waits = false;
	list_for_each (it, &q->ring) {
		struct fair_flow *flow = list_entry(it, struct fair_flow, node);

		if (flow->running >= q->running_max)
			continue;
		if (flow->credit > 0)
			return flow;
		*ret_waits = true;
	}
	return NULL;
}

static struct fair_flow *next_flow(struct fair_queue *q)
{
	for (;;) {
		bool waits;
		struct fair_flow *flow = find(q, &waits);

		if (flow || !waits)
			return flow;
		list_for_each (it, &q->ring)
			add_credit(list_entry(it, struct fair_flow, node));
	}
}

static void remove_item(struct fair_queue *q, struct fair_flow *flow, struct fair_item *item)
{
	list_remove(&item->node);
	flow->queued--;
	q->queued--;
	if (list_empty(&flow->items))
		list_remove(&flow->node);
}

void fair_take_back(struct fair_queue *q, struct fair_item *item)
{
	remove_item(q, q->flow[item->flow], item);
}

struct fair_item *fair_pop(struct fair_queue *q)
{
	struct fair_flow *flow = next_flow(q);
	struct fair_item *item;

	if (!flow)
		return NULL;
	item = list_entry(list_first(&flow->items), struct fair_item, node);
	remove_item(q, flow, item);
	if (!list_empty(&flow->items)) { /* the others first */
		list_remove(&flow->node);
		list_push_back(&q->ring, &flow->node);
	}
	flow->credit -= ITEM;
	flow->running++;
	return item;
}

void fair_done(struct fair_queue *q, unsigned number, uint64_t bytes)
{
	struct fair_flow *flow = q->flow[number];

	flow->running--;
	if (bytes > DEBT_MAX)
		bytes = DEBT_MAX;
	flow->credit -= (int64_t)bytes;
	if (flow->credit < -DEBT_MAX)
		flow->credit = -DEBT_MAX;
}
