// SPDX-License-Identifier: Apache-2.0
/* See blob_redis_url.h. Whatever is not understood is refused, so that a typing mistake does not
 * send credentials elsewhere. Pure. */
#include "blob/blob_redis_url.h"

#include "base/err.h"
#include "storage/blob_redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DEFAULT 6379
#define DB_MAX       65535

static const struct scheme {
	const char *prefix;
	bool tls, cluster, local;
} schemes[] = {
	{"redis://", false, false, false},
	{"rediss://", true, false, false},
	{"redis+cluster://", false, true, false},
	{"rediss+cluster://", true, true, false},
	{"unix://", false, false, true},
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undo %-escapes; false if it does not fit, or holds a NUL. */
static bool unescape(const char *text, size_t len, char *ret_text, size_t cap)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			int high = i + 2 < len ? hex_value(text[i + 1]) : -1;
			int low = i + 2 < len ? hex_value(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high << 4 | low;
			i += 2;
		}
		if (!c || out + 1 >= cap)
			return false;
		ret_text[out++] = (char)c;
	}
	ret_text[out] = '\0';
	return true;
}

static bool digits(const char *text, size_t len, unsigned max, unsigned *ret_number)
{
	unsigned number = 0;

	if (!len || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		number = number * 10 + (unsigned)(text[i] - '0');
	}
	*ret_number = number;
	return number <= max;
}

static bool host_ok(const char *host, size_t len)
{
	if (!len || len >= L3_HOST_MAX || host[0] == '/')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = host[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    strchr(".-_:%", c)) ||
			!c)
			return false;
	}
	return true;
}

int l3_endpoint_parse(const char *text, unsigned len, uint16_t port, struct l3_endpoint *ret_at)
{
	struct l3_endpoint at = {.port = port};
	const char *host = text, *end = text + len, *rest;
	unsigned number = port;

	if (len && text[0] == '[') {
		rest = memchr(text, ']', len);
		host++;
	} else {
		rest = memrchr(text, ':', len);
		if (rest && memchr(text, ':', (size_t)(rest - text)))
			return -EINVAL; /* IPv6 without brackets */
		rest = rest ? rest : end;
	}
	if (!rest || !host_ok(host, (size_t)(rest - host)))
		return -EINVAL;
	memcpy(at.host, host, (size_t)(rest - host));
	if (*text == '[')
		rest++;
	if (rest < end &&
		(*rest != ':' || !digits(rest + 1, (size_t)(end - rest - 1), 65535, &number)))
		return -EINVAL;
	if (!number)
		return -EINVAL;
	at.port = (uint16_t)number;
	*ret_at = at;
	return 0;
}

/* user:password, of which either may be missing. */
static int parse_login(const char *text, size_t len, struct l3_url *url, struct err *e)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon ? (size_t)(colon - text) : len;

	if (!unescape(text, user, url->user, sizeof(url->user)))
		return err_set(
			e, -EINVAL, NULL, "its user name is too long or has a broken %%-escape");
	if (colon && !unescape(colon + 1, len - user - 1, url->password, sizeof(url->password)))
		return err_set(
			e, -EINVAL, NULL, "its password is too long or has a broken %%-escape");
	return 0;
}

static int parse_hosts(const char *text, size_t len, struct l3_url *url, struct err *e)
{
	const char *end = text + len;

	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma ? comma : end;

		if (url->seed_count == (url->cluster ? L3_SEEDS_MAX : 1))
			return err_set(e, -EINVAL, NULL,
				url->cluster ? "it has more than 16 hosts"
					     : "several hosts are for redis+cluster://");
		if (l3_endpoint_parse(text, (unsigned)(stop - text), PORT_DEFAULT,
			    &url->seed[url->seed_count]) < 0)
			return err_set(e, -EINVAL, NULL,
				"after the login it needs host or host:port, with %%-escapes in "
				"the login for @ : / %%");
		url->seed_count++;
		if (!comma)
			return 0;
		text = comma + 1;
	}
}

static int parse_db(const char *text, struct l3_url *url, struct err *e)
{
	if (!digits(text, strlen(text), DB_MAX, &url->db))
		return err_set(e, -EINVAL, NULL, "\"%.20s\" is not the number of a database", text);
	if (url->cluster && url->db)
		return err_set(e, -EINVAL, NULL, "a cluster has only database 0");
	return 0;
}

static int parse_local(const char *text, struct l3_url *url, struct err *e)
{
	const char *query = strchr(text, '?');
	size_t len = query ? (size_t)(query - text) : strlen(text);

	/* the limit is sun_path's */
	if (text[0] != '/' || len < 2 || !unescape(text, len, url->seed[0].host, 108))
		return err_set(e, -EINVAL, NULL,
			"the path of a socket must be absolute and shorter than 108 bytes");
	url->seed_count = 1;
	if (!query)
		return 0;
	if (strncmp(query, "?db=", 4) != 0)
		return err_set(e, -EINVAL, NULL, "after the path only ?db=N may stand");
	return parse_db(query + 4, url, e);
}

static int parse_remote(const char *text, struct l3_url *url, struct err *e)
{
	size_t len = strcspn(text, "/");
	int r = parse_hosts(text, len, url, e);

	if (r == 0 && text[len] && text[len + 1])
		r = parse_db(text + len + 1, url, e);
	return r;
}

int l3_url_parse(const char *text, struct l3_url *ret_url, struct err *e)
{
	struct l3_url url = {0};
	const struct scheme *s = NULL;
	const char *at;
	int r = 0;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			s = &schemes[i];
	if (!s)
		return err_set(e, -EINVAL, NULL,
			"it is none of redis://, rediss://, redis+cluster://, rediss+cluster://, "
			"unix://");
	text += strlen(s->prefix);
	url.tls = s->tls;
	url.cluster = s->cluster;
	/* an @ of the password is written %40, so the first one ends it */
	at = memchr(text, '@', strcspn(text, "/"));
	if (at) {
		r = parse_login(text, (size_t)(at - text), &url, e);
		text = at + 1;
	}
	if (r == 0)
		r = s->local ? parse_local(text, &url, e) : parse_remote(text, &url, e);
	if (r == 0)
		*ret_url = url;
	return r;
}

/* Here, and not with the rest of blob_redis.h, so that a reader of configurations does not link
 * Redis. */
int blob_redis_check_url(const char *url, struct err *e)
{
	struct l3_url parsed;

	return l3_url_parse(url, &parsed, e);
}
