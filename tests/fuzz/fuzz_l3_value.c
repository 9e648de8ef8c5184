// SPDX-License-Identifier: Apache-2.0
/*
 * What stands in Redis as hostile bytes: the value, its payload, and a manifest in it. Whatever it
 * says, no more is written than was announced, no more is announced than the limits, and the chunks
 * of an accepted manifest add up.
 *
 * Half of the inputs get the right magic, version and oid first, or the fuzzer would never get past
 * them.
 */
#include <stdlib.h>
#include <string.h>

#include "blob/blob_redis_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct oid name = {20, {1, 2, 3}};

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void check_manifest(const void *plain, size_t len)
{
	struct l3_manifest m;
	uint64_t sum = 0;

	if (l3_manifest_open(plain, len, &m) < 0)
		return;
	expect(m.chunk_count <= L3_CHUNKS_MAX && m.chunk_bytes <= L3_PLAIN_MAX);
	for (uint32_t i = 0; i < m.chunk_count; i++) {
		expect(l3_chunk_len(&m, i) > 0 && l3_chunk_len(&m, i) <= m.chunk_bytes);
		sum += l3_chunk_len(&m, i);
	}
	expect(sum == m.size);
}

static void check_value(const uint8_t *data, size_t size)
{
	struct l3_unpackers unpackers;
	struct l3_value v;
	uint8_t *plain;

	if (l3_value_open(data, size, &name, &v) < 0)
		return;
	l3_unpackers_init(&unpackers);
	expect(v.plain_len <= L3_PLAIN_MAX && v.payload + v.payload_len == data + size);
	plain = malloc(v.plain_len ? v.plain_len : 1); /* exactly: the sanitizers watch */
	if (plain && l3_value_unpack(&unpackers, &v, plain) == 0 && v.kind == L3_MANIFEST)
		check_manifest(plain, v.plain_len);
	l3_unpackers_fini(&unpackers);
	free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	check_value(copy, size);
	if (size >= L3_HEADER_BYTES) {
		memcpy(copy, "CPL3", 4);
		copy[4] = L3_VERSION;
		copy[7] = name.len;
		memset(copy + 20, 0, 4);
		memcpy(copy + 24, name.bytes, OID_MAX_BYTES);
		check_value(copy, size);
	}
	check_manifest(copy, size);
	free(copy);
	return 0;
}
