/* SPDX-License-Identifier: Apache-2.0 */
/* Who has to go when a tier is full: the policy by itself, then the disk and memory tiers with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/health.h"
#include "blob/disk_evict.h"
#include "blob_world.h"

#include <unistd.h>

#define MIB   (1u << 20)
#define LARGE 100000u
#define SMALL 10000u

static void test_marks(void **state)
{
	(void)state;
	assert_int_equal(disk_evict_want(1000, 900, 50), 0);
	assert_int_equal(disk_evict_want(1000, 900, 51), 101); /* down to 850 */
	assert_int_equal(disk_evict_want(1000, 0, 0), 0);
	assert_int_equal(disk_evict_want(1000, 2000, 0), 1150);
	assert_true(disk_evict_want(1000, 10, UINT64_MAX) > 0);
	assert_int_equal(disk_evict_want(UINT64_MAX, 1ull << 62, 1), 0);
}

static void test_coldest_first_oldest_among_equals(void **state)
{
	struct disk_evict_plan *plan = malloc(sizeof(*plan));

	(void)state;
	disk_evict_begin(plan, 250);
	for (uint32_t i = 1; i <= 6; i++) {
		struct disk_candidate c = {
			.bytes = 100, .segment = i, .order = i, .used = (uint16_t)(i % 3)};

		disk_evict_offer(plan, &c);
	}
	disk_evict_sort(plan);
	assert_int_equal(plan->count, 6);
	assert_int_equal(plan->heap[0].segment, 3);
	assert_int_equal(plan->heap[1].segment, 6);
	assert_int_equal(plan->heap[2].segment, 1);
	free(plan);
}

static void test_a_batch_keeps_the_coldest_of_many(void **state)
{
	struct disk_evict_plan *plan = malloc(sizeof(*plan));

	(void)state;
	disk_evict_begin(plan, UINT64_MAX);
	for (unsigned i = 0; i < 20000; i++) {
		struct disk_candidate c = {
			.bytes = 1, .used = (uint16_t)(i * 7919u % 20011u), .order = i};

		disk_evict_offer(plan, &c);
	}
	disk_evict_sort(plan);
	assert_int_equal(plan->count, DISK_EVICT_BATCH);
	for (unsigned i = 1; i < DISK_EVICT_BATCH; i++)
		assert_true(plan->heap[i - 1].used <= plan->heap[i].used);
	assert_in_range(plan->heap[DISK_EVICT_BATCH - 1].used, 0, DISK_EVICT_BATCH + 20);
	free(plan);
}

static void tick(struct blob_world *w)
{
	clock_virtual_advance(&w->clock, DISK_TICK_NS);
}

static void test_least_recently_used_file_goes(void **state)
{
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 2 * MIB);
	for (uint32_t i = 0; i < 18; i++) {
		assert_int_equal(world_put(&w, i, LARGE), 0);
		tick(&w);
	}
	assert_int_equal(world_read(&w, 0, LARGE), LARGE); /* the oldest, but used */
	tick(&w);
	for (uint32_t i = 18; i < 22; i++)
		assert_int_equal(world_put(&w, i, LARGE), 0);
	assert_true(world_has(&w, 0, LARGE));
	assert_false(world_has(&w, 1, LARGE));
	assert_false(world_has(&w, 2, LARGE));
	assert_true(world_has(&w, 17, LARGE));
	assert_true(world_has(&w, 21, LARGE));
	assert_true(world_disk(&w).bytes <= 2 * MIB * 95 / 100);
	assert_true(world_disk(&w).evictions >= 2);
	blob_world_fini(&w);
}

static void test_hot_blobs_are_carried_over(void **state)
{
	struct blob_world w;
	unsigned kept = 0;

	(void)state;
	blob_world_init(&w, 0, 2 * MIB); /* segments of 256 KiB: 26 blobs each */
	for (uint32_t i = 0; i < 52; i++)
		assert_int_equal(world_put(&w, i, SMALL), 0);
	for (unsigned round = 0; round < 2; round++)
		for (uint32_t i = 3; i < 52; i += 26)
			assert_int_equal(world_read(&w, i, SMALL), SMALL);
	tick(&w);
	for (uint32_t i = 100; i < 260; i++)
		assert_int_equal(world_put(&w, i, SMALL), 0);
	for (uint32_t i = 0; i < 26; i++)
		kept += world_has(&w, i, SMALL);
	assert_int_equal(kept, 1);
	assert_int_equal(world_read(&w, 3, SMALL), SMALL);
	blob_world_reopen(&w);
	assert_int_equal(world_read(&w, 3, SMALL), SMALL);
	assert_false(world_has(&w, 0, SMALL));
	blob_world_fini(&w);
}

