/* SPDX-License-Identifier: Apache-2.0 */
/* base/buf.h: the cap holds, errors stick, memory can be handed over. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/buf.h"

static void appends_in_order(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(buf_puts(&b, "one"), 0);
	assert_int_equal(buf_putc(&b, ','), 0);
	assert_int_equal(buf_printf(&b, "%d", 2), 0);
	assert_int_equal(buf_append(&b, "\0x", 2), 0);
	assert_int_equal(b.len, 7);
	assert_memory_equal(buf_cstr(&b), "one,2\0x", 8);
	buf_fini(&b);
}

static void cap_is_exact_and_the_error_sticks(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_puts(&b, "1234"), 0);
	assert_string_equal(buf_cstr(&b), "1234");
	assert_int_equal(buf_putc(&b, '5'), -EMSGSIZE);
	assert_int_equal(buf_append(&b, "", 0), -EMSGSIZE);
	assert_int_equal(buf_error(&b), -EMSGSIZE);
	assert_string_equal(buf_cstr(&b), "");
	assert_null(buf_take(&b));
	assert_int_equal(buf_puts(&b, "abcd"), 0); /* take leaves an empty buffer of the same cap */
	assert_int_equal(buf_puts(&b, "e"), -EMSGSIZE);
	buf_fini(&b);
}

static void clear_keeps_memory(void **state)
{
	struct buf b;
	char *data;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_puts(&b, "12345"), -EMSGSIZE);
	buf_clear(&b);
	assert_int_equal(buf_puts(&b, "12"), 0);
	data = b.data;
	buf_clear(&b);
	assert_int_equal(buf_puts(&b, "34"), 0);
	assert_ptr_equal(b.data, data);
	buf_fini(&b);
}

static void printf_longer_than_its_stack_buffer(void **state)
{
	struct buf b;
	char *text;

	(void)state;
	buf_init(&b, 100000);
	assert_int_equal(buf_printf(&b, "<%5000d>", 7), 0);
	assert_int_equal(b.len, 5002);
	text = buf_take(&b);
	assert_non_null(text);
	assert_int_equal(strlen(text), 5002);
	assert_int_equal(text[5000], '7');
	free(text);
	assert_int_equal(b.len, 0);
}

static void grows_to_many_bytes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 1 << 20; i++)
		assert_int_equal(buf_putc(&b, (char)i), 0);
	for (int i = 0; i < 1 << 20; i++)
		assert_int_equal(b.data[i], (char)i);
	assert_int_equal(buf_putc(&b, 'x'), -EMSGSIZE);
	buf_fini(&b);
}

static void empty_cstr_and_take(void **state)
{
	struct buf b;
	char *text;

	(void)state;
	buf_init(&b, SIZE_MAX);
	assert_string_equal(buf_cstr(&b), "");
	text = buf_take(&b);
	assert_string_equal(text, "");
	free(text);
	buf_fini(&b);
	buf_fini(NULL);
}

static void no_memory_is_an_error_that_sticks(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	alloc_fault_arm(0);
	assert_int_equal(buf_puts(&b, "x"), -ENOMEM);
	assert_true(alloc_fault_disarm());
	assert_int_equal(buf_puts(&b, "x"), -ENOMEM);
	buf_clear(&b);
	assert_int_equal(buf_puts(&b, "x"), 0);
	alloc_fault_arm(0);
	assert_int_equal(buf_printf(&b, "%90s", ""), -ENOMEM);
	assert_true(alloc_fault_disarm());
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_in_order),
		cmocka_unit_test(cap_is_exact_and_the_error_sticks),
		cmocka_unit_test(clear_keeps_memory),
		cmocka_unit_test(printf_longer_than_its_stack_buffer),
		cmocka_unit_test(grows_to_many_bytes),
		cmocka_unit_test(empty_cstr_and_take),
		cmocka_unit_test(no_memory_is_an_error_that_sticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
