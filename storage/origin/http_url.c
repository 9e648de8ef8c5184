/* SPDX-License-Identifier: Apache-2.0 */
/* URLs; see http_url.h. Pure. */
#include "origin/http_url.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* RFC 3986, 2.3. No locale is asked. */
static bool is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

/* Bytes that stand in a URL as they are: no space, no control byte, nothing above 126, and none of
 * those that RFC 3986 leaves out. */
static bool only_url_bytes(const char *url)
{
	for (const unsigned char *p = (const unsigned char *)url; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}", *p))
			return false;
	return true;
}

static bool take_scheme(const char **url, bool *ret_tls)
{
	if (strncasecmp(*url, "https://", 8) == 0) {
		*url += 8;
		*ret_tls = true;
		return true;
	}
	if (strncasecmp(*url, "http://", 7) == 0) {
		*url += 7;
		*ret_tls = false;
		return true;
	}
	return false;
}

/* ":8000" → 8000; ":" and "" leave the default. */
static bool parse_port(const char *text, size_t len, uint16_t *port)
{
	unsigned value = 0;

	if (len == 0 || (len == 1 && text[0] == ':'))
		return true;
	if (text[0] != ':' || len > 6)
		return false;
	for (size_t i = 1; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*port = (uint16_t)value;
	return value > 0 && value <= UINT16_MAX;
}

static bool host_ok(const char *host, size_t len)
{
	bool brackets = len > 0 && host[0] == '[';

	if (brackets)
		return len > 2 && host[len - 1] == ']' &&
		       strspn(host + 1, "0123456789abcdefABCDEF:.") == len - 2;
	for (size_t i = 0; i < len; i++)
		if (!is_unreserved((unsigned char)host[i]))
			return false;
	return len > 0 && len <= 255;
}

/* "user@host:port" up to `end`. */
static bool parse_authority(const char *text, const char *end, struct http_url *url)
{
	const char *at = memrchr(text, '@', (size_t)(end - text));
	const char *close, *colon;

	url->has_user = at != NULL;
	url->host = at ? at + 1 : text;
	close = url->host < end && *url->host == '['
			? memchr(url->host, ']', (size_t)(end - url->host))
			: url->host;
	if (!close)
		return false;
	colon = memchr(close, ':', (size_t)(end - close));
	url->host_len = (size_t)((colon ? colon : end) - url->host);
	url->port = url->tls ? 443 : 80;
	return host_ok(url->host, url->host_len) &&
	       parse_port(colon ? colon : end, colon ? (size_t)(end - colon) : 0, &url->port);
}

int http_url_split(const char *url, struct http_url *ret)
{
	struct http_url parts = {0};
	const char *end;

	if (!only_url_bytes(url) || !take_scheme(&url, &parts.tls))
		return -EINVAL;
	end = url + strcspn(url, "/?#");
	if (!parse_authority(url, end, &parts))
		return -EINVAL;
	parts.rest = end;
	parts.rest_len = strlen(end);
	*ret = parts;
	return 0;
}

int http_url_check(const char *url, struct err *e)
{
	struct http_url parts;

	if (http_url_split(url, &parts) < 0)
		return err_field(e, "url",
			"must be a complete http:// or https:// URL, as in "
			"http://mega.example.org:8000");
	if (parts.has_user)
		return err_field(e, "url",
			"must not hold a user or password; put them into auth: with files");
	if (memchr(parts.rest, '?', parts.rest_len) || memchr(parts.rest, '#', parts.rest_len))
		return err_field(e, "url", "must not have a query (?) or a fragment (#)");
	return 0;
}

bool http_url_same_server(const struct http_url *a, const struct http_url *b)
{
	return a->tls == b->tls && a->port == b->port && a->host_len == b->host_len &&
	       strncasecmp(a->host, b->host, a->host_len) == 0;
}

void http_url_begin(struct buf *out, const char *base, const char *path)
{
	size_t len = strlen(base);

	while (len && base[len - 1] == '/')
		len--;
	(void)buf_append(out, base, len); /* the buffer remembers the first failure */
	(void)buf_puts(out, path);
}

void http_url_encode(struct buf *out, const void *value, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *bytes = value;

	for (size_t i = 0; i < len; i++) {
		char escape[3] = {'%', hex[bytes[i] >> 4], hex[bytes[i] & 15]};

		if (is_unreserved(bytes[i]))
			(void)buf_putc(out, (char)bytes[i]);
		else
			(void)buf_append(out, escape, sizeof(escape));
	}
}

void http_url_query(struct buf *out, const char *key, const void *value, size_t len)
{
	bool first = buf_error(out) || !memchr(out->data, '?', out->len);

	(void)buf_putc(out, first ? '?' : '&');
	(void)buf_puts(out, key);
	(void)buf_putc(out, '=');
	http_url_encode(out, value, len);
}
