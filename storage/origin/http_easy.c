/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transfer as libcurl sees it: its options, the bytes that arrive, and what its end means.
 * Nothing but http and https is ever spoken, also after a redirect, which we follow ourselves so
 * that credentials stay with the origin's own server.
 *
 * Threads: the client's engine.
 */
#include "origin/http_internal.h"

#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REDIRECTS_MAX 5

static int64_t announced_length(CURL *easy)
{
	curl_off_t length = -1;

	(void)curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length;
}

static int status_of(CURL *easy)
{
	long status = 0;

	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* The first bytes of a good answer: is it as long as it was at the attempt before? */
static bool begin_body_locked(struct http_call *call)
{
	int64_t length = announced_length(call->easy);

	if (call->length_seen)
		return call->skip == 0 || length == call->answer.length;
	call->answer.length = length;
	call->length_seen = true;
	return true;
}

static size_t take_locked(struct http_call *call, const char *data, size_t len)
{
	size_t skip = call->skip < len ? (size_t)call->skip : len;

	if (call->abandoned)
		return 0;
	if (call->stream && call->answer.body.len >= HTTP_WINDOW_BYTES) {
		call->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (!begin_body_locked(call) ||
		buf_append(&call->answer.body, data + skip, len - skip) < 0) {
		call->refused = true;
		return 0;
	}
	call->skip -= skip;
	if (call->stream && len > skip)
		cond_signal(&call->changed);
	return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	int status = status_of(call->easy);

	(void)size; /* always 1 */
	call->progress_ns = clock_mono_ns(&clock_system);
	http_count(call->client->m.received_bytes, count);
	if (status < 200 || status > 299)
		return count; /* what a failure says in its body is not for us */
	LOCK_GUARD(&call->client->mu);
	return take_locked(call, data, count);
}

/* Header lines count as progress. */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;

	(void)data;
	call->progress_ns = clock_mono_ns(&clock_system);
	return size * count;
}

/* The file that is sent. A short one, or one that cannot be read, ends the transfer. */
static size_t on_send(char *data, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	uint64_t left = call->put_bytes - call->put_at;
	size_t len = size * count < left ? size * count : (size_t)left;

	call->progress_ns = clock_mono_ns(&clock_system);
	if (io_pread_full(call->put_fd, data, len, call->put_at) < 0)
		return CURL_READFUNC_ABORT;
	call->put_at += len;
	return len;
}

/* libcurl sends again, from another place, after a redirect or on another connection. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct http_call *call = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->put_bytes)
		return CURL_SEEKFUNC_FAIL;
	call->put_at = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* Where the request goes now, and whether that is the origin's own server. */
static bool goes_home(const struct http_call *call)
{
	struct http_url url;

	return http_url_split(call->target ? call->target : call->url, &url) == 0 &&
	       http_url_same_server(&url, &call->client->server);
}

static CURLcode set_credentials(struct http_call *call)
{
	struct http_client *c = call->client;
	const char *token, *password;
	CURLcode code = CURLE_OK;

	if (http_secret_get(&c->token, &token) < 0 ||
		http_secret_get(&c->password, &password) < 0) {
		(void)snprintf(call->error, sizeof(call->error),
			"the file with the credentials cannot be read, or is empty");
		return CURLE_LOGIN_DENIED;
	}
	if (token) {
		code = curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		return code ? code : curl_easy_setopt(call->easy, CURLOPT_XOAUTH2_BEARER, token);
	}
	if (password && c->net.username) {
		code = curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		if (!code)
			code = curl_easy_setopt(call->easy, CURLOPT_USERNAME, c->net.username);
		if (!code)
			code = curl_easy_setopt(call->easy, CURLOPT_PASSWORD, password);
	}
	return code;
}

struct option {
	CURLoption option;
	long value;
};

/* The same for every transfer. */
static CURLcode set_constants(CURL *easy)
{
	static const struct option options[] = {
		{CURLOPT_NOSIGNAL, 1},
		{CURLOPT_FOLLOWLOCATION, 0},
		{CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS},
		{CURLOPT_PIPEWAIT, 1}, /* rather a stream of a connection than another one */
		{CURLOPT_TCP_KEEPALIVE, 1},
		{CURLOPT_SSL_VERIFYPEER, 1},
		{CURLOPT_SSL_VERIFYHOST, 2},
		{CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
		{CURLOPT_CA_CACHE_TIMEOUT, 60}, /* a changed file of authorities is seen */
		{CURLOPT_QUICK_EXIT, 1},        /* do not wait for a resolver that hangs */
		{CURLOPT_PATH_AS_IS, 1},
	};

	/* Only speed; refused by a used handle whose HTTP/2 connection still has its buffer. */
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		CURLcode code = curl_easy_setopt(easy, options[i].option, options[i].value);

		if (code)
			return code;
	}
	return CURLE_OK;
}

struct text_option {
	CURLoption option;
	const char *value; /* NULL: not set */
};

static CURLcode set_texts(struct http_call *call, bool home)
{
	const struct origin_net *net = &call->client->net;
	const struct text_option options[] = {
		{CURLOPT_URL, call->target ? call->target : call->url},
		{CURLOPT_PROTOCOLS_STR, "http,https"},
		{CURLOPT_USERAGENT, "coppice"},
		{CURLOPT_CAINFO, net->ca_file},
		{CURLOPT_SSLCERT, home ? net->cert_file : NULL},
		{CURLOPT_SSLKEY, home ? net->key_file : NULL},
		{CURLOPT_PROXY, net->proxy && strcmp(net->proxy, "none") == 0 ? "" : net->proxy},
	};

	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		CURLcode code = options[i].value ? curl_easy_setopt(call->easy, options[i].option,
							   options[i].value)
						 : CURLE_OK;

		if (code)
			return code;
	}
	return CURLE_OK;
}

