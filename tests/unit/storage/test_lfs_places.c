/* SPDX-License-Identifier: Apache-2.0 */
/* origin/lfs_places.h: a place serves once, not for long, and there are never too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/lfs_places.h"

#include <stdlib.h>
#include <string.h>

static struct lfs_pointer object(unsigned number)
{
	struct lfs_pointer p = {.size = number};

	memcpy(p.sha256, &number, sizeof(number));
	return p;
}

static void put(struct lfs_places *p, unsigned number, const char *href, uint64_t now_ns)
{
	const struct lfs_pointer o = object(number);
	struct lfs_action action = {.href = strdup(href)};

	assert_non_null(action.href);
	lfs_places_put(p, &o, &action, now_ns);
	assert_null(action.href);
}

/* Its href is the caller's; NULL: none is known. */
static char *take(struct lfs_places *p, unsigned number, uint64_t now_ns)
{
	const struct lfs_pointer o = object(number);
	struct lfs_action action = {0};

	return lfs_places_take(p, &o, now_ns, &action) ? action.href : NULL;
}

static void test_serves_once(void **state)
{
	struct lfs_places p;
	char *href;

	(void)state;
	lfs_places_init(&p);
	put(&p, 1, "http://h/old", 0);
	put(&p, 1, "http://h/1", 0);
	href = take(&p, 1, 0);
	assert_string_equal(href, "http://h/1");
	free(href);
	assert_null(take(&p, 1, 0));
	assert_null(take(&p, 2, 0));
	lfs_places_fini(&p);
}

static void test_not_for_long(void **state)
{
	const struct lfs_pointer o = object(1);
	struct lfs_places p;

	(void)state;
	lfs_places_init(&p);
	put(&p, 1, "http://h/1", 0);
	assert_true(lfs_places_has(&p, &o, 59 * NS_PER_S));
	assert_false(lfs_places_has(&p, &o, 60 * NS_PER_S));
	assert_null(take(&p, 1, 60 * NS_PER_S));
	lfs_places_fini(&p);
}

static void test_another_with_the_same_beginning(void **state)
{
	struct lfs_pointer twin = object(1);
	struct lfs_places p;

	(void)state;
	lfs_places_init(&p);
	put(&p, 1, "http://h/1", 0);
	twin.sha256[31] = 1;
	assert_false(lfs_places_has(&p, &twin, 0));
	lfs_places_fini(&p);
}

static void test_the_oldest_are_forgotten(void **state)
{
	struct lfs_places p;
	char *href;

	(void)state;
	lfs_places_init(&p);
	for (unsigned i = 0; i <= LFS_PLACES_MAX; i++)
		put(&p, i, "http://h/", 0);
	assert_int_equal(hashmap_count(&p.map), LFS_PLACES_MAX);
	assert_null(take(&p, 0, 0));
	href = take(&p, 1, 0);
	assert_non_null(href);
	free(href);
	lfs_places_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serves_once),
		cmocka_unit_test(test_not_for_long),
		cmocka_unit_test(test_another_with_the_same_beginning),
		cmocka_unit_test(test_the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
