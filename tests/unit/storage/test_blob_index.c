/* SPDX-License-Identifier: Apache-2.0 */
/* The index of the disk tier against a plain array, through growth and deletion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "blob/disk_index.h"

#include <errno.h>
#include <string.h>

#define COUNT 20000u

static struct disk_key key_of(uint32_t n)
{
	struct disk_key key = {.oid_len = n % 2 ? 20 : 32};

	/* as bad as keys can be: they differ in few bits */
	memcpy(key.bytes + n % 3 * 8, &n, sizeof(n) - (n % 3 == 2 ? 0 : 1));
	memcpy(key.bytes + 4, &n, sizeof(n));
	return key;
}

static struct disk_place place_of(uint32_t n)
{
	return n % 3 ? (struct disk_place){.segment = n % 7 + 1, .offset = n * 8, .size = n % 65536}
		     : (struct disk_place){.size = 1ull << 33 | n};
}

static void expect(struct disk_index *ix, uint32_t n, bool there)
{
	struct disk_key key = key_of(n);
	struct disk_place want = place_of(n), is;

	assert_int_equal(disk_index_find(ix, &key, &is), there);
	if (!there)
		return;
	assert_int_equal(is.segment, want.segment);
	assert_int_equal(is.offset, want.offset);
	assert_int_equal(is.size, want.size);
}

static bool visit_count(void *arg, const struct disk_key *key, const struct disk_place *place)
{
	(void)key;
	(void)place;
	++*(unsigned *)arg;
	return false;
}

static bool visit_drop_segment_3(
	void *arg, const struct disk_key *key, const struct disk_place *place)
{
	(void)arg;
	(void)key;
	return place->segment == 3;
}

static void test_against_an_array(void **state)
{
	struct disk_index *ix;
	bool there[COUNT] = {0};
	unsigned count = 0, seen = 0;
	uint32_t x = 1;

	(void)state;
	assert_int_equal(disk_index_new(&ix), 0);
	for (unsigned step = 0; step < 3 * COUNT; step++) {
		uint32_t n = (x = x * 1664525u + 1013904223u) >> 8, r;
		struct disk_key key = key_of(n %= COUNT);
		struct disk_place place = place_of(n);

		if (step % 3 < 2) {
			r = (uint32_t)disk_index_add(ix, &key, &place);
			assert_int_equal((int)r, there[n] ? -EEXIST : 0);
			count += !there[n];
			there[n] = true;
		} else {
			assert_int_equal(disk_index_drop(ix, &key, &place), there[n]);
			count -= there[n];
			there[n] = false;
		}
	}
	for (uint32_t n = 0; n < COUNT; n++)
		expect(ix, n, there[n]);
	assert_int_equal(disk_index_count(ix), count);
	disk_index_each(ix, visit_count, &seen);
	assert_int_equal(seen, count);
	disk_index_each(ix, visit_drop_segment_3, NULL);
	for (uint32_t n = 0; n < COUNT; n++)
		expect(ix, n, there[n] && place_of(n).segment != 3);
	disk_index_free(ix);
}

static void test_changes_only_what_is_still_there(void **state)
{
	struct disk_key key = key_of(1);
	struct disk_place a = {.segment = 1, .offset = 64, .size = 5},
			  b = {.segment = 2, .offset = 64, .size = 5}, is;
	struct disk_index *ix;

	(void)state;
	assert_int_equal(disk_index_new(&ix), 0);
	assert_int_equal(disk_index_add(ix, &key, &a), 0);
	assert_false(disk_index_drop(ix, &key, &b));
	disk_index_prove(ix, &key, &b);
	assert_true(disk_index_find(ix, &key, &is));
	assert_false(is.proven);
	disk_index_prove(ix, &key, &a);
	assert_true(disk_index_find(ix, &key, &is));
	assert_true(is.proven);
	assert_false(disk_index_move(ix, &key, &b, &a));
	assert_true(disk_index_move(ix, &key, &a, &b));
	assert_true(disk_index_drop(ix, &key, &b));
	assert_false(disk_index_find(ix, &key, &is));
	disk_index_free(ix);
}

static struct disk_segment *hold_nothing(void *arg, uint32_t segment)
{
	*(uint32_t *)arg = segment;
	return NULL;
}

static void test_use_counts_reads(void **state)
{
	uint32_t held = 0;
	struct disk_hold hold = {.fn = hold_nothing, .arg = &held};
	struct disk_key key = key_of(1);
	struct disk_place place = {.segment = 9, .offset = 64, .size = 5};
	struct disk_index *ix;

	(void)state;
	assert_int_equal(disk_index_new(&ix), 0);
	assert_false(disk_index_use(ix, &key, 1, &hold, &place));
	assert_int_equal(disk_index_add(ix, &key, &place), 0);
	for (unsigned i = 0; i < 6; i++) {
		assert_true(disk_index_use(ix, &key, (uint16_t)(100 + i), &hold, &place));
		assert_int_equal(held, 9);
		assert_int_equal(place.heat, i < DISK_HEAT_MAX ? i : DISK_HEAT_MAX);
	}
	assert_int_equal(place.used, 104); /* before the last read */
	disk_index_free(ix);
}

static void test_no_memory_changes_nothing(void **state)
{
	struct disk_index *ix;
	unsigned failed = 0;

	(void)state;
	for (unsigned n = 0;; n++) {
		ix = NULL;
		alloc_fault_arm(n);
		assert_int_equal(disk_index_new(&ix), alloc_fault_disarm() ? -ENOMEM : 0);
		if (ix)
			break;
	}
	for (uint32_t n = 0; n < 5000; n++) {
		struct disk_key key = key_of(n);
		struct disk_place place = place_of(n);
		int r;

		alloc_fault_arm(0);
		r = disk_index_add(ix, &key, &place);
		(void)alloc_fault_disarm();
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			expect(ix, n, false);
			failed++;
			while ((r = disk_index_add(ix, &key, &place)) < 0)
				fail_msg("%d", r);
		}
		expect(ix, n, true);
	}
	assert_true(failed > 0);
	assert_int_equal(disk_index_count(ix), 5000);
	disk_index_free(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
		cmocka_unit_test(test_changes_only_what_is_still_there),
		cmocka_unit_test(test_use_counts_reads),
		cmocka_unit_test(test_no_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
