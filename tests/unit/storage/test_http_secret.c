/* SPDX-License-Identifier: Apache-2.0 */
/* origin/http_secret.h: the first line of a file, read again when it has changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "origin/http_secret.h"
#include "tmpdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false), 0);
}

static void test_it_follows_the_file(void **state)
{
	struct http_secret s;
	const char *text;
	struct tmpdir dir;
	char path[512];

	(void)state;
	tmpdir_init(&dir);
	(void)tmpdir_path(&dir, "token", path, sizeof(path));
	http_secret_init(&s, path);
	assert_int_equal(http_secret_get(&s, &text), -ENOENT);
	assert_null(text);
	put(path, "one\nsecond line\n");
	assert_int_equal(http_secret_get(&s, &text), 0);
	assert_string_equal(text, "one");
	put(path, "two\r\n");
	assert_int_equal(http_secret_get(&s, &text), 0);
	assert_string_equal(text, "two");
	assert_int_equal(http_secret_get(&s, &text), 0);
	assert_string_equal(text, "two");
	assert_int_equal(unlink(path), 0); /* an old secret is not used behind the owner's back */
	assert_int_equal(http_secret_get(&s, &text), -ENOENT);
	http_secret_fini(&s);
	tmpdir_fini(&dir);
}

static void test_what_could_break_a_header_is_refused(void **state)
{
	static const char *const rows[] = {"", "\n", "\r\n", "a\rb\n", "a\tb", "a\x7f", "\x01"};
	struct tmpdir dir;
	char path[512];

	(void)state;
	tmpdir_init(&dir);
	(void)tmpdir_path(&dir, "token", path, sizeof(path));
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_secret s;
		const char *text;

		http_secret_init(&s, path);
		put(path, rows[i]);
		assert_int_equal(http_secret_get(&s, &text), -EINVAL);
		assert_null(text);
		http_secret_fini(&s);
	}
	tmpdir_fini(&dir);
}

static void test_no_file_is_no_secret(void **state)
{
	struct http_secret s;
	const char *text = "x";

	(void)state;
	http_secret_init(&s, NULL);
	assert_int_equal(http_secret_get(&s, &text), 0);
	assert_null(text);
	http_secret_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_follows_the_file),
		cmocka_unit_test(test_what_could_break_a_header_is_refused),
		cmocka_unit_test(test_no_file_is_no_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
