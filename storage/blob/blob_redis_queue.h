/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be written behind: a bounded queue that refuses rather than waits. Any thread pushes,
 * one takes.
 */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob_store;

#define L3_QUEUE_ITEMS_MAX 16384

enum l3_item_kind { L3_ITEM_BLOB, L3_ITEM_LARGE, L3_ITEM_TREE, L3_ITEM_TOUCH };

struct l3_item {
	struct list node;
	enum l3_item_kind kind;
	struct oid oid;
	struct blob_store *bs; /* LARGE: where its bytes are */
	uint64_t size;         /* LARGE: of the blob; TOUCH: chunks it has */
	size_t len;            /* of data */
	uint8_t data[];
};
/* NULL: no memory. `data` NULL: room for `len` bytes is left as it is. */
struct l3_item *l3_item_new(
	enum l3_item_kind kind, const struct oid *oid, const void *data, size_t len);

struct l3_queue {
	struct lock mu; /* LOCK_RANK_BLOB_TIER */
	struct cond changed;
	struct list items;
	uint64_t bytes, bytes_max;
	unsigned count;
	uint64_t pushed, taken, written; /* since the start, in the same order */
	bool kicked;                     /* who takes looks up, whether there is something or not */
	bool stopping;
};

void l3_queue_init(struct l3_queue *q, uint64_t bytes_max);
/* Drops what is left. */
void l3_queue_fini(struct l3_queue *q);
/* Takes the item over, or frees it: false if the queue is full or stopping. */
bool l3_queue_push(struct l3_queue *q, struct l3_item *item);
/* Moves what fits, at least one item if there is any; waits for one until the deadline, or a
 * kick. False: it is stopping. */
bool l3_queue_take(struct l3_queue *q, struct list *ret_items, unsigned count_max, size_t bytes_max,
	uint64_t deadline_ns);
/* Who waits in l3_queue_take has something else to do. */
void l3_queue_kick(struct l3_queue *q);
void l3_queue_stop(struct l3_queue *q);
/* All that was taken has been written, or dropped. */
void l3_queue_wrote(struct l3_queue *q);
/* How many have been pushed, and written: what was pushed by a mark is written once so many are. */
uint64_t l3_queue_mark(struct l3_queue *q);
uint64_t l3_queue_written(struct l3_queue *q);
void l3_queue_fill(struct l3_queue *q, uint64_t *ret_count, uint64_t *ret_bytes);
