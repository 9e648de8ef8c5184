/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c: which addresses are understood, and which count as loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "base/err.h"
#include "listen.h"

static void test_good(void **state)
{
	static const struct {
		const char *text, *host, *port;
		bool loopback;
	} cases[] = {{"127.0.0.1:7433", "127.0.0.1", "7433", true},
		{"127.9.9.9:0", "127.9.9.9", "0", true}, {"localhost:1", "127.0.0.1", "1", true},
		{"[::1]:65535", "::1", "65535", true}, {"0.0.0.0:80", "0.0.0.0", "80", false},
		{"[::]:80", "::", "80", false}, {"128.0.0.1:80", "128.0.0.1", "80", false},
		{"[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", "1", false}};
	struct listen_address a;
	char host[64], port[8];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(listen_parse(cases[i].text, &a, NULL), 0);
		assert_null(a.unix_path);
		assert_int_equal(a.loopback, cases[i].loopback);
		assert_int_equal(
			getnameinfo((const struct sockaddr *)&a.tcp, a.tcp_len, host, sizeof(host),
				port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV),
			0);
		assert_string_equal(host, cases[i].host);
		assert_string_equal(port, cases[i].port);
	}
	assert_int_equal(listen_parse("unix:/run/x.sock", &a, NULL), 0);
	assert_string_equal(a.unix_path, "/run/x.sock");
}

static void test_bad(void **state)
{
	static const char *const cases[] = {"", ":", ":80", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1: 1", "127.0.0.1:1x",
		"example.org:80", "::1:80", "[::1]", "[]:1", "[127.0.0.1]:1", "300.0.0.1:1",
		"[0123456789012345678901234567890123456789012345678901234567890123456789]:1"};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listen_address a;
		struct err e = {0};

		assert_int_equal(listen_parse(cases[i], &a, &e), -EINVAL);
		assert_string_equal(err_reason(&e), "BAD_ADDRESS");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
