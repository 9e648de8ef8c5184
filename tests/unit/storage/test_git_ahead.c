/* SPDX-License-Identifier: Apache-2.0 */
/* Which directories come next, and how much is fetched ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/git_ahead.h"

#define MIN 10u
#define MAX 1000u

static struct oid id(unsigned i)
{
	struct oid oid = {.len = 20};

	oid.bytes[0] = (uint8_t)i;
	oid.bytes[1] = (uint8_t)(i >> 8);
	return oid;
}

static void list(struct gitahead *a, unsigned tree, unsigned first, unsigned count)
{
	struct oid children[200], self = id(tree);

	for (unsigned i = 0; i < count; i++)
		children[i] = id(first + i);
	gitahead_listed(a, &self, children, count);
}

static void test_the_order_is_that_of_a_walk(void **state)
{
	static const unsigned wanted[] = {13, 2, 3};
	struct oid next[8], tree = id(12);
	struct gitahead a;

	(void)state;
	assert_int_equal(gitahead_init(&a, MIN, MAX), 0);
	list(&a, 0, 1, 3);  /* 0 holds 1 2 3 */
	list(&a, 1, 11, 3); /* 1 holds 11 12 13 */
	list(&a, 11, 0, 0);
	assert_int_equal(gitahead_next(&a, &tree, next, 8), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(next[i].bytes[0], wanted[i]);
	assert_int_equal(gitahead_next(&a, &tree, next, 1), 1);
	tree = id(99); /* nobody expected it: what comes is what was expected anyway */
	assert_int_equal(gitahead_next(&a, &tree, next, 8), 4);
	gitahead_fini(&a);
}

static void test_a_walk_gets_more_and_more(void **state)
{
	uint64_t now_ns = 100 * NS_PER_S;
	struct oid root = id(0), tree;
	struct gitahead a;

	(void)state;
	assert_int_equal(gitahead_init(&a, MIN, MAX), 0);
	assert_int_equal(gitahead_missed(&a, &root, now_ns), MIN);
	list(&a, 0, 1, 9);
	tree = id(1);
	assert_int_equal(gitahead_missed(&a, &tree, now_ns), 4 * MIN);
	tree = id(4);
	assert_int_equal(gitahead_missed(&a, &tree, now_ns), 16 * MIN);
	for (unsigned i = 0; i < 5; i++)
		(void)gitahead_missed(&a, &tree, now_ns);
	assert_int_equal(gitahead_missed(&a, &tree, now_ns), MAX);
	/* after a pause, or somewhere else, it starts again */
	assert_int_equal(gitahead_missed(&a, &tree, now_ns + 60 * NS_PER_S), MIN);
	assert_int_equal(gitahead_missed(&a, &tree, now_ns + 60 * NS_PER_S), 4 * MIN);
	tree = id(77);
	assert_int_equal(gitahead_missed(&a, &tree, now_ns + 60 * NS_PER_S), MIN);
	gitahead_fini(&a);
}

static void test_it_is_bounded(void **state)
{
	struct oid next[1];
	struct gitahead a;

	(void)state;
	assert_int_equal(gitahead_init(&a, MIN, MAX), 0);
	for (unsigned i = 0; i < 300; i++) {
		list(&a, 10000, i * 100, 100);
		assert_in_range(a.count, 1, GITAHEAD_MAX);
	}
	assert_int_equal(
		gitahead_next(&a, &(struct oid){.len = 20, .bytes = {1, 2, 3}}, next, 1), 1);
	assert_true(
		oid_equal(&next[0], &(struct oid){.len = 20, .bytes = {29900 % 256, 29900 / 256}}));
	gitahead_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_order_is_that_of_a_walk),
		cmocka_unit_test(test_a_walk_gets_more_and_more),
		cmocka_unit_test(test_it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
