// SPDX-License-Identifier: Apache-2.0
/*
 * Builds a packed directory: collect entries in any order, sort, pack. The names are collected in
 * one growing heap and entries refer to it by offset. The first error sticks: a directory that an
 * origin has described wrongly is never stored in part.
 *
 * Threads: a builder belongs to one thread at a time.
 */
#include "tree/tree_codec.h"

#include "base/buf.h"

#include <base/le.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct built {
	uint64_t size;
	uint32_t name_offset;
	uint8_t name_len;
	uint8_t class;
	bool size_known;
	uint8_t oid[OID_MAX_BYTES];
};

struct tree_builder {
	uint8_t oid_len;
	int error; /* sticky */
	struct built *entries;
	uint32_t count, cap;
	struct buf names;
};

struct tree_builder *tree_builder_new(uint8_t oid_len)
{
	struct tree_builder *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->oid_len = oid_len;
	b->error = oid_len == 20 || oid_len == 32 ? 0 : -EINVAL;
	buf_init(&b->names, TREE_RECORD_MAX);
	return b;
}

struct tree_builder *tree_builder_free(struct tree_builder *b)
{
	if (!b)
		return NULL;
	buf_fini(&b->names);
	free(b->entries);
	free(b);
	return NULL;
}

static int grow(struct tree_builder *b)
{
	uint32_t cap = b->cap ? b->cap * 2 : 64;
	struct built *entries;

	if (b->count < b->cap)
		return 0;
	if (cap > TREE_RECORD_MAX / tree_codec_entry_bytes(b->oid_len) * 2)
		return -EFBIG;
	entries = reallocarray(b->entries, cap, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	b->entries = entries;
	b->cap = cap;
	return 0;
}

static int add(struct tree_builder *b, const struct tree_builder_entry *entry)
{
	bool has_oid = !oid_is_none(&entry->oid);
	int class = tree_codec_class(entry->mode, has_oid);
	struct built *built;
	int r;

	if (class < 0 || (has_oid && entry->oid.len != b->oid_len))
		return -EBADMSG;
	if (!tree_codec_name_ok(entry->name, entry->name_len))
		return -EBADMSG;
	r = grow(b);
	if (r < 0)
		return r;
	built = &b->entries[b->count];
	*built = (struct built){
		.name_offset = (uint32_t)b->names.len,
		.name_len = (uint8_t)entry->name_len,
		.class = (uint8_t) class,
		.size_known = entry->size_known,
		.size = entry->size_known ? entry->size : 0,
	};
	if (class == TREE_DIRECTORY || class == TREE_SUBMODULE) {
		built->size_known = true;
		built->size = 0;
	}
	memcpy(built->oid, entry->oid.bytes, has_oid ? b->oid_len : 0);
	r = buf_append(&b->names, entry->name, entry->name_len);
	if (r < 0)
		return r == -EMSGSIZE ? -EFBIG : r;
	b->count++;
	return 0;
}

int tree_builder_add(struct tree_builder *b, const struct tree_builder_entry *entry)
{
	if (b->error == 0)
		b->error = add(b, entry);
	return b->error;
}

static int by_name(const void *a, const void *b, void *names)
{
	const struct built *x = a, *y = b;
	const char *heap = names;

	return tree_codec_compare(
		heap + x->name_offset, x->name_len, heap + y->name_offset, y->name_len);
}

static int sort_unique(struct tree_builder *b)
{
	if (b->count < 2)
		return 0;
	qsort_r(b->entries, b->count, sizeof(*b->entries), by_name, b->names.data);
	for (uint32_t i = 1; i < b->count; i++)
		if (by_name(&b->entries[i - 1], &b->entries[i], b->names.data) == 0)
			return -EBADMSG;
	return 0;
}

static void pack_header(const struct tree_builder *b, uint8_t *record, uint32_t names, uint32_t len)
{
	uint32_t subdirs = 0;
	bool sizes_known = true;
	uint8_t *p;

	for (uint32_t i = 0; i < b->count; i++) {
		subdirs += b->entries[i].class >= TREE_DIRECTORY ? 1 : 0;
		sizes_known = sizes_known && b->entries[i].size_known;
	}
	p = le_put32(record, TREE_MAGIC);
	p = le_put16(p, TREE_VERSION);
	*p++ = b->oid_len;
	*p++ = sizes_known ? 1 : 0;
	p = le_put32(p, b->count);
	p = le_put32(p, subdirs);
	p = le_put32(p, names);
	p = le_put32(p, len);
	p = le_put32(p, 0);
	(void)le_put32(p, 0);
}

/* Names go in the order of the entries, so that a listing reads forward. */
static void pack_entries(const struct tree_builder *b, uint8_t *record, uint32_t names)
{
	uint8_t *p = record + TREE_HEADER_BYTES;
	uint32_t offset = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct built *e = &b->entries[i];
		const char *name = b->names.data + e->name_offset;

		p = le_put64(p, e->size);
		p = le_put32(p, offset);
		*p++ = e->name_len;
		*p++ = (uint8_t)(e->class | (e->size_known ? 0x80 : 0));
		p = le_put16(p, tree_codec_prefix(name, e->name_len));
		memcpy(p, e->oid, b->oid_len);
		p += b->oid_len;
		memcpy(record + names + offset, name, e->name_len);
		offset += e->name_len;
	}
}

int tree_builder_finish(struct tree_builder *b, void **ret_record, size_t *ret_len)
{
	uint64_t names, len;
	uint8_t *record;

	if (b->error == 0)
		b->error = sort_unique(b);
	if (b->error < 0)
		return b->error;
	names = TREE_HEADER_BYTES + (uint64_t)b->count * tree_codec_entry_bytes(b->oid_len);
	len = names + b->names.len;
	if (len > TREE_RECORD_MAX)
		return -EFBIG;
	record = malloc(len);
	if (!record)
		return -ENOMEM;
	pack_header(b, record, (uint32_t)names, (uint32_t)len);
	pack_entries(b, record, (uint32_t)names);
	(void)le_put32(record + 24, tree_codec_crc(record, len));
	*ret_record = record;
	*ret_len = len;
	return 0;
}
