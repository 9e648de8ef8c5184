/* SPDX-License-Identifier: Apache-2.0 */
/* What programs and servers say, as errors. The words are those of Git 2.39, curl with GnuTLS, and
 * OpenSSH 9.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "origin/git_fault.h"

#include <errno.h>
#include <string.h>

static void test_words(void **state)
{
	static const struct {
		const char *words;
		int code;
		const char *reason;
	} rows[] = {
		{"fatal: unable to access 'http://h/r/': Could not resolve host: h\n",
			-EHOSTUNREACH, "ORIGIN_UNREACHABLE"},
		{"fatal: unable to access 'http://127.0.0.1:9/x.git/': Failed to connect to "
		 "127.0.0.1 port 9 after 0 ms: Couldn't connect to server\n",
			-EHOSTUNREACH, "ORIGIN_UNREACHABLE"},
		{"fatal: repository 'http://127.0.0.1/none.git/' not found\n", -ENOENT,
			"ORIGIN_NOT_FOUND"},
		{"fatal: Authentication failed for 'https://h/r/'\n", -EACCES,
			"ORIGIN_AUTH_FAILED"},
		{"fatal: could not read Username for 'https://h': terminal prompts disabled\n",
			-EACCES, "ORIGIN_AUTH_FAILED"},
		{"fatal: unable to access 'https://h/': gnutls_handshake() failed: An unexpected "
		 "TLS packet was received.\n",
			-EHOSTUNREACH, "ORIGIN_TLS_FAILED"},
		{"fatal: unable to access 'https://h/': server certificate verification failed. "
		 "CAfile: none CRLfile: none\n",
			-EHOSTUNREACH, "ORIGIN_TLS_FAILED"},
		{"fatal: unable to access 'http://h/': The requested URL returned error: 503\n",
			-EHOSTUNREACH, "ORIGIN_UNREACHABLE"},
		{"fatal: unable to access 'http://h/': The requested URL returned error: 403\n",
			-EACCES, "ORIGIN_AUTH_FAILED"},
		{"Host key verification failed.\r\n", -EACCES, "ORIGIN_AUTH_FAILED"},
		{"me@h: Permission denied (publickey).\r\n", -EACCES, "ORIGIN_AUTH_FAILED"},
		{"ssh: connect to host h port 22: Connection refused\r\n", -EHOSTUNREACH,
			"ORIGIN_UNREACHABLE"},
		{"ssh: connect to host h port 22: Connection timed out\r\n", -ETIMEDOUT,
			"ORIGIN_UNREACHABLE"},
		{"fatal: '/r' does not appear to be a git repository\n", -ENOENT,
			"ORIGIN_NOT_FOUND"},
		{"error: RPC failed; curl 18 transfer closed with outstanding read data "
		 "remaining\n",
			-EHOSTUNREACH, "ORIGIN_UNREACHABLE"},
		{"upload-pack: not our ref 0123\n", -ENXIO, "OBJECT_NOT_FOUND"},
		{"fatal: write error: No space left on device\n", -ENOSPC, ""},
		{"", -EHOSTUNREACH, "ORIGIN_UNREACHABLE"},
		{"something new", -EIO, ""},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};

		if (gitfault_of(rows[i].words, &e) != rows[i].code ||
			strcmp(e.reason, rows[i].reason) != 0)
			fail_msg("%s: %d %s", rows[i].words, e.code, e.reason);
		assert_null(strchr(e.message, '\n'));
		assert_true(e.message[0]);
	}
	assert_int_equal(gitfault_of("not our ref", NULL), -ENXIO);
}

static void test_what_may_pass(void **state)
{
	(void)state;
	assert_true(gitfault_passing(-EHOSTUNREACH));
	assert_false(gitfault_passing(0));
	assert_false(gitfault_passing(-EACCES));
	assert_false(gitfault_passing(-ENOENT));
	assert_false(gitfault_passing(-ENXIO));
	assert_false(gitfault_passing(-ETIMEDOUT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_what_may_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
