/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which objects a pack has and where: a table while it grows, and the file that Git wants beside it
 * ("index", version 2). Pure but for memory.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <storage/digest.h>

struct buf;

#define WF_PACK_SHA 20u

struct wf_pack_entry {
	uint8_t oid[WF_PACK_SHA];
	uint8_t type;    /* enum wf_object */
	uint32_t crc;    /* of its bytes in the pack */
	uint32_t offset; /* below 2 GiB */
	uint32_t size;   /* of the object */
};

struct wf_pack_index {
	struct wf_pack_entry *entries; /* as they were added, so by offset */
	size_t count, cap;
	uint32_t *table; /* number of the entry + 1, by id; 0: free. table_cap: a power of two */
	size_t table_cap;
};

void wf_pack_index_fini(struct wf_pack_index *x);
/* Of an id that it does not have. -ENOMEM. */
int wf_pack_index_add(struct wf_pack_index *x, const struct wf_pack_entry *entry);
/* NULL: not here. Valid until the next one is added. */
const struct wf_pack_entry *wf_pack_index_find(
	const struct wf_pack_index *x, const struct oid *oid);
/* The bytes of the file, without its own checksum at the end. Sorts the entries: nothing can be
 * found any more. The failure is the buffer's. */
void wf_pack_index_encode(
	struct wf_pack_index *x, const uint8_t pack_sha[WF_PACK_SHA], struct buf *out);
