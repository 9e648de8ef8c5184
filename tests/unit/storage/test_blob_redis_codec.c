/* SPDX-License-Identifier: Apache-2.0 */
/* Values in Redis: what was packed is unpacked, and nothing else is believed. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "blob/blob_redis_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct oid name = {
	20, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}};

struct packed {
	void *data;
	size_t len;
};

static struct l3_unpackers unpackers;

static struct packed pack(const struct l3_value *v, const void *plain, size_t len)
{
	struct l3_packer *p = l3_packer_new();
	struct packed out;

	assert_non_null(p);
	assert_int_equal(l3_pack(p, &name, v, plain, len, &out.data, &out.len), 0);
	l3_packer_free(p);
	return out;
}

static void fill(uint8_t *p, size_t len, bool random)
{
	uint32_t x = 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = random ? (uint8_t)(x >> 24) : (uint8_t)(i / 100);
	}
}

static void test_what_is_packed_comes_back(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 65536, L3_PLAIN_MAX};

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t len = sizes[i / 2];
		uint8_t *plain = malloc(len + 1), *back = malloc(len + 1);
		const struct l3_value in = {.kind = L3_CHUNK, .index = 7, .written_min = 99};
		struct l3_value v;
		struct packed p;

		fill(plain, len, i % 2);
		p = pack(&in, plain, len);
		assert_true(p.len <= L3_VALUE_MAX);
		assert_int_equal(l3_value_open(p.data, p.len, &name, &v), 0);
		assert_int_equal(v.kind, L3_CHUNK);
		assert_int_equal(v.index, 7);
		assert_int_equal(v.written_min, 99);
		assert_int_equal(v.plain_len, len);
		assert_int_equal(v.packed, len >= 4096 && i % 2 == 0 ? true : v.packed);
		assert_int_equal(l3_value_unpack(&unpackers, &v, back), 0);
		assert_memory_equal(plain, back, len);
		free(p.data);
		free(plain);
		free(back);
	}
}

static void test_too_much_is_not_packed(void **state)
{
	struct l3_packer *p = l3_packer_new();
	const struct l3_value in = {.kind = L3_BLOB};
	uint8_t *plain = calloc(1, L3_PLAIN_MAX + 1);
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(l3_pack(p, &name, &in, plain, L3_PLAIN_MAX + 1, &data, &len), -EFBIG);
	free(plain);
	l3_packer_free(p);
}

/* Every byte of the header means something, so every change of it is noticed, or is one of the
 * fields that say nothing about content. */
static void test_a_changed_header_is_noticed(void **state)
{
	uint8_t plain[300];
	const struct l3_value in = {.kind = L3_BLOB};
	struct l3_value v;
	struct packed p;

	(void)state;
	fill(plain, sizeof(plain), true);
	p = pack(&in, plain, sizeof(plain));
	for (unsigned at = 0; at < L3_HEADER_BYTES; at++) {
		uint8_t *bytes = p.data;
		bool harmless = at >= 16 && at < 20; /* when it was written */
		uint8_t back[300];
		int r;

		bytes[at] ^= 0x41;
		r = l3_value_open(p.data, p.len, &name, &v);
		if (r == 0)
			r = l3_value_unpack(&unpackers, &v, back);
		if ((r == 0) != harmless)
			fail_msg("byte %u: %d", at, r);
		bytes[at] ^= 0x41;
	}
	free(p.data);
}

static void test_truncated_and_foreign_values_are_refused(void **state)
{
	static const char foreign[] =
		"hello, this is a value of another program, and long enough..";
	uint8_t plain[5000], back[5000];
	const struct l3_value in = {.kind = L3_BLOB};
	struct l3_value v;
	struct packed p;
	struct oid other = name;

	(void)state;
	fill(plain, sizeof(plain), false);
	p = pack(&in, plain, sizeof(plain));
	for (size_t len = 0; len < p.len; len++) {
		uint8_t *cut = malloc(len ? len : 1);
		int r;

		memcpy(cut, p.data, len);
		r = l3_value_open(cut, len, &name, &v);
		if (r == 0)
			r = l3_value_unpack(&unpackers, &v, back);
		assert_int_equal(r, -EBADMSG);
		free(cut);
	}
	assert_int_equal(l3_value_open(foreign, sizeof(foreign), &name, &v), -EBADMSG);
	other.bytes[19] ^= 1;
	assert_int_equal(l3_value_open(p.data, p.len, &other, &v), -EBADMSG);
	other = (struct oid){32, {0}};
	assert_int_equal(l3_value_open(p.data, p.len, &other, &v), -EBADMSG);
	free(p.data);
}

static void test_a_manifest_must_add_up(void **state)
{
	static const uint64_t sizes[] = {1, L3_CHUNK_BYTES, L3_CHUNK_BYTES + 1, 10 * L3_CHUNK_BYTES,
		(uint64_t)L3_CHUNKS_MAX * L3_CHUNK_BYTES};
	uint8_t plain[L3_MANIFEST_BYTES];
	struct l3_manifest m;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t sum = 0;

		l3_manifest_make(sizes[i], plain);
		assert_int_equal(l3_manifest_open(plain, sizeof(plain), &m), 0);
		assert_int_equal(m.size, sizes[i]);
		for (uint32_t c = 0; c < m.chunk_count; c++)
			sum += l3_chunk_len(&m, c);
		assert_int_equal(sum, sizes[i]);
	}
	l3_manifest_make((uint64_t)L3_CHUNKS_MAX * L3_CHUNK_BYTES + 1, plain);
	assert_int_equal(l3_manifest_open(plain, sizeof(plain), &m), -EBADMSG);
	l3_manifest_make(0, plain);
	assert_int_equal(l3_manifest_open(plain, sizeof(plain), &m), -EBADMSG);
	l3_manifest_make(3 * L3_CHUNK_BYTES, plain);
	for (unsigned at = 10; at < 16; at++) { /* too far off to add up */
		plain[at] ^= 0xff;
		assert_int_equal(l3_manifest_open(plain, sizeof(plain), &m), -EBADMSG);
		plain[at] ^= 0xff;
	}
	assert_int_equal(l3_manifest_open(plain, sizeof(plain) - 1, &m), -EBADMSG);
}

static int setup_group(void **state)
{
	(void)state;
	l3_unpackers_init(&unpackers);
	return 0;
}

static int teardown_group(void **state)
{
	(void)state;
	l3_unpackers_fini(&unpackers);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_packed_comes_back),
		cmocka_unit_test(test_too_much_is_not_packed),
		cmocka_unit_test(test_a_changed_header_is_noticed),
		cmocka_unit_test(test_truncated_and_foreign_values_are_refused),
		cmocka_unit_test(test_a_manifest_must_add_up),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
