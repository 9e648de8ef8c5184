/* SPDX-License-Identifier: Apache-2.0 */
/* Objects by name, chains of colliding names among them. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/name_table.h"

#include <errno.h>
#include <stdio.h>

#define COUNT 2000

static struct name_node nodes[COUNT];
static char names[COUNT][16];

static void test_insert_find_remove(void **state)
{
	struct name_table t;

	(void)state;
	assert_int_equal(name_table_init(&t), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "name-%u", i);
		assert_int_equal(name_table_insert(&t, &nodes[i], names[i]), 0);
	}
	for (unsigned i = 0; i < COUNT; i += 2)
		name_table_remove(&t, &nodes[i]);
	for (unsigned i = 0; i < COUNT; i++)
		assert_ptr_equal(name_table_find(&t, names[i]), i % 2 ? &nodes[i] : NULL);
	assert_null(name_table_find(&t, "other"));
	name_table_remove(&t, &nodes[0]); /* harmless */
	name_table_fini(&t);
}

static void test_a_name_is_there_once(void **state)
{
	struct name_node a = {0}, b = {0};
	struct name_table t;

	(void)state;
	assert_int_equal(name_table_init(&t), 0);
	assert_int_equal(name_table_insert(&t, &a, "x"), 0);
	assert_int_equal(name_table_insert(&t, &b, "x"), -EEXIST);
	assert_ptr_equal(name_table_find(&t, "x"), &a);
	name_table_fini(&t);
}

/* The hash is keyed, so a collision is made by hand: three names in one chain. */
static void test_chain_of_colliding_names(void **state)
{
	struct name_node a = {0}, b = {.name = "b"}, c = {.name = "c"};
	struct hashmap_cursor it = {0};
	struct name_table t;

	(void)state;
	assert_int_equal(name_table_init(&t), 0);
	assert_int_equal(name_table_insert(&t, &a, "a"), 0);
	a.next = &b;
	b.next = &c;
	name_table_remove(&t, &a); /* the chain goes on under the slot of the first */
	assert_true(hashmap_next(&t.chains, &it));
	assert_ptr_equal(it.value, &b);
	assert_ptr_equal(b.next, &c);
	name_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_insert_find_remove),
		cmocka_unit_test(test_a_name_is_there_once),
		cmocka_unit_test(test_chain_of_colliding_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
