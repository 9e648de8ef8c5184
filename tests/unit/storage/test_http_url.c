/* SPDX-License-Identifier: Apache-2.0 */
/* origin/http_url.h: every byte arrives as it is; what is no URL is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "origin/http_url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_split(void **state)
{
	static const struct {
		const char *url, *host, *rest;
		bool tls, has_user;
		uint16_t port;
	} rows[] = {
		{"http://h", "h", "", false, false, 80},
		{"HTTPS://Ex.Org/", "Ex.Org", "/", true, false, 443},
		{"http://h:8000/a?b#c", "h", "/a?b#c", false, false, 8000},
		{"http://h:/x", "h", "/x", false, false, 80},
		{"https://[::1]:8443/x", "[::1]", "/x", true, false, 8443},
		{"http://u:p@h:1/", "h", "/", false, true, 1},
		{"http://a@b@h/", "h", "/", false, true, 80},
		{"http://h?q", "h", "?q", false, false, 80},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_url u;

		assert_int_equal(http_url_split(rows[i].url, &u), 0);
		assert_int_equal(u.host_len, strlen(rows[i].host));
		assert_memory_equal(u.host, rows[i].host, u.host_len);
		assert_string_equal(u.rest, rows[i].rest);
		assert_int_equal(u.rest_len, strlen(rows[i].rest));
		assert_int_equal(u.tls, rows[i].tls);
		assert_int_equal(u.has_user, rows[i].has_user);
		assert_int_equal(u.port, rows[i].port);
	}
}

static void test_what_is_no_url_is_refused(void **state)
{
	static const char *const rows[] = {"", "h", "mega.example.org:8000", "//h/", "ftp://h/",
		"file:///x", "http://", "http:///x", "http://:80/", "http://h:0/",
		"http://h:65536/", "http://h:8o/", "http://h:000080/", "http://[::1/", "http://[]/",
		"http://[x]/", "http://h h/", "http://h/\n", "http://h/\x7f", "http://h\xc3\xa4/",
		"http://h/<", "http://[::1]x:80/", "http://h/a\\b", "http://u@/"};
	struct http_url u;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(http_url_split(rows[i], &u), -EINVAL);
}

static void test_check_names_the_field_and_hides_passwords(void **state)
{
	static const char *const rows[] = {
		"mega:8000", "http://me:secret@h/", "http://h/?secret", "http://h/#secret"};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = {0};

		assert_int_equal(http_url_check(rows[i], &e), -EINVAL);
		assert_string_equal(e.field, "url");
		assert_null(strstr(e.message, "secret"));
	}
	assert_int_equal(http_url_check("https://h:1/base/", NULL), 0);
}

static void test_same_server(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"http://h", "http://H:80/x", true},
		{"https://h:443", "https://h", true},
		{"http://h", "https://h", false},
		{"http://h:1", "http://h:2", false},
		{"http://h", "http://h.evil", false},
		{"http://hh", "http://h", false},
		{"http://h", "http://h@evil", false},
		{"http://[::1]:8", "http://[::1]:8/y", true},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_url a, b;

		assert_int_equal(http_url_split(rows[i].a, &a), 0);
		assert_int_equal(http_url_split(rows[i].b, &b), 0);
		assert_int_equal(http_url_same_server(&a, &b), rows[i].same);
	}
}

static void test_every_byte_of_a_value_is_kept(void **state)
{
	struct buf out;
	unsigned seen = 0;

	(void)state;
	buf_init(&out, 4096);
	for (unsigned c = 0; c < 256; c++) {
		const char *text;
		unsigned char byte = (unsigned char)c;
		unsigned value;

		buf_clear(&out);
		http_url_encode(&out, &byte, 1);
		text = buf_cstr(&out);
		if (text[0] != '%') {
			assert_int_equal((unsigned char)text[0], c);
			assert_int_equal(strlen(text), 1);
			assert_null(strchr(" +#%?&=/:@", text[0]));
			seen++;
			continue;
		}
		assert_int_equal(sscanf(text, "%%%2X", &value), 1);
		assert_int_equal(value, c);
		assert_int_equal(strlen(text), 3);
	}
	assert_int_equal(seen, 26 + 26 + 10 + 4);
	buf_fini(&out);
}

static void test_building(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	http_url_begin(&out, "http://h:8000///", "/api");
	http_url_query(&out, "path", "/a+b#c%d?e f\xff", 13);
	http_url_query(&out, "refs", "x&y", 3);
	assert_string_equal(
		buf_cstr(&out), "http://h:8000/api?path=%2Fa%2Bb%23c%25d%3Fe%20f%FF&refs=x%26y");
	buf_fini(&out);
	buf_init(&out, 10); /* too small: the error sticks, nothing is read beyond */
	http_url_begin(&out, "http://h:8000", "/api");
	http_url_query(&out, "path", "x", 1);
	assert_int_equal(buf_error(&out), -EMSGSIZE);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_what_is_no_url_is_refused),
		cmocka_unit_test(test_check_names_the_field_and_hides_passwords),
		cmocka_unit_test(test_same_server),
		cmocka_unit_test(test_every_byte_of_a_value_is_kept),
		cmocka_unit_test(test_building),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
