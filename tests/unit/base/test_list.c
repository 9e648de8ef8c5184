/* SPDX-License-Identifier: Apache-2.0 */
/* base/list.h: order, removal while walking, splicing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
	int number;
	struct list link;
};

static void check(struct list *head, const int *expect, size_t count)
{
	size_t i = 0;

	list_for_each (it, head) {
		assert_true(i < count);
		assert_int_equal(list_entry(it, struct item, link)->number, expect[i++]);
	}
	assert_int_equal(i, count);
	for (struct list *it = head->prev; it != head; it = it->prev) /* the way back agrees */
		assert_int_equal(list_entry(it, struct item, link)->number, expect[--i]);
	assert_int_equal(i, 0);
}

static void push_both_ends_and_remove(void **state)
{
	struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
	struct list head = LIST_INIT(head);

	(void)state;
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	assert_null(list_last(&head));
	list_push_back(&head, &b.link);
	list_push_back(&head, &c.link);
	list_push_front(&head, &a.link);
	check(&head, (const int[]){1, 2, 3}, 3);
	assert_ptr_equal(list_first(&head), &a.link);
	assert_ptr_equal(list_last(&head), &c.link);
	list_remove(&b.link);
	list_remove(&b.link); /* harmless */
	check(&head, (const int[]){1, 3}, 2);
}

static void remove_while_walking(void **state)
{
	struct item items[5];
	struct list head = LIST_INIT(head);

	(void)state;
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_push_back(&head, &items[i].link);
	}
	list_for_each_safe (it, &head)
		if (list_entry(it, struct item, link)->number % 2 == 0)
			list_remove(it);
	check(&head, (const int[]){1, 3}, 2);
}

static void splice(void **state)
{
	struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
	struct list to = LIST_INIT(to), from = LIST_INIT(from);

	(void)state;
	list_splice_back(&to, &from);
	assert_true(list_empty(&to));
	list_push_back(&to, &a.link);
	list_push_back(&from, &b.link);
	list_push_back(&from, &c.link);
	list_splice_back(&to, &from);
	check(&to, (const int[]){1, 2, 3}, 3);
	assert_true(list_empty(&from));
	list_splice_back(&from, &to);
	check(&from, (const int[]){1, 2, 3}, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(push_both_ends_and_remove),
		cmocka_unit_test(remove_while_walking),
		cmocka_unit_test(splice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
