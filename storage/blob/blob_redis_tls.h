/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for a connection to Redis: OpenSSL on a non-blocking socket, because hiredis 0.14 has none.
 * The server's certificate must be valid for the host's name or address. A context may be used by
 * any thread, a stream by one at a time.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct err;
struct l3_tls;
struct l3_tls_stream;

/* `ca` NULL: the system's authorities; `cert` and `key` NULL: no client certificate. */
int l3_tls_new(
	struct l3_tls **ret_tls, const char *ca, const char *cert, const char *key, struct err *e);
struct l3_tls *l3_tls_free(struct l3_tls *t);

int l3_tls_stream_new(
	struct l3_tls_stream **ret_stream, struct l3_tls *t, int fd, const char *host);
struct l3_tls_stream *l3_tls_stream_free(struct l3_tls_stream *s);
/* 0 or bytes; -EAGAIN: wait for *ret_events (POLLIN or POLLOUT) and call again with the same
 * arguments; -EACCES: certificates; -ECONNRESET: the end. */
int l3_tls_handshake(struct l3_tls_stream *s, short *ret_events);
ssize_t l3_tls_read(struct l3_tls_stream *s, void *buf, size_t len, short *ret_events);
ssize_t l3_tls_write(struct l3_tls_stream *s, const void *buf, size_t len, short *ret_events);