static CURLcode set_upload(struct http_call *call)
{
	CURLcode code = curl_easy_setopt(call->easy, CURLOPT_UPLOAD, 1L);

	call->put_at = 0;
	if (!code)
		code = curl_easy_setopt(
			call->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->put_bytes);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_READFUNCTION, on_send);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_READDATA, call);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_SEEKFUNCTION, on_seek);
	return code ? code : curl_easy_setopt(call->easy, CURLOPT_SEEKDATA, call);
}

static CURLcode set_method(struct http_call *call)
{
	CURLcode code = curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);

	if (code || call->method == HTTP_GET)
		return code;
	if (call->method == HTTP_HEAD)
		return curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
	if (call->method == HTTP_PUT)
		return set_upload(call);
	code = curl_easy_setopt(
		call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->post_len);
	return code ? code : curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->post);
}

static CURLcode set_callbacks(struct http_call *call)
{
	long connect_ms = (long)(call->client->net.connect_timeout_ns / NS_PER_MS);
	CURLcode code = curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);

	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
	if (!code)
		code = curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	return code;
}

/* What an attempt before left behind. */
static void forget_attempt(struct http_call *call)
{
	LOCK_GUARD(&call->client->mu);
	if (call->stream) {
		call->skip = call->delivered + call->answer.body.len;
	} else {
		buf_clear(&call->answer.body);
		call->length_seen = false;
		call->answer.length = -1;
	}
	call->paused = call->resume = false;
	call->refused = false;
}

int http_easy_prepare(struct http_call *call, uint64_t now_ns)
{
	bool home = goes_home(call);
	CURLcode code;

	forget_attempt(call);
	call->error[0] = '\0';
	call->progress_ns = now_ns;
	code = set_constants(call->easy);
	if (!code)
		code = set_texts(call, home);
	if (!code)
		code = set_method(call);
	if (!code)
		code = set_callbacks(call);
	if (!code && home)
		code = set_credentials(call);
	/* A connection on which nothing came is not to be trusted with the next attempt. */
	if (!code && call->attempts > 1)
		code = curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
	if (!code)
		return 0;
	if (!call->error[0])
		(void)snprintf(call->error, sizeof(call->error), "the request cannot be made: %s",
			curl_easy_strerror(code));
	return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EACCES;
}

static enum http_end end_of(const struct http_call *call, CURLcode code)
{
	if (call->refused)
		return HTTP_END_REFUSED;
	switch (code) {
	case CURLE_OK:
		return HTTP_END_ANSWER;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT: /* the only time-out that libcurl keeps is connecting */
	case CURLE_PROXY:
	case CURLE_SSL_CONNECT_ERROR: /* also a connection that breaks in the handshake */
		return HTTP_END_CONNECT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CIPHER:
	case CURLE_LOGIN_DENIED:
		return HTTP_END_TLS;
	case CURLE_OUT_OF_MEMORY:
		return HTTP_END_MEMORY;
	case CURLE_URL_MALFORMAT:
		return HTTP_END_REFUSED;
	default:
		return HTTP_END_CUT;
	}
}

static void note_connections(struct http_call *call)
{
	long connects = 0;

	if (!curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects) && connects > 0)
		http_count(call->client->m.connections, (uint64_t)connects);
}

struct http_outcome http_easy_outcome(struct http_call *call, CURLcode code)
{
	struct http_outcome o = {.end = end_of(call, code)};
	struct http_answer *answer = &call->answer;
	curl_off_t after = 0;

	note_connections(call);
	o.status = status_of(call->easy);
	(void)curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &after);
	if (o.end == HTTP_END_ANSWER && after > 0)
		o.retry_after_ns = (uint64_t)(after < 3600 ? after : 3600) * NS_PER_S;
	LOCK_GUARD(&call->client->mu);
	if (o.end == HTTP_END_ANSWER && call->skip > 0)
		o.end = HTTP_END_CUT; /* shorter than what came at the attempt before */
	answer->status = o.status;
	if (!call->length_seen)
		answer->length = announced_length(call->easy);
	if (o.end == HTTP_END_ANSWER)
		(void)snprintf(answer->why, sizeof(answer->why), "status %d", o.status);
	else if (call->refused)
		(void)snprintf(answer->why, sizeof(answer->why), "%s",
			call->skip ? "the answer changed between two attempts"
				   : "the answer is larger than it may be");
	else
		(void)snprintf(answer->why, sizeof(answer->why), "%s",
			call->error[0] ? call->error : curl_easy_strerror(code));
	return o;
}

static void explain(struct http_call *call, const char *why)
{
	LOCK_GUARD(&call->client->mu);
	(void)snprintf(call->answer.why, sizeof(call->answer.why), "%s", why);
}

bool http_easy_redirect(struct http_call *call)
{
	struct http_url from, to;
	int status = status_of(call->easy);
	char *target = NULL, *copy;

	if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
		return false;
	(void)curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &target);
	if (!target || http_url_split(target, &to) < 0)
		return explain(call, "a redirect to what is no http or https URL"), false;
	if (++call->redirects > REDIRECTS_MAX)
		return explain(call, "too many redirects"), false;
	if ((call->method == HTTP_POST || call->method == HTTP_PUT) && status != 307 &&
		status != 308)
		return explain(call, "a redirect that would lose what was sent"), false;
	if (http_url_split(call->target ? call->target : call->url, &from) == 0 && from.tls &&
		!to.tls)
		return explain(call, "a redirect from https to http"), false;
	copy = strdup(target);
	if (!copy)
		return explain(call, "no memory"), false;
	free(call->target);
	call->target = copy;
	http_count(call->client->m.redirects, 1);
	return true;
}
