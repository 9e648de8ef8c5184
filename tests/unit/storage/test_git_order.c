/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are read in the order in which they were listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/git_order.h"

#include <string.h>

static struct oid id(unsigned i)
{
	struct oid oid = {.len = 20};

	memcpy(oid.bytes, &i, sizeof(i));
	return oid;
}

static void list(struct gitorder *o, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		struct oid oid = id(i);

		gitorder_listed(o, &oid);
	}
}

static size_t miss(struct gitorder *o, unsigned i, struct oid *next)
{
	struct oid oid = id(i);

	return gitorder_missed(o, &oid, next, 4096);
}

static void test_readers_in_order_get_more_and_more(void **state)
{
	static struct oid next[4096];
	struct gitorder o;

	(void)state;
	assert_int_equal(gitorder_init(&o), 0);
	list(&o, 1, 20000);
	list(&o, 5, 10); /* again: it changes nothing */
	assert_int_equal(miss(&o, 1, next), 0);
	assert_int_equal(miss(&o, 2, next), 16);
	for (unsigned i = 0; i < 16; i++) {
		struct oid wanted = id(3 + i);

		assert_true(oid_equal(&next[i], &wanted));
	}
	assert_int_equal(miss(&o, 19, next), 64);
	assert_int_equal(miss(&o, 100, next), 256); /* a few were local */
	assert_int_equal(miss(&o, 357, next), 1024);
	assert_int_equal(miss(&o, 1382, next), 2048);
	assert_int_equal(miss(&o, 3431, next), 2048);
	assert_int_equal(miss(&o, 20000, next), 0); /* somewhere else */
	assert_int_equal(miss(&o, 77777, next), 0); /* never listed */
	gitorder_fini(&o);
}

static void test_readers_at_random_get_nothing(void **state)
{
	struct oid next[64];
	struct gitorder o;

	(void)state;
	assert_int_equal(gitorder_init(&o), 0);
	list(&o, 1, 20000);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(miss(&o, 19000 - 900 * i, next), 0);
	gitorder_fini(&o);
}

static void test_the_oldest_are_forgotten(void **state)
{
	struct oid next[64];
	struct gitorder o;

	(void)state;
	assert_int_equal(gitorder_init(&o), 0);
	list(&o, 1, GITORDER_MAX + 10);
	assert_int_equal(hashmap_count(&o.places), GITORDER_MAX);
	assert_int_equal(miss(&o, 5, next), 0);
	assert_int_equal(miss(&o, 12, next), 0);
	assert_int_equal(miss(&o, 13, next), 16);
	assert_int_equal(miss(&o, GITORDER_MAX + 9, next), 0);
	assert_int_equal(miss(&o, GITORDER_MAX + 10, next), 0); /* nothing follows */
	gitorder_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readers_in_order_get_more_and_more),
		cmocka_unit_test(test_readers_at_random_get_nothing),
		cmocka_unit_test(test_the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
