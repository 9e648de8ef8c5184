/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of journal records; see ovl_journal_codec.h. Pure; any thread. */
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "base/crc32c.h"
#include "overlay/ovl_journal_codec.h"

#define HEAD_BYTES ((size_t)16)
#define CRC_FROM   ((size_t)8)
#define WORDS_MAX  6u

static const uint8_t words_of[] = {
	[OVL_REC_BLOCK] = 3,
	[OVL_REC_NODE] = 4,
	[OVL_REC_DROP] = 1,
	[OVL_REC_INTENT] = 5,
	[OVL_REC_DONE] = 1,
	[OVL_REC_VOID] = 1,
	[OVL_REC_PART] = 4,
	[OVL_REC_RUN] = 6,
	[OVL_REC_SWITCH] = 4,
};

static void record_to_words(const struct ovl_record *rec, uint64_t w[WORDS_MAX])
{
	switch (rec->type) {
	case OVL_REC_BLOCK:
		w[0] = rec->id, w[1] = rec->parent, w[2] = rec->count;
		break;
	case OVL_REC_NODE:
		w[0] = rec->id, w[1] = rec->parent, w[2] = rec->ino;
		w[3] = (uint64_t)rec->flags << 32 | rec->mode;
		break;
	case OVL_REC_DROP:
		w[0] = rec->id;
		break;
	case OVL_REC_INTENT:
		w[0] = rec->unique, w[1] = rec->id, w[2] = rec->parent, w[3] = rec->new_parent;
		w[4] = rec->ino;
		break;
	case OVL_REC_DONE:
	case OVL_REC_VOID:
		w[0] = rec->unique;
		break;
	case OVL_REC_PART:
		w[0] = rec->id, w[1] = rec->parent;
		w[2] = (uint64_t)rec->first << 32 | rec->count, w[3] = rec->time_ns;
		break;
	case OVL_REC_RUN:
		w[0] = rec->id, w[1] = rec->parent;
		w[2] = (uint64_t)rec->first << 32 | rec->count;
		w[3] = rec->attempt, w[4] = rec->generation, w[5] = rec->time_ns;
		break;
	case OVL_REC_SWITCH:
		w[0] = rec->attempt, w[1] = rec->generation;
		w[2] = rec->time_ns, w[3] = rec->first_time_ns;
		break;
	}
}

static bool has_tree(enum ovl_record_type type)
{
	return type == OVL_REC_BLOCK || type == OVL_REC_PART || type == OVL_REC_RUN ||
	       type == OVL_REC_SWITCH;
}

static void words_to_record(const uint64_t w[WORDS_MAX], struct ovl_record *rec)
{
	switch (rec->type) {
	case OVL_REC_BLOCK:
		rec->id = w[0], rec->parent = w[1], rec->count = (uint32_t)w[2];
		break;
	case OVL_REC_NODE:
		rec->id = w[0], rec->parent = w[1], rec->ino = w[2];
		rec->mode = (uint32_t)w[3], rec->flags = (uint32_t)(w[3] >> 32);
		break;
	case OVL_REC_DROP:
		rec->id = w[0];
		break;
	case OVL_REC_INTENT:
		rec->unique = w[0], rec->id = w[1], rec->parent = w[2], rec->new_parent = w[3];
		rec->ino = w[4];
		break;
	case OVL_REC_DONE:
	case OVL_REC_VOID:
		rec->unique = w[0];
		break;
	case OVL_REC_PART:
		rec->id = w[0], rec->parent = w[1];
		rec->count = (uint32_t)w[2], rec->first = (uint32_t)(w[2] >> 32);
		rec->time_ns = w[3];
		break;
	case OVL_REC_RUN:
		rec->id = w[0], rec->parent = w[1];
		rec->count = (uint32_t)w[2], rec->first = (uint32_t)(w[2] >> 32);
		rec->attempt = w[3], rec->generation = (uint32_t)w[4], rec->time_ns = w[5];
		break;
	case OVL_REC_SWITCH:
		rec->attempt = w[0], rec->generation = (uint32_t)w[1];
		rec->time_ns = w[2], rec->first_time_ns = w[3];
		break;
	}
}

size_t ovl_record_size(const struct ovl_record *rec)
{
	size_t size = HEAD_BYTES + 8u * words_of[rec->type] + rec->name_len + rec->new_name_len;

	if (has_tree(rec->type))
		size += rec->tree.len;
	return (size + 7) & ~(size_t)7;
}

void ovl_record_encode(const struct ovl_record *rec, void *buf)
{
	size_t size = ovl_record_size(rec);
	uint8_t *p = buf, *at = p + HEAD_BYTES;
	uint64_t w[WORDS_MAX] = {0};
	uint32_t u32 = htole32((uint32_t)size);

	memset(p, 0, size);
	memcpy(p, &u32, 4);
	p[8] = (uint8_t)rec->type;
	p[9] = rec->op;
	p[10] = (uint8_t)rec->name_len;
	p[11] = (uint8_t)rec->new_name_len;
	record_to_words(rec, w);
	for (unsigned i = 0; i < words_of[rec->type]; i++, at += 8) {
		w[i] = htole64(w[i]);
		memcpy(at, &w[i], 8);
	}
	if (has_tree(rec->type)) {
		p[12] = rec->tree.len;
		memcpy(at, rec->tree.bytes, rec->tree.len);
		at += rec->tree.len;
	}
	if (rec->name_len)
		memcpy(at, rec->name, rec->name_len);
	if (rec->new_name_len)
		memcpy(at + rec->name_len, rec->new_name, rec->new_name_len);
	u32 = htole32(crc32c(0, p + CRC_FROM, size - CRC_FROM));
	memcpy(p + 4, &u32, 4);
}

/* The length of a sound record at `p`, or 0. */
static size_t check(const uint8_t *p, size_t len)
{
	size_t size, need;
	uint32_t u32;

	if (len < HEAD_BYTES)
		return 0;
	memcpy(&u32, p, 4);
	size = le32toh(u32);
	if (size < HEAD_BYTES || size > len || size % 8)
		return 0;
	memcpy(&u32, p + 4, 4);
	if (le32toh(u32) != crc32c(0, p + CRC_FROM, size - CRC_FROM))
		return 0;
	if (p[8] >= sizeof(words_of) || !words_of[p[8]])
		return 0;
	need = HEAD_BYTES + 8u * words_of[p[8]] + p[10] + p[11] + p[12];
	return p[12] <= OID_MAX_BYTES && need <= size ? size : 0;
}

void ovl_record_read(const void *data, struct ovl_record *ret_rec)
{
	const uint8_t *p = data, *at = p + HEAD_BYTES;
	uint64_t w[WORDS_MAX] = {0};
	struct ovl_record rec = {.type = (enum ovl_record_type)p[8], .op = p[9]};

	for (unsigned i = 0; i < words_of[rec.type]; i++, at += 8) {
		memcpy(&w[i], at, 8);
		w[i] = le64toh(w[i]);
	}
	words_to_record(w, &rec);
	if (p[12])
		rec.tree = oid_from_bytes(at, p[12]);
	at += p[12];
	rec.name_len = p[10];
	rec.name = p[10] ? (const char *)at : NULL;
	rec.new_name_len = p[11];
	rec.new_name = p[11] ? (const char *)at + p[10] : NULL;
	*ret_rec = rec;
}

size_t ovl_record_decode(const void *data, size_t len, struct ovl_record *ret_rec)
{
	size_t size = check(data, len);

	if (size)
		ovl_record_read(data, ret_rec);
	return size;
}
