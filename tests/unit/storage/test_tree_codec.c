// SPDX-License-Identifier: Apache-2.0
/* storage/tree: packed directories keep what was put in, find every name, and survive any damage of
 * their bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc_fault.h"
#include "tree/tree_codec.h"

static struct oid oid_of(uint8_t seed, uint8_t len)
{
	struct oid o = {.len = len};

	memset(o.bytes, seed, len);
	return o;
}

static int add(
	struct tree_builder *b, const char *name, uint32_t mode, struct oid oid, int64_t size)
{
	const struct tree_builder_entry entry = {
		.name = name,
		.name_len = strlen(name),
		.mode = mode,
		.oid = oid,
		.size_known = size >= 0,
		.size = size >= 0 ? (uint64_t)size : 0,
	};

	return tree_builder_add(b, &entry);
}

struct record {
	void *bytes;
	size_t len;
};

static struct record finish(struct tree_builder *b)
{
	struct record r;

	assert_int_equal(tree_builder_finish(b, &r.bytes, &r.len), 0);
	tree_builder_free(b);
	return r;
}

/* One of each class, given out of order. */
static struct record sample(uint8_t oid_len)
{
	struct tree_builder *b = tree_builder_new(oid_len);

	assert_int_equal(add(b, "tool", S_IFREG | 0755, oid_of(3, oid_len), 30), 0);
	assert_int_equal(add(b, "file", S_IFREG | 0644, oid_of(1, oid_len), 1ll << 40), 0);
	assert_int_equal(add(b, "sub", S_IFDIR, (struct oid){0}, -1), 0);
	assert_int_equal(add(b, "dir", S_IFDIR, oid_of(4, oid_len), -1), 0);
	assert_int_equal(add(b, "link", S_IFLNK, oid_of(2, oid_len), 12), 0);
	assert_int_equal(add(b, "old", S_IFREG | 0664, oid_of(5, oid_len), 0), 0);
	return finish(b);
}

static void expect_entry(
	const struct tree_view *v, const char *name, uint32_t mode, uint64_t size, int oid_byte)
{
	struct tree_entry entry;
	uint32_t idx;

	assert_true(tree_view_find(v, name, strlen(name), &idx));
	tree_view_entry(v, idx, &entry);
	assert_int_equal(entry.name_len, strlen(name));
	assert_memory_equal(entry.name, name, strlen(name));
	assert_int_equal(entry.mode, mode);
	assert_true(entry.size_known);
	assert_int_equal(entry.size, size);
	if (oid_byte < 0) {
		assert_null(entry.oid);
	} else {
		assert_non_null(entry.oid);
		for (unsigned i = 0; i < v->oid_len; i++)
			assert_int_equal(entry.oid[i], oid_byte);
	}
}

static void test_every_class_comes_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct record r = sample(i ? 32 : 20);
		struct tree_view v;
		uint32_t idx;

		assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
		assert_int_equal(v.count, 6);
		assert_int_equal(v.subdirs, 2);
		assert_int_equal(v.oid_len, i ? 32 : 20);
		assert_true(v.sizes_known);
		expect_entry(&v, "file", S_IFREG | 0644, 1ull << 40, 1);
		expect_entry(&v, "link", S_IFLNK | 0777, 12, 2);
		expect_entry(&v, "tool", S_IFREG | 0755, 30, 3);
		expect_entry(&v, "dir", S_IFDIR | 0755, 0, 4);
		expect_entry(&v, "sub", S_IFDIR | 0755, 0, -1);
		expect_entry(&v, "old", S_IFREG | 0644, 0, 5);
		assert_false(tree_view_find(&v, "fil", 3, &idx));
		assert_false(tree_view_find(&v, "file2", 5, &idx));
		assert_false(tree_view_find(&v, "", 0, &idx));
		assert_false(tree_view_find(&v, "zzz", 3, &idx));
		free(r.bytes);
	}
}

static void test_empty_directory(void **state)
{
	struct record r = finish(tree_builder_new(20));
	struct tree_view v;
	uint32_t idx;

	(void)state;
	assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
	assert_int_equal(v.count, 0);
	assert_true(v.sizes_known);
	assert_false(tree_view_find(&v, "a", 1, &idx));
	free(r.bytes);
}

/* Git sorts "a.c" before "a/" before "a0"; here plain bytes decide, and bytes over 0x7f come last.
 */
