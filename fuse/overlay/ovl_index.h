/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a journal the latest NODE record of each id is: an array by local id in address space of
 * its own, of which only what is used takes memory. Ids are dense, so this needs neither hashing
 * nor room ahead, and a scan of a million records costs a store for each.
 *
 * One writer at a time per id; readers need no lock. ovl_index_fini is for when nobody reads any
 * more; ovl_index_empty gives the memory back while somebody still may: they find nothing.
 */
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ovl_index {
	_Atomic uint32_t *at; /* offset in units of 8 bytes; 0: none. NULL: not in use */
	uint64_t end;         /* one more than the highest id that ever was in it */
};

int ovl_index_init(struct ovl_index *x); /* -ENOMEM */
void ovl_index_fini(struct ovl_index *x);
void ovl_index_empty(struct ovl_index *x);
/* `offset` is a multiple of 8 below 32 GiB; 0 takes the id out. An id that cannot be one is left
 * out. */
void ovl_index_set(struct ovl_index *x, uint64_t local, size_t offset);
size_t ovl_index_get(const struct ovl_index *x, uint64_t local); /* 0: none */
/* Another offset for the same; not if it is out by now. `to` 0 takes it out. */
void ovl_index_move(struct ovl_index *x, uint64_t local, size_t to);
/* Take out; what it was. Of several callers one gets it. */
size_t ovl_index_take(struct ovl_index *x, uint64_t local);
/* The first id from `local` on that is in it; 0: none. */
uint64_t ovl_index_next(const struct ovl_index *x, uint64_t local);