static void test_the_budget_holds_at_every_step(void **state)
{
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 2 * MIB);
	for (uint32_t i = 0; i < 600; i++) {
		size_t size = i % 5 ? i * 37 % 65536 : 70000 + i * 100;

		assert_int_equal(world_put(&w, i, size), 0);
		assert_true(world_disk(&w).bytes <= 2 * MIB);
		assert_int_equal(world_read(&w, i, size), size); /* what came last is there */
	}
	blob_world_fini(&w);
}

static void test_pinned_blobs_stay(void **state)
{
	struct content small = content_make(1000, SMALL), large = content_make(1001, LARGE);
	struct blob_pin pins[2];
	struct blob_world w;
	uint8_t *buf = malloc(LARGE);

	(void)state;
	blob_world_init(&w, 0, 2 * MIB);
	assert_int_equal(blob_put(w.bs, &small.oid, small.data, small.size), 0);
	assert_int_equal(blob_put(w.bs, &large.oid, large.data, large.size), 0);
	assert_int_equal(blob_pin(w.bs, &small.oid, &pins[0]), 0);
	assert_int_equal(blob_pin(w.bs, &large.oid, &pins[1]), 0);
	tick(&w);
	for (uint32_t i = 0; i < 400; i++)
		assert_int_equal(world_put(&w, i, i % 2 ? SMALL : LARGE), 0);
	assert_true(blob_is_local(w.bs, &small.oid));
	assert_true(blob_is_local(w.bs, &large.oid));
	assert_int_equal(pread(pins[0].fd, buf, SMALL, (off_t)pins[0].offset), SMALL);
	assert_memory_equal(buf, small.data, SMALL);
	assert_int_equal(pread(pins[1].fd, buf, LARGE, 0), LARGE);
	assert_memory_equal(buf, large.data, LARGE);
	blob_unpin(w.bs, &pins[0]);
	blob_unpin(w.bs, &pins[1]);
	tick(&w);
	for (uint32_t i = 400; i < 800; i++)
		assert_int_equal(world_put(&w, i, i % 2 ? SMALL : LARGE), 0);
	assert_false(blob_is_local(w.bs, &small.oid)); /* now they may go */
	assert_false(blob_is_local(w.bs, &large.oid));
	blob_world_fini(&w);
	free(buf);
	content_free(&small);
	content_free(&large);
}

/* Seen as a cache that said it was full, when a large file was being looked at. */
static void test_the_coldest_is_pinned_and_others_go(void **state)
{
	struct content large = content_make(1000, MIB);
	struct blob_pin pin;
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 2 * MIB);
	assert_int_equal(blob_put(w.bs, &large.oid, large.data, large.size), 0);
	assert_int_equal(blob_pin(w.bs, &large.oid, &pin), 0);
	tick(&w);
	for (uint32_t i = 0; i < 60; i++)
		assert_int_equal(world_put(&w, i, i % 2 ? SMALL : LARGE), 0);
	assert_true(blob_is_local(w.bs, &large.oid));
	blob_unpin(w.bs, &pin);
	blob_world_fini(&w);
	content_free(&large);
}