static void test_order_is_by_bytes(void **state)
{
	static const char *const sorted[] = {
		"A", "a", "a b", "a.c", "a0", "ab", "b\nc", "\xc3\xa4", "\xff\xfe"};
	static const unsigned shuffled[] = {4, 8, 0, 6, 2, 7, 1, 5, 3};
	struct tree_builder *b = tree_builder_new(20);
	struct record r;
	struct tree_view v;

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(add(b, sorted[shuffled[i]], S_IFREG | 0644, oid_of(1, 20), 1), 0);
	r = finish(b);
	assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
	for (uint32_t i = 0; i < 9; i++) {
		struct tree_entry entry;
		uint32_t idx;

		tree_view_entry(&v, i, &entry);
		assert_int_equal(entry.name_len, strlen(sorted[i]));
		assert_memory_equal(entry.name, sorted[i], entry.name_len);
		assert_true(tree_view_find(&v, sorted[i], strlen(sorted[i]), &idx));
		assert_int_equal(idx, i);
	}
	free(r.bytes);
}

static void test_unknown_sizes_show(void **state)
{
	struct tree_builder *b = tree_builder_new(20);
	struct record r;
	struct tree_view v;
	struct tree_entry entry;

	(void)state;
	assert_int_equal(add(b, "known", S_IFREG | 0644, oid_of(1, 20), 5), 0);
	assert_int_equal(add(b, "unknown", S_IFREG | 0644, oid_of(2, 20), -1), 0);
	r = finish(b);
	assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
	assert_false(v.sizes_known);
	tree_view_entry(&v, 0, &entry);
	assert_true(entry.size_known);
	tree_view_entry(&v, 1, &entry);
	assert_false(entry.size_known);
	free(r.bytes);
}

static void expect_refused(const char *name, size_t len, uint32_t mode, struct oid oid)
{
	struct tree_builder *b = tree_builder_new(20);
	const struct tree_builder_entry entry = {name, len, mode, oid, true, 0};
	void *bytes;
	size_t n;

	assert_int_equal(tree_builder_add(b, &entry), -EBADMSG);
	assert_int_equal(tree_builder_finish(b, &bytes, &n), -EBADMSG);
	tree_builder_free(b);
}

static void test_bad_entries_are_refused(void **state)
{
	char longest[256];
	struct oid oid = oid_of(1, 20);

	(void)state;
	memset(longest, 'n', sizeof(longest));
	expect_refused("", 0, S_IFREG, oid);
	expect_refused(".", 1, S_IFREG, oid);
	expect_refused("..", 2, S_IFDIR, oid);
	expect_refused("a/b", 3, S_IFREG, oid);
	expect_refused("a\0b", 3, S_IFREG, oid);
	expect_refused(longest, 256, S_IFREG, oid);
	expect_refused("f", 1, S_IFCHR, oid);
	expect_refused("f", 1, S_IFREG, oid_of(1, 32));
	expect_refused("f", 1, S_IFREG, (struct oid){0});
	expect_refused("f", 1, 0, oid);
}

static void test_longest_name_is_fine(void **state)
{
	char longest[256];
	struct tree_builder *b = tree_builder_new(20);
	struct record r;
	struct tree_view v;
	uint32_t idx;

	(void)state;
	memset(longest, 'n', 255);
	longest[255] = '\0';
	assert_int_equal(add(b, longest, S_IFREG, oid_of(1, 20), 1), 0);
	r = finish(b);
	assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
	assert_true(tree_view_find(&v, longest, 255, &idx));
	free(r.bytes);
}

static void test_duplicates_are_refused(void **state)
{
	struct tree_builder *b = tree_builder_new(20);
	void *bytes;
	size_t len;

	(void)state;
	assert_int_equal(add(b, "a", S_IFREG, oid_of(1, 20), 1), 0);
	assert_int_equal(add(b, "b", S_IFREG, oid_of(1, 20), 1), 0);
	assert_int_equal(add(b, "a", S_IFDIR, oid_of(2, 20), -1), 0);
	assert_int_equal(tree_builder_finish(b, &bytes, &len), -EBADMSG);
	tree_builder_free(b);
}

static void test_large_directory(void **state)
{
	struct tree_builder *b = tree_builder_new(20);
	struct record r;
	struct tree_view v;
	char name[32];

	(void)state;
	for (uint32_t i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "file-%u.c", i * 7919u % 20000u);
		assert_int_equal(add(b, name, S_IFREG, oid_of((uint8_t)i, 20), i), 0);
	}
	r = finish(b);
	assert_int_equal(tree_view_over(r.bytes, r.len, &v), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		struct tree_entry entry;
		uint32_t idx;
		size_t len = (size_t)snprintf(name, sizeof(name), "file-%u.c", i);

		assert_true(tree_view_find(&v, name, len, &idx));
		tree_view_entry(&v, idx, &entry);
		assert_int_equal(entry.name_len, len);
		assert_memory_equal(entry.name, name, len);
	}
	free(r.bytes);
}

