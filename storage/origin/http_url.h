/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs as bytes: taking apart what an administrator or a server gave us, and building what we ask
 * for. Every byte of a value is encoded unless RFC 3986 calls it unreserved, so names with
 * `+ # % ? &`, spaces, control bytes and bytes that are not UTF-8 arrive as they are. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

/* Views into the text that was taken apart. */
struct http_url {
	bool tls; /* https, otherwise http */
	const char *host;
	size_t host_len; /* with the brackets of an IPv6 address */
	uint16_t port;   /* 80 or 443 if none was given */
	bool has_user;   /* there is a user or a password in it */
	const char *rest;
	size_t rest_len; /* from the first '/', '?' or '#' on */
};

/* -EINVAL: not an absolute http or https URL (RFC 3986), or one with bytes that no URL has. */
int http_url_split(const char *url, struct http_url *ret);
/* What an origin's url may be: http or https, no user, no query, no fragment. -EINVAL says why,
 * and does not repeat the url, which may hold a password. */
int http_url_check(const char *url, struct err *e);
/* Same scheme, host and port: where credentials may go. */
bool http_url_same_server(const struct http_url *a, const struct http_url *b);

/* Building: the buffer remembers the first failure (buf_error). The base loses trailing slashes. */
void http_url_begin(struct buf *out, const char *base, const char *path);
/* One more "?key=value" or "&key=value"; `value` is any bytes. */
void http_url_query(struct buf *out, const char *key, const void *value, size_t len);
void http_url_encode(struct buf *out, const void *value, size_t len);
