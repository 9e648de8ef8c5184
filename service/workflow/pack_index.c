/* SPDX-License-Identifier: Apache-2.0 */
/* See pack_index.h, and gitformat-pack(5) for the file. */
#include "workflow/pack_index.h"

#include <arpa/inet.h>
#include <base/buf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MIN 1024u
#define FANOUT    256u

void wf_pack_index_fini(struct wf_pack_index *x)
{
	free(x->entries);
	free(x->table);
	*x = (struct wf_pack_index){0};
}

/* Where the id is in the table, or where it would be. */
static size_t slot_of(const struct wf_pack_index *x, const uint8_t *oid)
{
	size_t at;

	memcpy(&at, oid, sizeof(at)); /* an id is as good as any hash of it */
	for (at &= x->table_cap - 1; x->table[at]; at = (at + 1) & (x->table_cap - 1))
		if (memcmp(x->entries[x->table[at] - 1].oid, oid, WF_PACK_SHA) == 0)
			break;
	return at;
}

static int grow_table(struct wf_pack_index *x)
{
	size_t cap = x->table_cap ? 2 * x->table_cap : TABLE_MIN;
	uint32_t *table = calloc(cap, sizeof(*table));

	if (!table)
		return -ENOMEM;
	free(x->table);
	x->table = table;
	x->table_cap = cap;
	for (size_t i = 0; i < x->count; i++)
		x->table[slot_of(x, x->entries[i].oid)] = (uint32_t)i + 1;
	return 0;
}

static int grow_entries(struct wf_pack_index *x)
{
	size_t cap = x->cap ? 2 * x->cap : TABLE_MIN;
	struct wf_pack_entry *entries = reallocarray(x->entries, cap, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	x->entries = entries;
	x->cap = cap;
	return 0;
}

int wf_pack_index_add(struct wf_pack_index *x, const struct wf_pack_entry *entry)
{
	int r = 0;

	if (x->count == x->cap)
		r = grow_entries(x);
	if (r == 0 && 2 * (x->count + 1) > x->table_cap)
		r = grow_table(x);
	if (r < 0)
		return r;
	x->table[slot_of(x, entry->oid)] = (uint32_t)x->count + 1;
	x->entries[x->count++] = *entry;
	return 0;
}

const struct wf_pack_entry *wf_pack_index_find(const struct wf_pack_index *x, const struct oid *oid)
{
	size_t at;

	if (!x->table || oid->len != WF_PACK_SHA)
		return NULL;
	at = slot_of(x, oid->bytes);
	return x->table[at] ? &x->entries[x->table[at] - 1] : NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct wf_pack_entry *x = a, *y = b;

	return memcmp(x->oid, y->oid, WF_PACK_SHA);
}

static void put_number(struct buf *out, uint32_t number)
{
	uint32_t big = htonl(number);

	(void)buf_append(out, &big, sizeof(big)); /* the buffer remembers a failure */
}

/* How many ids begin with at most each byte. */
static void put_fanout(const struct wf_pack_index *x, struct buf *out)
{
	uint32_t count[FANOUT] = {0}, sum = 0;

	for (size_t i = 0; i < x->count; i++)
		count[x->entries[i].oid[0]]++;
	for (unsigned i = 0; i < FANOUT; i++) {
		sum += count[i];
		put_number(out, sum);
	}
}

void wf_pack_index_encode(
	struct wf_pack_index *x, const uint8_t pack_sha[WF_PACK_SHA], struct buf *out)
{
	free(x->table);
	x->table = NULL;
	x->table_cap = 0;
	if (x->count)
		qsort(x->entries, x->count, sizeof(*x->entries), by_id);
	put_number(out, 0xff744f63); /* "\377tOc" */
	put_number(out, 2);
	put_fanout(x, out);
	for (size_t i = 0; i < x->count; i++)
		(void)buf_append(out, x->entries[i].oid, WF_PACK_SHA); /* as above */
	for (size_t i = 0; i < x->count; i++)
		put_number(out, x->entries[i].crc);
	for (size_t i = 0; i < x->count; i++)
		put_number(out, x->entries[i].offset);
	(void)buf_append(out, pack_sha, WF_PACK_SHA); /* as above */
}
