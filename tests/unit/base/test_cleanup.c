/* SPDX-License-Identifier: Apache-2.0 */
/* base/cleanup.h: released at the end of the scope, unless given away. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int open_and_keep(bool keep, int *ret_number)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	*ret_number = fd;
	return keep ? TAKE_FD(fd) : -1;
}

static void descriptors(void **state)
{
	_cleanup_close_ int none = -1;
	int number, kept;

	(void)state;
	assert_int_equal(open_and_keep(false, &number), -1);
	assert_true(number >= 0);
	assert_false(is_open(number));
	kept = open_and_keep(true, &number);
	assert_int_equal(kept, number);
	assert_true(is_open(kept));
	(void)close(kept);
	assert_int_equal(none, -1);
}

/* A leak or a double free here is found by the address sanitizer. */
static char *copy_and_keep(const char *text, bool keep)
{
	_cleanup_free_ char *copy = strdup(text);

	return keep ? TAKE_PTR(copy) : NULL;
}

static void memory(void **state)
{
	_cleanup_free_ char *none = NULL;
	char *kept;

	(void)state;
	assert_null(copy_and_keep("x", false));
	kept = copy_and_keep("x", true);
	assert_string_equal(kept, "x");
	free(kept);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
