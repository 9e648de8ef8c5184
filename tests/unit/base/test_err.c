/* SPDX-License-Identifier: Apache-2.0 */
/* base/err.h: set, wrap, reasons derived from errno, and texts that are cut instead of overflowing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void set_fills_all(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, -ENOENT, "REVISION_UNKNOWN", "no revision %s", "v1"), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(err_reason(&e), "REVISION_UNKNOWN");
	assert_string_equal(err_message(&e), "no revision v1");
}

static void set_may_quote_the_old_message(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, -EIO, NULL, "first");
	err_meta(&e, "k", "v");
	(void)err_set(&e, -EIO, NULL, "then: %s", e.message);
	assert_string_equal(e.message, "then: first");
	assert_int_equal(e.meta_count, 0);
}

static void field_names_what_is_wrong(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_field(&e, "quota.bytes", "must be above %d", 0), -EINVAL);
	assert_string_equal(e.field, "quota.bytes");
	assert_string_equal(err_reason(&e), "INVALID_FIELD");
	assert_string_equal(err_message(&e), "must be above 0");
}

static void wrap_adds_context_and_keeps_the_rest(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, -EACCES, "ORIGIN_DENIED", "wrong password");
	assert_int_equal(err_wrap(&e, e.code, "fetch %s", "hub"), -EACCES);
	assert_int_equal(err_wrap(&e, e.code, "mount"), -EACCES);
	assert_string_equal(err_message(&e), "mount: fetch hub: wrong password");
	assert_string_equal(err_reason(&e), "ORIGIN_DENIED");
}

static void wrap_of_a_bare_errno(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_wrap(&e, -ENOSPC, "write %s", "x"), -ENOSPC);
	assert_int_equal(e.code, -ENOSPC);
	assert_string_equal(err_message(&e), "write x: No space left on device");
	assert_string_equal(err_reason(&e), "NO_SPACE");
}

static void long_texts_are_cut(void **state)
{
	char text[2000];
	struct err e = {0};

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, -EIO, text, "%s", text);
	assert_int_equal(strlen(e.message), ERR_MESSAGE_MAX - 1);
	assert_int_equal(strlen(e.reason), ERR_REASON_MAX - 1);
	(void)err_set(&e, -EIO, NULL, "the cause");
	(void)err_wrap(&e, -EIO, "%s", text);
	assert_non_null(strstr(e.message, "the cause")); /* context never crowds out the cause */
	(void)err_field(&e, text, "bad");
	assert_int_equal(strlen(e.field), sizeof(e.field) - 1);
	err_meta(&e, text, text);
	assert_int_equal(strlen(e.meta[0].value), sizeof(e.meta[0].value) - 1);
}

static void meta_has_a_limit(void **state)
{
	struct err e = {0};

	(void)state;
	for (int i = 0; i < ERR_META_MAX + 3; i++)
		err_meta(&e, "key", i == 0 ? NULL : "value");
	assert_int_equal(e.meta_count, ERR_META_MAX);
	assert_string_equal(e.meta[0].value, "");
	assert_string_equal(e.meta[1].value, "value");
}

static void reasons_of_errnos(void **state)
{
	(void)state;
	assert_string_equal(err_reason(&(struct err){.code = -ENOENT}), "NOT_FOUND");
	assert_string_equal(err_reason(&(struct err){.code = -EDQUOT}), "QUOTA_EXCEEDED");
	assert_string_equal(err_reason(&(struct err){.code = -ETIMEDOUT}), "TIMEOUT");
	assert_string_equal(err_reason(&(struct err){.code = -EXFULL}), "INTERNAL");
	assert_string_equal(err_reason(&(struct err){0}), "OK");
	assert_string_equal(err_message(&(struct err){.code = -4000}), "unknown error");
	assert_string_equal(
		err_message(&(struct err){.code = -ENOENT}), "No such file or directory");
}

static void null_is_accepted_everywhere(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EIO, NULL, "x"), -EIO);
	assert_int_equal(err_field(NULL, "f", "x"), -EINVAL);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
	err_meta(NULL, "k", "v");
	assert_non_null(err_reason(NULL));
	assert_non_null(err_message(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_all),
		cmocka_unit_test(set_may_quote_the_old_message),
		cmocka_unit_test(field_names_what_is_wrong),
		cmocka_unit_test(wrap_adds_context_and_keeps_the_rest),
		cmocka_unit_test(wrap_of_a_bare_errno),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(meta_has_a_limit),
		cmocka_unit_test(reasons_of_errnos),
		cmocka_unit_test(null_is_accepted_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
