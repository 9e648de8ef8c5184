/* SPDX-License-Identifier: Apache-2.0 */
/* Which errno leaves the daemon, and the names of operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/op.h"
#include "session/wire.h"

#include <errno.h>

static void test_errors_pass_unchanged(void **state)
{
	static const int same[] = {EPERM, ENOENT, EINTR, EIO, EEXIST, ENOTDIR, EISDIR, ENOSPC,
		EDQUOT, ENOTEMPTY, ENODATA, ESTALE, ETIMEDOUT, EHOSTUNREACH, EXDEV, EROFS,
		ENAMETOOLONG, ERANGE};

	(void)state;
	assert_int_equal(reply_errno(0), 0);
	assert_int_equal(reply_errno(5), 0); /* a count */
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_int_equal(reply_errno(-same[i]), same[i]);
}

static void test_errors_that_would_mislead(void **state)
{
	(void)state;
	assert_int_equal(reply_errno(-EAGAIN), EIO);
	assert_int_equal(reply_errno(-ECANCELED), EIO);
	assert_int_equal(reply_errno(-ENOSYS), EOPNOTSUPP); /* the kernel would never ask again */
	assert_int_equal(reply_errno(-512), EIO);           /* ERESTARTSYS */
	assert_int_equal(reply_errno(-30798), EIO);         /* a library's own code */
	assert_int_equal(reply_errno(INT32_MIN), EIO);
}

static void test_lifetimes(void **state)
{
	struct ovl_entry entry = {.id = 7, .attr = {.st_ino = 7}};
	struct fuse_entry_param e = reply_entry_param(&entry);

	(void)state;
	assert_int_equal(e.ino, 7);
	assert_true(e.entry_timeout > 1e9 && e.attr_timeout > 1e9);
	assert_int_equal(e.generation, 0);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(sess_opcode_name(WIRE_LOOKUP), "LOOKUP");
	assert_string_equal(sess_opcode_name(WIRE_COPY_FILE_RANGE), "COPY_FILE_RANGE");
	assert_string_equal(sess_opcode_name(WIRE_TMPFILE), "TMPFILE");
	assert_null(sess_opcode_name(0));
	assert_null(sess_opcode_name(7));
	assert_null(sess_opcode_name(4096));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_pass_unchanged),
		cmocka_unit_test(test_errors_that_would_mislead),
		cmocka_unit_test(test_lifetimes),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
