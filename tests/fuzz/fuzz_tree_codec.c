// SPDX-License-Identifier: Apache-2.0
/*
 * Packed directories as hostile bytes. Reading must stay inside the record whatever it says: first
 * as the index reads (header checked only), then as it stores (everything checked). A record that
 * passes the full check must hold what it promises, and must come out the same when it is built
 * anew.
 *
 * The checksum is mended first, or the fuzzer would never get past it.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "tree/tree_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_checksum(uint8_t *record, size_t len)
{
	uint32_t crc;

	if (len < TREE_HEADER_BYTES)
		return;
	crc = htole32(tree_codec_crc(record, len));
	memcpy(record + 24, &crc, sizeof(crc));
}

/* Touch all that entries point to; the sanitizers watch. */
static uint64_t read_all(const struct tree_view *v)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < v->count; i++) {
		struct tree_entry entry;
		uint32_t idx;

		tree_view_entry(v, i, &entry);
		for (unsigned n = 0; n < entry.name_len; n++)
			sum += (uint8_t)entry.name[n];
		for (unsigned n = 0; entry.oid && n < v->oid_len; n++)
			sum += entry.oid[n];
		sum += tree_view_find(v, entry.name, entry.name_len, &idx);
	}
	return sum;
}

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void add_again(struct tree_builder *b, const struct tree_view *v, uint32_t i)
{
	struct tree_builder_entry again = {0};
	struct tree_entry entry;
	uint32_t idx;

	tree_view_entry(v, i, &entry);
	expect(tree_view_find(v, entry.name, entry.name_len, &idx) && idx == i);
	again.name = entry.name;
	again.name_len = entry.name_len;
	again.mode = entry.mode;
	again.size_known = entry.size_known;
	again.size = entry.size;
	if (entry.oid)
		again.oid = oid_from_bytes(entry.oid, v->oid_len);
	expect(tree_builder_add(b, &again) == 0);
}

/* What was accepted can be built, and reads as it did. */
static void rebuild(const struct tree_view *v)
{
	struct tree_builder *b = tree_builder_new(v->oid_len);
	struct tree_view w;
	void *record;
	size_t len;

	expect(b != NULL);
	for (uint32_t i = 0; i < v->count; i++)
		add_again(b, v, i);
	expect(tree_builder_finish(b, &record, &len) == 0);
	expect(tree_view_over(record, len, &w) == 0);
	expect(w.count == v->count && w.subdirs == v->subdirs);
	expect(read_all(&w) == read_all(v));
	free(record);
	tree_builder_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *record = malloc(size ? size : 1); /* exact, so that one byte too far is seen */
	struct tree_view v;
	uint64_t sum = 0;

	if (!record)
		return 0;
	if (size)
		memcpy(record, data, size);
	if (tree_codec_open(record, size, &v) == 0)
		sum += read_all(&v);
	mend_checksum(record, size);
	if (tree_view_over(record, size, &v) == 0)
		rebuild(&v);
	free(record);
	return sum == UINT64_MAX;
}
