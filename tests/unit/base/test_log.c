/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.h: exact lines in both formats, hostile strings, levels, context. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static int log_pipe[2];
static char got[16384];

static int open_pipe(void **state)
{
	(void)state;
	return pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK);
}

static int close_pipe(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
	return close(log_pipe[0]) | close(log_pipe[1]);
}

/* What was written since the last call, after the time stamp. */
static const char *lines(void)
{
	ssize_t n = read(log_pipe[0], got, sizeof(got) - 1);
	char *at;

	got[n > 0 ? n : 0] = '\0';
	at = strstr(got, "level");
	return at ? at : got;
}

static void logfmt_of_every_type(void **state)
{
	(void)state;
	log_setup(LOG_DEBUG, LOG_LOGFMT, log_pipe[1]);
	log_info("thing_done", LOG_S("name", "a b"), LOG_I("delta", -3), LOG_U("bytes", UINT64_MAX),
		LOG_B("ok", true), LOG_E(-ENOENT), LOG_S("none", NULL));
	assert_string_equal(lines(), "level=info event=thing_done name=\"a b\" delta=-3 "
				     "bytes=18446744073709551615 ok=true "
				     "error=\"ENOENT: No such file or directory\" none=\"\"\n");
	assert_memory_equal(got, "ts=2", 4);
	log_debug("bare");
	assert_string_equal(lines(), "level=debug event=bare\n");
}

static void json_of_every_type(void **state)
{
	(void)state;
	log_setup(LOG_DEBUG, LOG_JSON, log_pipe[1]);
	log_error("thing_failed", LOG_S("name", "a\"b"), LOG_I("delta", -3), LOG_B("ok", false),
		LOG_E(0));
	assert_string_equal(lines(),
		"level\":\"error\",\"event\":\"thing_failed\",\"name\":\"a\\\"b\",\"delta\":-3,"
		"\"ok\":false,\"error\":\"OK: Success\"}\n");
	assert_memory_equal(got, "{\"ts\":\"2", 8);
}

static void hostile_strings_logfmt(void **state)
{
	(void)state;
	log_setup(LOG_DEBUG, LOG_LOGFMT, log_pipe[1]);
	log_warn("e", LOG_S("v", "a\nlevel=error \x1b[31m\x7f\xff\\ \xc3\xa4 \xc2\x9b"));
	assert_string_equal(lines(), "level=warn event=e v=\"a\\nlevel=error "
				     "\\x1b[31m\\x7f\\xff\\\\ \xc3\xa4 \\u009b\"\n");
}

static void hostile_strings_json(void **state)
{
	(void)state;
	log_setup(LOG_DEBUG, LOG_JSON, log_pipe[1]);
	/* overlong slash, a surrogate, a sequence cut short, the highest code point, one beyond it
	 */
	log_warn("e",
		LOG_S("v",
			"\t\x01|\xc0\xaf|\xed\xa0\x80|\xf4\x8f\xbf\xbf|\xf4\x90\x80\x80|\xe2\x82"));
	assert_string_equal(lines(),
		"level\":\"warn\",\"event\":\"e\",\"v\":\"\\t\\u0001|\\ufffd\\ufffd|"
		"\\ufffd\\ufffd\\ufffd|\xf4\x8f\xbf\xbf|\\ufffd\\ufffd\\ufffd\\ufffd|"
		"\\ufffd\\ufffd\"}\n");
}

static void values_are_cut_and_lines_stay_whole(void **state)
{
	static char huge[100000];
	const char *line;

	(void)state;
	memset(huge, '\x01', sizeof(huge) - 1);
	log_setup(LOG_DEBUG, LOG_JSON, log_pipe[1]);
	log_info("e", LOG_S("v", huge));
	line = lines();
	assert_int_equal(
		strlen(strstr(line, "\"v\"")), strlen("\"v\":\"\"}\n") + 1024 * strlen("\\u0001"));
	log_info("e", LOG_S("a", huge), LOG_S("b", huge), LOG_U("c", 7));
	line = lines();
	assert_non_null(strstr(line, "\"a\":"));
	assert_null(strstr(line, "\"b\":")); /* does not fit: left out whole ... */
	assert_non_null(strstr(line, "\"c\":7,\"truncated\":true}\n")); /* ... and said so */
}

