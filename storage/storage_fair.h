/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue that is fair between flows (tenants): they take turns, and who moved many bytes
 * sits out turns until it has paid for them (deficit round robin, charged afterwards because nobody
 * knows a blob's size before it has come). A flow has at most so many items running at once, so
 * that one that asks for slow things leaves threads to others.
 *
 * Pure: no lock, no clock. The caller guards it.
 */
#pragma once
#include "base/list.h"

#include <stdint.h>

#define FAIR_FLOWS_MAX 256

struct fair_item {
	struct list node; /* in its flow's list, or in none */
	unsigned flow;
};

struct fair_flow {
	struct list node; /* in the ring while it has items */
	struct list items;
	int64_t credit; /* bytes; it is served while this is positive */
	unsigned queued, running;
};

struct fair_queue {
	struct list ring;
	struct fair_flow *flow[FAIR_FLOWS_MAX]; /* made on first use */
	unsigned queued, queued_max;
	unsigned running_max; /* of one flow */
};

void fair_init(struct fair_queue *q, unsigned queued_max, unsigned running_max);
void fair_fini(struct fair_queue *q); /* the items are the caller's */
/* `flow` < FAIR_FLOWS_MAX. -EAGAIN: the queue is full, or the flow has three quarters of it.
 * -ENOMEM. */
int fair_push(struct fair_queue *q, unsigned flow, struct fair_item *item);
/* Undo a push, right after it. */
void fair_take_back(struct fair_queue *q, struct fair_item *item);
/* Whose turn it is; counts as running until fair_done. NULL: nothing may run now. */
struct fair_item *fair_pop(struct fair_queue *q);
/* An item of `flow` is done and has moved so many bytes. */
void fair_done(struct fair_queue *q, unsigned flow, uint64_t bytes);
