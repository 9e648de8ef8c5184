/* SPDX-License-Identifier: Apache-2.0 */
/* Programs at the other end of a socket: their output, their errors, and their end in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "origin/git_run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void start(struct gitrun *p, const char *script)
{
	static char *const env[] = {"PATH=/usr/bin:/bin", NULL};
	const char *const argv[] = {"sh", "-c", script, NULL};
	const struct gitrun_spec spec = {.argv = argv, .env = env, .dir = "/", .keep_fd = -1};

	assert_int_equal(gitrun_start(p, &spec), 0);
}

static struct gitrun_wait within(uint64_t ns)
{
	return (struct gitrun_wait){.deadline_ns = clock_after(&clock_system, ns)};
}

static void test_what_goes_in_comes_out(void **state)
{
	struct gitrun_wait wait = within(20 * NS_PER_S);
	struct gitrun p;
	char out[64];
	size_t len = 0;
	ssize_t n;

	(void)state;
	start(&p, "pwd; cat; echo said >&2; exit 3");
	assert_int_equal(gitrun_write(&p, "hello", 5, &wait), 0);
	gitrun_close_input(&p);
	while ((n = gitrun_read(&p, out + len, sizeof(out) - len, &wait)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(len, 7);
	assert_memory_equal(out, "/\nhello", 7);
	assert_int_equal(gitrun_finish(&p, &wait), 3);
	assert_string_equal(p.error, "said\n");
	gitrun_end(&p); /* again: nothing */
}

static void test_only_the_end_of_errors_is_kept(void **state)
{
	struct gitrun_wait wait = within(20 * NS_PER_S);
	struct gitrun p;

	(void)state;
	start(&p, "yes 0123456789 | head -c 300000 >&2; echo fatal: here >&2");
	assert_int_equal(gitrun_finish(&p, &wait), 0);
	assert_true(p.error_len < GITRUN_ERROR_MAX);
	assert_string_equal(p.error + p.error_len - 12, "fatal: here\n");
}

static void test_who_does_not_end_is_killed_with_his_children(void **state)
{
	struct gitrun_wait wait = within(100 * NS_PER_MS);
	char out[16];
	struct gitrun p;
	pid_t group;

	(void)state;
	start(&p, "trap '' TERM; sleep 100 & wait; sleep 100");
	group = p.pid;
	assert_int_equal(gitrun_read(&p, out, sizeof(out), &wait), -ETIMEDOUT);
	assert_int_equal(gitrun_finish(&p, &wait), -ETIMEDOUT);
	/* the last of the group may still be on its way out */
	for (unsigned i = 0; i < 500 && kill(-group, 0) == 0; i++)
		(void)cancel_sleep_until(NULL, clock_after(&clock_system, 10 * NS_PER_MS));
	assert_int_equal(kill(-group, 0), -1);
}

static void test_silence_ends_a_wait(void **state)
{
	struct gitrun_wait wait = within(20 * NS_PER_S);
	char out[16];
	struct gitrun p;

	(void)state;
	wait.silence_ns = 60 * NS_PER_MS;
	start(&p, "exec sleep 100");
	assert_int_equal(gitrun_read(&p, out, sizeof(out), &wait), -ETIMEDOUT);
	gitrun_end(&p);
}

static void test_cancelled(void **state)
{
	struct gitrun_wait wait = within(20 * NS_PER_S);
	struct cancel *cancel = cancel_new();
	char out[16];
	struct gitrun p;

	(void)state;
	wait.cancel = cancel;
	start(&p, "exec sleep 100");
	cancel_fire(cancel);
	assert_int_equal(gitrun_read(&p, out, sizeof(out), &wait), -ECANCELED);
	gitrun_end(&p);
	cancel_unref(cancel);
}

static void test_who_does_not_read(void **state)
{
	static char much[1 << 20];
	struct gitrun_wait wait = within(20 * NS_PER_S);
	struct gitrun p;

	(void)state;
	start(&p, "exit 0");
	assert_int_equal(gitrun_write(&p, much, sizeof(much), &wait), -EPIPE);
	gitrun_end(&p);
	wait = within(100 * NS_PER_MS);
	start(&p, "exec sleep 100");
	assert_int_equal(gitrun_write(&p, much, sizeof(much), &wait), -ETIMEDOUT);
	gitrun_end(&p);
}

static void test_no_such_program(void **state)
{
	const char *const argv[] = {"no-such-program-here", NULL};
	char *const env[] = {NULL};
	const struct gitrun_spec spec = {.argv = argv, .env = env, .dir = "/", .keep_fd = -1};
	struct gitrun p;

	(void)state;
	assert_int_equal(gitrun_start(&p, &spec), -ENOENT);
	gitrun_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_goes_in_comes_out),
		cmocka_unit_test(test_only_the_end_of_errors_is_kept),
		cmocka_unit_test(test_who_does_not_end_is_killed_with_his_children),
		cmocka_unit_test(test_silence_ends_a_wait),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_who_does_not_read),
		cmocka_unit_test(test_no_such_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
