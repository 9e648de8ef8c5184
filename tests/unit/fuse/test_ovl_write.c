/* SPDX-License-Identifier: Apache-2.0 */
/* WRITE, fallocate, copy_range, fsync: the bytes, and the quota to the block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <linux/falloc.h>

static uint64_t used(struct world *w)
{
	world_check_usage(w);
	return quota_used(&w->quota, QUOTA_BYTES);
}

static void a_growing_file_is_charged_by_the_block(void **state)
{
	static char page[4096];
	struct world *w = *state;
	struct world_at at;

	assert_int_equal(world_make(w, WORLD_FILE, "f", 0644, &at), 0);
	assert_int_equal(used(w), 0);
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(
			ovl_write(w->o, world_rq(w), at.e.id, page, 1000, i * 1000, false), 1000);
		assert_int_equal(used(w), ((i + 1) * 1000 + 4095) / 4096 * 4096);
	}
	assert_int_equal(world_setattr(w, "f", &(struct stat){.st_size = 4097}, OVL_SET_SIZE), 0);
	assert_int_equal(used(w), 8192);
	world_forget(w, &at);
	assert_int_equal(world_remove(w, "f", false), 0);
	assert_int_equal(used(w), 0);
}

static void a_full_quota_refuses_growth_but_not_overwriting(void **state)
{
	static char data[8192];
	struct world *w = *state;
	struct world_at at;

	quota_set_limit(&w->quota, QUOTA_BYTES, 8192);
	assert_int_equal(world_make(w, WORLD_FILE, "f", 0644, &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 8192, 0, false), 8192);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 1, 8192, false), -EDQUOT);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 8192, 0, false), 8192);
	assert_int_equal(used(w), 8192);
	assert_int_equal(quota_refused(&w->quota, QUOTA_BYTES) > 0, 1);
	world_forget(w, &at);
}

static void preallocated_space_can_be_written_when_the_quota_is_full(void **state)
{
	static char data[8192];
	struct world *w = *state;
	struct world_at at;

	assert_int_equal(world_make(w, WORLD_FILE, "f", 0644, &at), 0);
	assert_int_equal(
		ovl_fallocate(w->o, world_rq(w), at.e.id, FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
	assert_int_equal(used(w), 1 << 20);
	quota_set_limit(&w->quota, QUOTA_BYTES, 1 << 20);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 8192, 4096, false), 8192);
	assert_int_equal(ovl_fallocate(w->o, world_rq(w), at.e.id, 0, 1 << 20, 4096), -EDQUOT);
	world_forget(w, &at);
}

static void a_hole_costs_nothing_and_punching_gives_back(void **state)
{
	static char data[16384];
	struct world *w = *state;
	struct world_at at;

	assert_int_equal(world_make(w, WORLD_FILE, "f", 0644, &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 1, 1 << 20, false), 1);
	assert_int_equal(used(w), 4096);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, data, 16384, 0, false), 16384);
	assert_int_equal(ovl_fallocate(w->o, world_rq(w), at.e.id,
				 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192),
		0);
	assert_int_equal(used(w), 12288);
	world_forget(w, &at);
}

static void a_write_takes_set_id_bits_away_when_asked(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_FILE, "f", 06755, &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, 0, false), 1);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 06755);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, 0, true), 1);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	world_forget(w, &at);
}

static void a_range_is_copied_between_upper_files(void **state)
{
	struct world *w = *state;
	struct world_at a, b, low;
	char text[16] = "";

	world_put(w, "a", "0123456789");
	world_put(w, "b", "..........");
	assert_int_equal(world_walk(w, "a", &a), 0);
	assert_int_equal(world_walk(w, "b", &b), 0);
	assert_int_equal(world_walk(w, "tool", &low), 0);
	struct ovl_copy copy = {a.e.id, 2, b.e.id, 5, 100};

	assert_int_equal(ovl_copy_range(w->o, world_rq(w), &copy), 8);
	assert_int_equal(ovl_read(w->o, world_rq(w), b.e.id, text, sizeof(text), 0), 13);
	assert_string_equal(text, ".....23456789");
	copy.in_id = low.e.id;
	assert_int_equal(ovl_copy_range(w->o, world_rq(w), &copy), -EOPNOTSUPP);
	assert_int_equal(used(w), 8192);
	world_forget(w, &low);
	world_forget(w, &b);
	world_forget(w, &a);
}

static void odd_requests_are_refused(void **state)
{
	struct world *w = *state;
	struct world_at at;

	assert_int_equal(world_walk(w, "d", &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, 0, false), -EISDIR);
	assert_int_equal(ovl_fsync(w->o, world_rq(w), at.e.id, false), 0);
	world_forget(w, &at);
	assert_int_equal(world_walk(w, "tool", &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, UINT64_MAX, false), -EFBIG);
	assert_int_equal(ovl_fallocate(w->o, world_rq(w), at.e.id, 0, 0, 0), -EINVAL);
	assert_int_equal(ovl_fallocate(w->o, world_rq(w), at.e.id, 0, 1, INT64_MAX), -EFBIG);
	assert_int_equal(ovl_fsync(w->o, world_rq(w), at.e.id, false), 0);
	assert_int_equal(world_upper_stat(w, "tool", &(struct stat){0}), -ENOENT);
	assert_int_equal(ovl_write(w->o, world_rq(w), 0x123456789abc, "x", 1, 0, false), -ESTALE);
	world_forget(w, &at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
		TEST(a_growing_file_is_charged_by_the_block),
		TEST(a_full_quota_refuses_growth_but_not_overwriting),
		TEST(preallocated_space_can_be_written_when_the_quota_is_full),
		TEST(a_hole_costs_nothing_and_punching_gives_back),
		TEST(a_write_takes_set_id_bits_away_when_asked),
		TEST(a_range_is_copied_between_upper_files),
		TEST(odd_requests_are_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
