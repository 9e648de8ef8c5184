// SPDX-License-Identifier: Apache-2.0
/*
 * URLs: what a server redirects to is taken apart (credentials depend on it), and any bytes are put
 * into a query. What was encoded must decode to the same bytes, in a URL that can be taken apart.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "origin/http_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static unsigned hex(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

static void check_split(const char *text)
{
	struct http_url u;

	if (http_url_split(text, &u) < 0)
		return;
	expect(u.host_len > 0 && u.port > 0);
	expect(u.host >= text && u.rest >= u.host + u.host_len);
	expect(u.rest + u.rest_len == text + strlen(text));
	expect(!memchr(u.host, '@', u.host_len) && !memchr(u.host, '/', u.host_len));
	expect(http_url_same_server(&u, &u));
}

static void check_encode(const uint8_t *data, size_t size)
{
	static const char before[] = "http://h/x?k=";
	struct http_url u;
	struct buf out;
	const char *text;
	size_t at = strlen(before);

	buf_init(&out, 3 * size + 64);
	http_url_begin(&out, "http://h/", "/x");
	http_url_query(&out, "k", data, size);
	expect(buf_error(&out) == 0);
	text = buf_cstr(&out);
	expect(strncmp(text, before, at) == 0 && http_url_split(text, &u) == 0);
	for (size_t i = 0; i < size; i++) {
		if (text[at] == '%') {
			expect(hex(text[at + 1]) * 16 + hex(text[at + 2]) == data[i]);
			at += 3;
		} else {
			expect((uint8_t)text[at++] == data[i]);
		}
	}
	expect(text[at] == '\0');
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	check_split(text);
	check_encode(data, size);
	free(text);
	return 0;
}
