/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of what is to be written refuses rather than grows. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "blob/blob_redis_queue.h"

#include <stdlib.h>

static struct l3_item *item(size_t len)
{
	static const struct oid oid = {20, {1}};
	struct l3_item *i = l3_item_new(L3_ITEM_BLOB, &oid, NULL, len);

	assert_non_null(i);
	return i;
}

static unsigned take(struct l3_queue *q, unsigned count, size_t bytes)
{
	struct list items;
	unsigned n = 0;

	list_init(&items);
	assert_true(l3_queue_take(q, &items, count, bytes, 0));
	list_for_each_safe (it, &items) {
		list_remove(it);
		free(list_entry(it, struct l3_item, node));
		n++;
	}
	return n;
}

static void test_bytes_are_bounded(void **state)
{
	struct l3_queue q;
	uint64_t count, bytes;
	unsigned taken = 0;

	(void)state;
	l3_queue_init(&q, 10000);
	while (l3_queue_push(&q, item(1000)))
		taken++;
	assert_in_range(taken, 8, 9);
	l3_queue_fill(&q, &count, &bytes);
	assert_int_equal(count, taken);
	assert_in_range(bytes, 8000, 10000);
	assert_int_equal(take(&q, 2, 1 << 20), 2);
	assert_true(l3_queue_push(&q, item(1000)));
	assert_int_equal(take(&q, 100, 2500), 2); /* as much as fits */
	assert_int_equal(take(&q, 100, 1), 1);    /* at least one */
	l3_queue_fini(&q);
}

static void test_entries_are_bounded(void **state)
{
	struct l3_queue q;
	unsigned n = 0;

	(void)state;
	l3_queue_init(&q, UINT64_MAX / 2);
	while (l3_queue_push(&q, item(0)))
		n++;
	assert_int_equal(n, L3_QUEUE_ITEMS_MAX);
	l3_queue_fini(&q);
}

static void test_a_mark_is_passed_when_all_before_it_is_written(void **state)
{
	struct l3_queue q;
	uint64_t mark;

	(void)state;
	l3_queue_init(&q, 1 << 20);
	assert_int_equal(l3_queue_written(&q), l3_queue_mark(&q));
	assert_true(l3_queue_push(&q, item(1)));
	assert_true(l3_queue_push(&q, item(1)));
	mark = l3_queue_mark(&q);
	assert_true(l3_queue_push(&q, item(1)));
	assert_int_equal(take(&q, 1, 100), 1);
	l3_queue_wrote(&q);
	assert_true(l3_queue_written(&q) < mark);
	assert_int_equal(take(&q, 1, 100), 1);
	assert_true(l3_queue_written(&q) < mark); /* taken only */
	l3_queue_wrote(&q);
	assert_true(l3_queue_written(&q) >= mark);
	assert_true(l3_queue_written(&q) < l3_queue_mark(&q));
	l3_queue_fini(&q);
}

static void test_stopping_refuses_and_wakes(void **state)
{
	struct l3_queue q;
	struct list items;

	(void)state;
	list_init(&items);
	l3_queue_init(&q, 1 << 20);
	l3_queue_stop(&q);
	assert_false(l3_queue_push(&q, item(1)));
	assert_false(l3_queue_take(&q, &items, 1, 1, NS_NEVER)); /* at once */
	l3_queue_fini(&q);
}

static void test_a_kick_wakes_once(void **state)
{
	struct l3_queue q;
	struct list items;
	uint64_t soon_ns = clock_after(&clock_system, 20 * NS_PER_MS);

	(void)state;
	list_init(&items);
	l3_queue_init(&q, 1 << 20);
	l3_queue_kick(&q);
	assert_true(l3_queue_take(&q, &items, 1, 1, NS_NEVER)); /* at once, with nothing */
	assert_true(list_empty(&items));
	assert_true(l3_queue_take(&q, &items, 1, 1, soon_ns));
	assert_true(clock_mono_ns(&clock_system) >= soon_ns);
	l3_queue_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_are_bounded),
		cmocka_unit_test(test_entries_are_bounded),
		cmocka_unit_test(test_a_mark_is_passed_when_all_before_it_is_written),
		cmocka_unit_test(test_stopping_refuses_and_wakes),
		cmocka_unit_test(test_a_kick_wakes_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