static void levels_filter(void **state)
{
	int evaluated = 0;

	(void)state;
	log_setup(LOG_WARN, LOG_LOGFMT, log_pipe[1]);
	log_info("hidden", LOG_I("n", ++evaluated));
	assert_string_equal(lines(), "");
	assert_int_equal(evaluated, 0); /* a line that is not written costs nothing */
	assert_false(log_enabled(LOG_INFO));
	assert_true(log_enabled(LOG_ERROR));
	log_set_level(LOG_INFO);
	log_info("shown", LOG_I("n", ++evaluated));
	assert_string_equal(lines(), "level=info event=shown n=1\n");
}

static void *other_thread(void *arg)
{
	(void)arg;
	log_info("other");
	return NULL;
}

static void context_belongs_to_the_thread(void **state)
{
	char longest[100];
	pthread_t thread;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	log_setup(LOG_INFO, LOG_LOGFMT, log_pipe[1]);
	log_context("team-a", NULL, longest);
	log_info("mine");
	longest[63] = '\0';
	assert_non_null(strstr(lines(), "event=mine tenant=\"team-a\" request_id=\"x"));
	assert_int_equal(strlen(strstr(got, "request_id=")), strlen("request_id=\"\"\n") + 63);
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(lines(), "level=info event=other\n");
	log_context_clear();
	log_info("mine");
	assert_string_equal(lines(), "level=info event=mine\n");
}

static void a_key_stands_twice_in_a_line(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_JSON, log_pipe[1]);
	log_context("caller", "m", "r");
	log_info("made", LOG_S("tenant", "owner"));
	log_context_clear();
	assert_string_equal(strchr(lines(), 'l'),
		"level\":\"info\",\"event\":\"made\",\"mount_id\":\"m\",\"request_id\":\"r\","
		"\"tenant\":\"owner\"}\n");
}

static void words(void **state)
{
	enum log_level level = LOG_INFO;
	enum log_format format = LOG_LOGFMT;

	(void)state;
	assert_true(log_level_parse("error", &level));
	assert_int_equal(level, LOG_ERROR);
	assert_false(log_level_parse("loud", &level));
	assert_true(log_format_parse("json", &format));
	assert_int_equal(format, LOG_JSON);
	assert_false(log_format_parse("", &format));
	assert_int_equal(log_preset("dev"), 0);
	assert_true(log_enabled(LOG_DEBUG));
	assert_int_equal(log_preset("prod"), 0);
	assert_false(log_enabled(LOG_DEBUG));
	assert_int_equal(log_preset("stage"), 0);
	assert_true(log_enabled(LOG_INFO));
	assert_int_equal(log_preset("production"), -EINVAL);
}

static void a_failed_write_is_counted_and_errno_kept(void **state)
{
	uint64_t before = log_lost_count();

	(void)state;
	log_setup(LOG_INFO, LOG_LOGFMT, -1);
	errno = EXDEV;
	log_info("lost");
	assert_int_equal(errno, EXDEV);
	assert_int_equal(log_lost_count(), before + 1);
	log_setup(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logfmt_of_every_type),
		cmocka_unit_test(json_of_every_type),
		cmocka_unit_test(hostile_strings_logfmt),
		cmocka_unit_test(hostile_strings_json),
		cmocka_unit_test(values_are_cut_and_lines_stay_whole),
		cmocka_unit_test(levels_filter),
		cmocka_unit_test(context_belongs_to_the_thread),
		cmocka_unit_test(a_key_stands_twice_in_a_line),
		cmocka_unit_test(words),
		cmocka_unit_test(a_failed_write_is_counted_and_errno_kept),
	};

	return cmocka_run_group_tests(tests, open_pipe, close_pipe);
}
