/* SPDX-License-Identifier: Apache-2.0 */
/* The coldest N of a stream of candidates, by a heap of fixed size: memory does not grow with the
 * number of blobs. */
#include "blob/disk_evict.h"

#include <stdlib.h>

#define HIGH_PERCENT 95
#define LOW_PERCENT  85

static uint64_t percent_of(uint64_t bytes, unsigned percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

uint64_t disk_evict_want(uint64_t budget, uint64_t used, uint64_t more)
{
	uint64_t after = more > UINT64_MAX - used ? UINT64_MAX : used + more;

	if (after <= percent_of(budget, HIGH_PERCENT))
		return 0;
	return after - percent_of(budget, LOW_PERCENT);
}

/* < 0: a is colder. */
static int compare(const void *pa, const void *pb)
{
	const struct disk_candidate *a = pa, *b = pb;

	if (a->used != b->used)
		return a->used < b->used ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return 0;
}

void disk_evict_begin(struct disk_evict_plan *plan, uint64_t want_bytes)
{
	plan->want_bytes = want_bytes;
	plan->count = 0;
}

static void swap(struct disk_candidate *a, struct disk_candidate *b)
{
	struct disk_candidate t = *a;

	*a = *b;
	*b = t;
}

static void sift_up(struct disk_candidate *heap, unsigned i)
{
	for (; i > 0 && compare(&heap[(i - 1) / 2], &heap[i]) < 0; i = (i - 1) / 2)
		swap(&heap[(i - 1) / 2], &heap[i]);
}

static void sift_down(struct disk_candidate *heap, unsigned count)
{
	for (unsigned i = 0, child = 1; child < count; child = 2 * i + 1) {
		if (child + 1 < count && compare(&heap[child], &heap[child + 1]) < 0)
			child++;
		if (compare(&heap[i], &heap[child]) >= 0)
			return;
		swap(&heap[i], &heap[child]);
		i = child;
	}
}

void disk_evict_offer(struct disk_evict_plan *plan, const struct disk_candidate *candidate)
{
	if (plan->count < DISK_EVICT_BATCH) {
		plan->heap[plan->count] = *candidate;
		sift_up(plan->heap, plan->count++);
	} else if (compare(candidate, &plan->heap[0]) < 0) {
		plan->heap[0] = *candidate;
		sift_down(plan->heap, plan->count);
	}
}

void disk_evict_sort(struct disk_evict_plan *plan)
{
	if (plan->count)
		qsort(plan->heap, plan->count, sizeof(plan->heap[0]), compare);
}
