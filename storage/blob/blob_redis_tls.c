// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_tls.h. OpenSSL writes with write(2): the process ignores SIGPIPE, as
 * daemon/signals.c does.
 */
#include "blob/blob_redis_tls.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>

struct l3_tls {
	SSL_CTX *ctx;
};

struct l3_tls_stream {
	SSL *ssl;
};

/* The reason on top of the thread's queue, which is emptied. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_get_error());

	ERR_clear_error();
	return text ? text : "unknown reason";
}

static int load_own(SSL_CTX *ctx, const char *cert, const char *key, struct err *e)
{
	if (!cert)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return err_set(e, -EIO, NULL, "certificate %s: %s", cert, reason());
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(ctx) != 1)
		return err_set(e, -EIO, NULL, "private key %s: %s", key, reason());
	return 0;
}

int l3_tls_new(
	struct l3_tls **ret_tls, const char *ca, const char *cert, const char *key, struct err *e)
{
	struct l3_tls *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return err_set(e, -ENOMEM, NULL, "no memory");
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->ctx) {
		free(t);
		return err_set(e, -ENOMEM, NULL, "no memory for TLS");
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_mode(t->ctx,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER); /* a mask */
	if (SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1)
		r = err_set(e, -EIO, NULL, "TLS 1.2: %s", reason());
	else if (ca && SSL_CTX_load_verify_locations(t->ctx, ca, NULL) != 1)
		r = err_set(e, -EIO, NULL, "authorities %s: %s", ca, reason());
	else if (!ca && SSL_CTX_set_default_verify_paths(t->ctx) != 1)
		r = err_set(e, -EIO, NULL, "the system's authorities: %s", reason());
	if (r == 0)
		r = load_own(t->ctx, cert, key, e);
	if (r < 0) {
		l3_tls_free(t);
		return r;
	}
	*ret_tls = t;
	return 0;
}

struct l3_tls *l3_tls_free(struct l3_tls *t)
{
	if (t)
		SSL_CTX_free(t->ctx);
	free(t);
	return NULL;
}

static bool expect_host(SSL *ssl, const char *host)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int l3_tls_stream_new(struct l3_tls_stream **ret_stream, struct l3_tls *t, int fd, const char *host)
{
	struct l3_tls_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->ssl = SSL_new(t->ctx);
	if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1 || !expect_host(s->ssl, host)) {
		ERR_clear_error();
		l3_tls_stream_free(s);
		return -ENOMEM;
	}
	SSL_set_connect_state(s->ssl);
	*ret_stream = s;
	return 0;
}

/* No shutdown message: the connection is dropped whole, and the socket may be full. */
struct l3_tls_stream *l3_tls_stream_free(struct l3_tls_stream *s)
{
	if (s)
		SSL_free(s->ssl);
	free(s);
	return NULL;
}

static int translate(struct l3_tls_stream *s, int result, short *ret_events)
{
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*ret_events = POLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_events = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_SSL:
		ERR_clear_error();
		return -EACCES;
	default:
		ERR_clear_error();
		return -ECONNRESET;
	}
}

int l3_tls_handshake(struct l3_tls_stream *s, short *ret_events)
{
	int n;

	ERR_clear_error();
	n = SSL_do_handshake(s->ssl);
	return n == 1 ? 0 : translate(s, n, ret_events);
}

ssize_t l3_tls_read(struct l3_tls_stream *s, void *buf, size_t len, short *ret_events)
{
	int n;

	ERR_clear_error();
	n = SSL_read(s->ssl, buf, len > INT_MAX ? INT_MAX : (int)len);
	return n > 0 ? n : translate(s, n, ret_events);
}

ssize_t l3_tls_write(struct l3_tls_stream *s, const void *buf, size_t len, short *ret_events)
{
	int n;

	ERR_clear_error();
	n = SSL_write(s->ssl, buf, len > INT_MAX ? INT_MAX : (int)len);
	return n > 0 ? n : translate(s, n, ret_events);
}