/* Use a view in every way, as if its record were true. Only a crash or a sanitizer can fail this.
 */
static void use(const struct tree_view *v)
{
	uint64_t sum = 0;
	uint32_t idx;

	for (uint32_t i = 0; i < v->count; i++) {
		struct tree_entry entry;

		tree_view_entry(v, i, &entry);
		for (unsigned n = 0; n < entry.name_len; n++)
			sum += (uint8_t)entry.name[n];
		for (unsigned n = 0; entry.oid && n < v->oid_len; n++)
			sum += entry.oid[n];
		sum += tree_view_find(v, entry.name, entry.name_len, &idx);
	}
	sum += tree_view_find(v, "file", 4, &idx);
	assert_true(sum < UINT64_MAX);
}

/* Each single byte changed: the full check sees it, and reading without the check stays inside the
 * record. */
static void test_every_flipped_byte_is_found(void **state)
{
	struct record r = sample(20);
	uint8_t *copy =
		malloc(r.len); /* exact size, so that a sanitizer sees the first byte too far */
	struct tree_view v;

	(void)state;
	assert_non_null(copy);
	for (size_t i = 0; i < r.len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, r.bytes, r.len);
			copy[i] ^= (uint8_t)(1u << bit);
			assert_int_equal(tree_view_over(copy, r.len, &v), -EBADMSG);
			if (tree_codec_open(copy, r.len, &v) == 0)
				use(&v);
		}
	free(copy);
	free(r.bytes);
}

static void test_every_truncation_is_found(void **state)
{
	struct record r = sample(32);
	struct tree_view v;

	(void)state;
	for (size_t len = 0; len < r.len; len++) {
		void *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, r.bytes, len);
		assert_int_equal(tree_codec_open(copy, len, &v), -EBADMSG);
		assert_int_equal(tree_view_over(copy, len, &v), -EBADMSG);
		free(copy);
	}
	free(r.bytes);
}

/* A record with a right checksum that lies all the same: its maker was wrong or hostile. */
static void test_lies_under_a_good_checksum(void **state)
{
	struct record r = sample(20);
	uint8_t *bytes = r.bytes;
	struct tree_view v;
	uint32_t crc;

	(void)state;
	bytes[TREE_HEADER_BYTES + 8] = 0xff; /* first name's offset */
	bytes[TREE_HEADER_BYTES + 9] = 0xff;
	crc = tree_codec_crc(bytes, r.len);
	memcpy(bytes + 24, &crc, sizeof(crc));
	assert_int_equal(tree_view_over(bytes, r.len, &v), -EBADMSG);
	assert_int_equal(tree_codec_open(bytes, r.len, &v), 0);
	use(&v);
	free(r.bytes);
}

static void test_building_without_memory(void **state)
{
	unsigned n;

	(void)state;
	for (n = 0; n < 100; n++) {
		struct tree_builder *b;
		struct record r = {0};
		int result = -ENOMEM;

		alloc_fault_arm(n);
		b = tree_builder_new(20);
		if (b) {
			result = add(b, "a", S_IFREG, oid_of(1, 20), 1);
			if (result == 0)
				result = tree_builder_finish(b, &r.bytes, &r.len);
		}
		tree_builder_free(b);
		free(r.bytes);
		if (!alloc_fault_disarm()) {
			assert_int_equal(result, 0);
			break;
		}
		assert_int_equal(result, -ENOMEM);
	}
	assert_in_range(n, 4, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_class_comes_back),
		cmocka_unit_test(test_empty_directory),
		cmocka_unit_test(test_order_is_by_bytes),
		cmocka_unit_test(test_unknown_sizes_show),
		cmocka_unit_test(test_bad_entries_are_refused),
		cmocka_unit_test(test_longest_name_is_fine),
		cmocka_unit_test(test_duplicates_are_refused),
		cmocka_unit_test(test_large_directory),
		cmocka_unit_test(test_every_flipped_byte_is_found),
		cmocka_unit_test(test_every_truncation_is_found),
		cmocka_unit_test(test_lies_under_a_good_checksum),
		cmocka_unit_test(test_building_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
