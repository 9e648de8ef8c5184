// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_codec.h. This is a decoder of what another machine says and is fuzzed
 * (tests/fuzz/fuzz_l3_value.c): every length is checked before it is used, and zstd gets a buffer
 * of the announced size and no other memory that grows with its input.
 */
#include "blob/blob_redis_codec.h"

#include <base/le.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define MAGIC      0x334c5043u
#define PACK_LEVEL 1
/* Below this zstd gains nothing. */
#define PACK_MIN 64

struct l3_packer {
	ZSTD_CCtx *zstd;
};

struct l3_packer *l3_packer_new(void)
{
	struct l3_packer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->zstd = ZSTD_createCCtx();
	if (!p->zstd) {
		free(p);
		return NULL;
	}
	(void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, PACK_LEVEL); /* in range */
	return p;
}

struct l3_packer *l3_packer_free(struct l3_packer *p)
{
	if (p)
		(void)ZSTD_freeCCtx(p->zstd); /* always 0 */
	free(p);
	return NULL;
}

static void put_header(uint8_t *h, const struct oid *oid, const struct l3_value *v)
{
	memset(h, 0, L3_HEADER_BYTES);
	le_put32(h, MAGIC);
	h[4] = L3_VERSION;
	h[5] = (uint8_t)v->kind;
	h[6] = v->packed ? 1 : 0;
	h[7] = oid->len;
	le_put32(h + 8, v->plain_len);
	le_put32(h + 12, v->index);
	le_put32(h + 16, v->written_min);
	memcpy(h + 24, oid->bytes, oid->len);
}

int l3_pack(struct l3_packer *p, const struct oid *oid, const struct l3_value *value,
	const void *plain, size_t len, void **ret_data, size_t *ret_len)
{
	struct l3_value v = *value;
	size_t packed = 0;
	uint8_t *data;

	if (len > L3_PLAIN_MAX)
		return -EFBIG;
	data = malloc(L3_HEADER_BYTES + len);
	if (!data)
		return -ENOMEM;
	v.plain_len = (uint32_t)len;
	/* the buffer is as long as the plain bytes: what does not shrink fails and stays plain */
	if (len >= PACK_MIN)
		packed = ZSTD_compress2(p->zstd, data + L3_HEADER_BYTES, len, plain, len);
	v.packed = packed && !ZSTD_isError(packed) && packed < len;
	if (!v.packed) {
		packed = len;
		if (len)
			memcpy(data + L3_HEADER_BYTES, plain, len);
	}
	put_header(data, oid, &v);
	*ret_data = data;
	*ret_len = L3_HEADER_BYTES + packed;
	return 0;
}

int l3_value_open(const void *data, size_t len, const struct oid *oid, struct l3_value *ret_value)
{
	static const uint8_t zeros[OID_MAX_BYTES];
	const uint8_t *h = data;
	struct l3_value v;

	if (len < L3_HEADER_BYTES || len > L3_VALUE_MAX || le_get32(h) != MAGIC ||
		h[4] != L3_VERSION)
		return -EBADMSG;
	if (h[5] < L3_BLOB || h[5] >= L3_KIND_END || h[6] > 1 || le_get32(h + 20) != 0)
		return -EBADMSG;
	if (h[7] != oid->len || memcmp(h + 24, oid->bytes, oid->len) != 0 ||
		memcmp(h + 24 + oid->len, zeros, OID_MAX_BYTES - oid->len) != 0)
		return -EBADMSG;
	v = (struct l3_value){
		.kind = (enum l3_kind)h[5],
		.packed = h[6] == 1,
		.plain_len = le_get32(h + 8),
		.index = le_get32(h + 12),
		.written_min = le_get32(h + 16),
		.payload = h + L3_HEADER_BYTES,
		.payload_len = len - L3_HEADER_BYTES,
	};
	if (v.plain_len > L3_PLAIN_MAX || (!v.packed && v.plain_len != v.payload_len) ||
		(v.packed && v.payload_len >= v.plain_len))
		return -EBADMSG;
	if (v.kind != L3_CHUNK && v.index)
		return -EBADMSG;
	*ret_value = v;
	return 0;
}

void l3_unpackers_init(struct l3_unpackers *u)
{
	*u = (struct l3_unpackers){.count = 0};
	lock_init(&u->mu, LOCK_RANK_LEAF);
}

void l3_unpackers_fini(struct l3_unpackers *u)
{
	for (unsigned i = 0; i < u->count; i++)
		(void)ZSTD_freeDCtx(u->idle[i]); /* always 0 */
	lock_fini(&u->mu);
}

static ZSTD_DCtx *borrow(struct l3_unpackers *u)
{
	ZSTD_DCtx *zstd = NULL;

	lock_acquire(&u->mu);
	if (u->count)
		zstd = u->idle[--u->count];
	lock_release(&u->mu);
	return zstd ? zstd : ZSTD_createDCtx();
}

static void give_back(struct l3_unpackers *u, ZSTD_DCtx *zstd)
{
	lock_acquire(&u->mu);
	if (u->count < L3_UNPACKERS_KEPT) {
		u->idle[u->count++] = zstd;
		zstd = NULL;
	}
	lock_release(&u->mu);
	(void)ZSTD_freeDCtx(zstd); /* always 0; takes NULL */
}

int l3_value_unpack(struct l3_unpackers *u, const struct l3_value *value, void *buf)
{
	ZSTD_DCtx *zstd;
	size_t got;

	if (!value->packed) {
		if (value->plain_len)
			memcpy(buf, value->payload, value->plain_len);
		return 0;
	}
	zstd = borrow(u);
	if (!zstd)
		return -ENOMEM;
	got = ZSTD_decompressDCtx(zstd, buf, value->plain_len, value->payload, value->payload_len);
	give_back(u, zstd);
	return !ZSTD_isError(got) && got == value->plain_len ? 0 : -EBADMSG;
}

int l3_manifest_open(const void *plain, size_t len, struct l3_manifest *ret_manifest)
{
	const uint8_t *p = plain;
	struct l3_manifest m;

	if (len != L3_MANIFEST_BYTES)
		return -EBADMSG;
	m = (struct l3_manifest){le_get64(p), le_get32(p + 8), le_get32(p + 12)};
	if (!m.chunk_bytes || m.chunk_bytes > L3_PLAIN_MAX || !m.chunk_count ||
		m.chunk_count > L3_CHUNKS_MAX)
		return -EBADMSG;
	if (m.size > (uint64_t)m.chunk_bytes * m.chunk_count ||
		m.size <= (uint64_t)m.chunk_bytes * (m.chunk_count - 1))
		return -EBADMSG;
	*ret_manifest = m;
	return 0;
}

void l3_manifest_make(uint64_t size, uint8_t ret_plain[L3_MANIFEST_BYTES])
{
	uint64_t le = htole64(size);

	memcpy(ret_plain, &le, sizeof(le));
	le_put32(ret_plain + 8, L3_CHUNK_BYTES);
	le_put32(ret_plain + 12, (uint32_t)((size + L3_CHUNK_BYTES - 1) / L3_CHUNK_BYTES));
}

uint32_t l3_chunk_len(const struct l3_manifest *m, uint32_t index)
{
	uint64_t left = m->size - (uint64_t)index * m->chunk_bytes;

	return left < m->chunk_bytes ? (uint32_t)left : m->chunk_bytes;
}
