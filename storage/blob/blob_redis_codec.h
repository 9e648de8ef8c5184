/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in Redis under one key. All numbers are little-endian.
 *
 *	offset  0  u32  magic "CPL3"
 *	        4  u8   version
 *	        5  u8   kind (enum l3_kind)
 *	        6  u8   packing: 0 as it is, 1 zstd
 *	        7  u8   length of the oid
 *	        8  u32  bytes when unpacked, at most L3_PLAIN_MAX
 *	       12  u32  number of the chunk; 0 for the other kinds
 *	       16  u32  when it was written: minutes since 1970
 *	       20  u32  0
 *	       24       oid, 32 bytes, the rest zeros
 *	       56       payload
 *
 * A blob's payload is its bytes. A blob of more than L3_CHUNK_BYTES is a manifest, and its bytes
 * are chunks: pieces of `chunk_bytes`, the last one shorter.
 *
 *	manifest  0  u64  bytes of the blob
 *	          8  u32  bytes of a chunk
 *	         12  u32  number of chunks
 *
 * The header says no more than what the key says already, so that a value under a wrong key, a
 * truncated or a foreign one is found at once; whether the bytes are right is for the hash of the
 * oid to say. Nothing here is trusted. Pure functions over memory.
 */
#pragma once
#include "base/lock.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define L3_HEADER_BYTES   56u
#define L3_VERSION        1u
#define L3_VALUE_MAX      (1u << 20) /* of a value in Redis, header included */
#define L3_PLAIN_MAX      (L3_VALUE_MAX - 4096u)
#define L3_CHUNK_BYTES    (512u * 1024)
#define L3_CHUNKS_MAX     4096u
#define L3_MANIFEST_BYTES 16u

enum l3_kind { L3_BLOB = 1, L3_CHUNK, L3_MANIFEST, L3_TREE, L3_KIND_END };

struct l3_value {
	enum l3_kind kind;
	uint32_t index;
	uint32_t written_min;
	uint32_t plain_len;
	bool packed;
	const uint8_t *payload; /* in the value */
	size_t payload_len;
};

struct l3_manifest {
	uint64_t size;
	uint32_t chunk_bytes, chunk_count;
};

/* Threads: a packer belongs to one. It keeps zstd's memory. */
struct l3_packer;
struct l3_packer *l3_packer_new(void); /* NULL: no memory */
struct l3_packer *l3_packer_free(struct l3_packer *p);
/* The value of `len` plain bytes, malloc'ed. `value` says kind, index and written_min. -EFBIG
 * beyond L3_PLAIN_MAX. */
int l3_pack(struct l3_packer *p, const struct oid *oid, const struct l3_value *value,
	const void *plain, size_t len, void **ret_data, size_t *ret_len);

/* zstd's memory for unpacking, lent to one call at a time and kept for the next: to make it anew
 * costs as much as to unpack a small file. Any thread. */
#define L3_UNPACKERS_KEPT 8u
struct l3_unpackers {
	struct lock mu; /* LOCK_RANK_LEAF */
	void *idle[L3_UNPACKERS_KEPT];
	unsigned count; /* guarded by mu, as idle is */
};
void l3_unpackers_init(struct l3_unpackers *u);
void l3_unpackers_fini(struct l3_unpackers *u);

/* Looks at a value that was found under the key of `oid`. -EBADMSG: it is none of ours, or not of
 * this oid. `ret_value` points into it. */
int l3_value_open(const void *data, size_t len, const struct oid *oid, struct l3_value *ret_value);
/* The plain bytes: `buf` of value->plain_len. -EBADMSG: they are not there; -ENOMEM. */
int l3_value_unpack(struct l3_unpackers *u, const struct l3_value *value, void *buf);
/* Of an unpacked manifest. -EBADMSG: its numbers do not fit together, or are beyond the limits. */
int l3_manifest_open(const void *plain, size_t len, struct l3_manifest *ret_manifest);
void l3_manifest_make(uint64_t size, uint8_t ret_plain[L3_MANIFEST_BYTES]);
/* Bytes of chunk `index`. */
uint32_t l3_chunk_len(const struct l3_manifest *m, uint32_t index);
