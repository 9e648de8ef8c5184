/* SPDX-License-Identifier: Apache-2.0 */
/* See ovl_index.h. Never blocks; any thread as said there. */
#include "overlay/ovl_index.h"

#include <errno.h>
#include <sys/mman.h>

#define LOCAL_MAX   ((uint64_t)1 << 30) /* as many as work/refs has room for */
#define INDEX_BYTES ((size_t)LOCAL_MAX * sizeof(uint32_t))
#define UNIT        8u

int ovl_index_init(struct ovl_index *x)
{
	void *p = mmap(NULL, INDEX_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*x = (struct ovl_index){.at = p};
	return 0;
}

void ovl_index_fini(struct ovl_index *x)
{
	if (x->at)
		(void)munmap(x->at, INDEX_BYTES); /* ours, so it cannot fail */
	*x = (struct ovl_index){0};
}

void ovl_index_empty(struct ovl_index *x)
{
	/* reads as zeros from now on; if it cannot be, it stays until the end */
	if (x->at)
		(void)madvise(x->at, x->end * sizeof(uint32_t), MADV_DONTNEED);
}

/* relaxed, here and below: what an offset leads to is guarded by the journal's lock */
void ovl_index_set(struct ovl_index *x, uint64_t local, size_t offset)
{
	if (local >= LOCAL_MAX)
		return;
	if (local >= x->end) {
		if (!offset)
			return;
		x->end = local + 1;
	}
	atomic_store_explicit(&x->at[local], (uint32_t)(offset / UNIT), memory_order_relaxed);
}

size_t ovl_index_get(const struct ovl_index *x, uint64_t local)
{
	if (local >= x->end)
		return 0;
	return (size_t)atomic_load_explicit(&x->at[local], memory_order_relaxed) * UNIT;
}

void ovl_index_move(struct ovl_index *x, uint64_t local, size_t to)
{
	uint32_t was = atomic_load_explicit(&x->at[local], memory_order_relaxed);

	/* one mover at a time; if it fails somebody has taken it out */
	if (was)
		(void)atomic_compare_exchange_strong_explicit(&x->at[local], &was,
			(uint32_t)(to / UNIT), memory_order_relaxed, memory_order_relaxed);
}

size_t ovl_index_take(struct ovl_index *x, uint64_t local)
{
	if (local >= x->end)
		return 0;
	return (size_t)atomic_exchange_explicit(&x->at[local], 0, memory_order_relaxed) * UNIT;
}

uint64_t ovl_index_next(const struct ovl_index *x, uint64_t local)
{
	for (; local < x->end; local++)
		if (atomic_load_explicit(&x->at[local], memory_order_relaxed))
			return local;
	return 0;
}
