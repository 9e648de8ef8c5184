/* SPDX-License-Identifier: Apache-2.0 */
/* origin/http_retry.h: which ends are final, what they are called, how long to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/http_retry.h"

#include <errno.h>

#define LONG (3600 * NS_PER_S)

static struct http_outcome status(int code)
{
	return (struct http_outcome){.end = HTTP_END_ANSWER, .status = code};
}

static struct http_outcome end(enum http_end e)
{
	return (struct http_outcome){.end = e};
}

static void test_a_failure_is_never_absence(void **state)
{
	const struct {
		struct http_outcome o;
		int r;
		bool again, down;
	} rows[] = {
		{status(200), 0, false, false},
		{status(204), 0, false, false},
		{status(404), -ENOENT, false, false},
		{status(401), -EACCES, false, false},
		{status(403), -EACCES, false, false},
		{status(400), -EIO, false, false},
		{status(409), -EIO, false, false},
		{status(410), -EIO, false, false},
		{status(304), -EIO, false, false},
		{status(0), -EIO, false, false},
		{status(408), -ETIMEDOUT, true, false},
		{status(429), -EHOSTUNREACH, true, false},
		{status(500), -EIO, true, false},
		{status(502), -EHOSTUNREACH, true, true},
		{status(503), -EHOSTUNREACH, true, true},
		{status(504), -ETIMEDOUT, true, true},
		{end(HTTP_END_CONNECT), -EHOSTUNREACH, true, true},
		{end(HTTP_END_CUT), -EIO, true, true},
		{end(HTTP_END_SILENT), -ETIMEDOUT, true, true},
		{end(HTTP_END_TLS), -EHOSTUNREACH, false, true},
		{end(HTTP_END_REFUSED), -EIO, false, false},
		{end(HTTP_END_MEMORY), -ENOMEM, false, false},
		{end(HTTP_END_OPEN), -EHOSTUNREACH, true, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(http_outcome_errno(&rows[i].o), rows[i].r);
		assert_int_equal(
			http_retry_delay(&rows[i].o, 1, LONG, 0) != NS_NEVER, rows[i].again);
		assert_int_equal(http_outcome_is_down(&rows[i].o), rows[i].down);
	}
}

static void test_waits_double_and_are_spread(void **state)
{
	const struct http_outcome o = status(500);
	uint64_t longest = 0;

	(void)state;
	for (unsigned attempt = 1; attempt < HTTP_ATTEMPTS_MAX; attempt++) {
		uint64_t slow = http_retry_delay(&o, attempt, LONG, 0);
		uint64_t quick = http_retry_delay(&o, attempt, LONG, UINT32_MAX);

		assert_int_equal(slow, (100 * NS_PER_MS) << (attempt - 1));
		assert_int_equal(quick, slow / 2);
		assert_true(slow > longest);
		longest = slow;
	}
	assert_int_equal(http_retry_delay(&o, HTTP_ATTEMPTS_MAX, LONG, 0), NS_NEVER);
}

static void test_no_wait_that_the_caller_has_no_time_for(void **state)
{
	const struct http_outcome o = status(503);

	(void)state;
	assert_int_equal(http_retry_delay(&o, 1, 100 * NS_PER_MS, 0), NS_NEVER);
	assert_int_equal(http_retry_delay(&o, 1, 101 * NS_PER_MS, 0), 100 * NS_PER_MS);
	assert_int_equal(http_retry_delay(&o, 1, 0, 0), NS_NEVER);
}

static void test_retry_after_is_kept_within_the_deadline(void **state)
{
	struct http_outcome o = status(429);

	(void)state;
	o.retry_after_ns = 3 * NS_PER_S;
	assert_int_equal(http_retry_delay(&o, 1, 4 * NS_PER_S, 7), 3 * NS_PER_S);
	assert_int_equal(http_retry_delay(&o, 1, 2 * NS_PER_S, 7), NS_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_failure_is_never_absence),
		cmocka_unit_test(test_waits_double_and_are_spread),
		cmocka_unit_test(test_no_wait_that_the_caller_has_no_time_for),
		cmocka_unit_test(test_retry_after_is_kept_within_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