static void test_full_of_pins_is_enospc_and_memory_takes_what_it_can(void **state)
{
	struct blob_pin pins[20];
	struct health_condition condition;
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 2 * MIB);
	w.config.health = health_new(&w.clock.clock, NULL);
	blob_world_reopen(&w);
	for (uint32_t i = 0; i < 20; i++) {
		struct content c = content_make(i, LARGE);

		assert_int_equal(blob_put(w.bs, &c.oid, c.data, c.size), 0);
		assert_int_equal(blob_pin(w.bs, &c.oid, &pins[i]), 0);
		content_free(&c);
	}
	assert_int_equal(health_list(w.config.health, &condition, 1), 0);
	assert_int_equal(world_put(&w, 99, 200000), -ENOSPC);
	assert_int_equal(health_list(w.config.health, &condition, 1), 1);
	assert_non_null(strstr(condition.reason, "cache.disk")); /* the disk itself has room */
	assert_int_equal(world_put(&w, 100, LARGE), 0);          /* it fits into what spills */
	assert_int_equal(world_read(&w, 100, LARGE), LARGE);
	for (uint32_t i = 200; i < 210; i++) {
		assert_int_equal(world_put(&w, i, 60000), 0);
		assert_int_equal(world_read(&w, i, 60000), 60000);
	}
	assert_int_equal(world_disk(&w).pinned, 20);
	assert_true(world_disk(&w).bytes <= 2 * MIB);
	for (uint32_t i = 0; i < 20; i++)
		blob_unpin(w.bs, &pins[i]);
	assert_int_equal(world_put(&w, 100, LARGE), 0);
	assert_int_equal(world_put(&w, 101, 3 * MIB), -ENOSPC); /* more than there ever will be */
	blob_world_fini(&w);
	(void)health_free(w.config.health);
}

static void test_a_smaller_budget_is_kept_at_the_next_start(void **state)
{
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 8 * MIB);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(world_put(&w, i, i % 4 ? SMALL : LARGE), 0);
	assert_true(world_disk(&w).bytes > 4 * MIB);
	w.config.disk_bytes = 2 * MIB;
	blob_world_reopen(&w);
	assert_true(world_disk(&w).bytes <= 2 * MIB);
	assert_int_equal(world_put(&w, 1000, LARGE), 0);
	blob_world_fini(&w);
}

static void test_usage_is_the_same_after_a_start(void **state)
{
	struct blob_world w;
	struct blob_tier_stats before, after;

	(void)state;
	blob_world_init(&w, 0, 8 * MIB);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(world_put(&w, i, i % 4 ? SMALL : LARGE), 0);
	before = world_disk(&w);
	for (unsigned i = 0; i < 3; i++) {
		blob_world_reopen(&w);
		after = world_disk(&w);
		assert_int_equal(before.bytes, after.bytes);
		assert_int_equal(before.blobs, after.blobs);
	}
	blob_world_fini(&w);
}

static void test_memory_forgets_the_least_recently_used(void **state)
{
	struct blob_world w;
	struct blob_stats stats;

	(void)state;
	blob_world_init(&w, 128 * 1024, 64 * MIB);
	for (uint32_t i = 0; i < 12; i++) {
		assert_int_equal(world_put(&w, i, SMALL), 0);
		assert_int_equal(world_read(&w, 0, SMALL), SMALL); /* keeps number 0 warm */
		blob_stats(w.bs, &stats);
		assert_true(stats.tier[0].bytes <= 128 * 1024);
	}
	assert_int_equal(world_put(&w, 12, SMALL), 0);
	assert_int_equal(world_put(&w, 13, SMALL), 0);
	blob_stats(w.bs, &stats);
	assert_true(stats.tier[0].evictions >= 1);
	assert_int_equal(stats.tier[0].blobs, 12);
	assert_int_equal(stats.tier[0].hits, 12);
	assert_int_equal(world_read(&w, 0, SMALL), SMALL);
	assert_int_equal(world_read(&w, 1, SMALL), SMALL); /* from disk */
	blob_stats(w.bs, &stats);
	assert_int_equal(stats.tier[0].hits, 13);
	assert_int_equal(stats.tier[1].hits, 1);
	blob_world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_coldest_first_oldest_among_equals),
		cmocka_unit_test(test_a_batch_keeps_the_coldest_of_many),
		cmocka_unit_test(test_least_recently_used_file_goes),
		cmocka_unit_test(test_hot_blobs_are_carried_over),
		cmocka_unit_test(test_the_budget_holds_at_every_step),
		cmocka_unit_test(test_pinned_blobs_stay),
		cmocka_unit_test(test_the_coldest_is_pinned_and_others_go),
		cmocka_unit_test(test_full_of_pins_is_enospc_and_memory_takes_what_it_can),
		cmocka_unit_test(test_a_smaller_budget_is_kept_at_the_next_start),
		cmocka_unit_test(test_usage_is_the_same_after_a_start),
		cmocka_unit_test(test_memory_forgets_the_least_recently_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
