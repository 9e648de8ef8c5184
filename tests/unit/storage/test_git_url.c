/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of repositories on servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "origin/git_url.h"

#include <errno.h>
#include <string.h>

static void assert_text(const char *found, const char *wanted)
{
	if (!wanted)
		assert_null(found);
	else
		assert_string_equal(found, wanted);
}

static void test_good_addresses(void **state)
{
	static const struct {
		const char *url;
		enum giturl_kind kind;
		const char *user, *host, *port, *path, *base;
	} rows[] = {
		{"https://h.example/a/b.git", GITURL_HTTPS, NULL, "h.example", NULL, NULL,
			"https://h.example"},
		{"http://127.0.0.1:8080/r", GITURL_HTTP, NULL, "127.0.0.1", "8080", NULL,
			"http://127.0.0.1:8080"},
		{"https://[::1]:8443/r", GITURL_HTTPS, NULL, "::1", "8443", NULL,
			"https://[::1]:8443"},
		{"ssh://git@h:2222/a/b.git", GITURL_SSH, "git", "h", "2222", "/a/b.git", NULL},
		{"ssh://h/~me/b", GITURL_SSH, NULL, "h", NULL, "~me/b", NULL},
		{"git@github.example:o/r.git", GITURL_SSH, "git", "github.example", NULL, "o/r.git",
			NULL},
		{"h:/srv/r.git", GITURL_SSH, NULL, "h", NULL, "/srv/r.git", NULL},
		{"git://h/r.git", GITURL_DAEMON, NULL, "h", NULL, "/r.git", NULL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct giturl u;

		assert_true(giturl_remote(rows[i].url));
		assert_int_equal(giturl_parse(&u, rows[i].url, NULL), 0);
		assert_int_equal(u.kind, rows[i].kind);
		assert_text(u.user, rows[i].user);
		assert_text(u.host, rows[i].host);
		assert_text(u.port, rows[i].port);
		assert_text(u.path, rows[i].path);
		assert_text(u.base, rows[i].base);
		giturl_fini(&u);
	}
}

static void test_bad_addresses(void **state)
{
	static const char *const rows[] = {"https://", "https:///r", "https://u:p@h/r",
		"https://u@h/r", "http://h:0/r", "http://h:99999/r", "http://h:x/r", "https://h?r",
		"ssh://-oProxyCommand=x/r", "ssh://-x@h/r", "ssh://u:p@h/r", "ssh://h", "git://h",
		"-h:r", "h:", "h:-r", "git://h y/r", "https://h/r\n", "https://[::1/r",
		"https://[::1]x/r", "ssh://a b@h/r"};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};
		struct giturl u;

		if (giturl_parse(&u, rows[i], &e) != -EINVAL)
			fail_msg("%s", rows[i]);
		assert_string_equal(e.field, "url");
		assert_null(strstr(e.message, ":p@"));
	}
}

static void test_local_ones_are_left_to_others(void **state)
{
	static const char *const rows[] = {
		"/srv/r.git", "file:///srv/r", "r", "./a:b", "ftp://h/r"};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_false(giturl_remote(rows[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_addresses),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_local_ones_are_left_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
