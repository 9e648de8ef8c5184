/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of one origin. Requests are started, run side by side on the client's own thread
 * (connections are kept, HTTP/2 is multiplexed where TLS offers it), and are finished by the thread
 * that started them, which waits there with its deadline and cancellation. So many requests can be
 * under way for one caller, and no thread but the caller's is ever held up.
 *
 * What is kept: at most `max_requests` on the wire, others queue; every wait ends at the request's
 * deadline; requests are repeated by the rules of http_retry.h, streams go on where they were cut;
 * redirects are followed, up to five; credentials and client certificates go to the server of the
 * origin's url only; a server that keeps failing is left alone for a while (circuit breaker).
 */
#pragma once
#include "base/buf.h"
#include "storage/origin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel;
struct err;
struct http_call;
struct http_client;
struct metrics;

#define HTTP_WHY_MAX 200

/* Strings must outlive the client. */
struct http_config {
	const char *name; /* of the origin: for metrics and the log */
	const char *url;  /* its server: http_url_check */
	const struct origin_net *net;
	struct metrics *metrics; /* may be NULL */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT };

/* Copied by http_start. */
struct http_request {
	enum http_method method;
	const char *url;            /* complete */
	const char *const *headers; /* "Name: value", ended by NULL; or NULL */
	const void *body;           /* of a POST */
	size_t body_len;
	int body_fd;         /* of a PUT: a file, read from its beginning; the caller's */
	uint64_t body_bytes; /* of it */
	bool stream;         /* to be finished by http_finish_to; otherwise by http_finish */
	bool once;           /* must not be repeated */
	size_t max_bytes;    /* of an answer that is not a stream; more is -EIO */
	uint64_t deadline_ns;
};

struct http_answer {
	int status;     /* 0: there was none */
	int64_t length; /* of the body as announced; -1: not announced */
	struct buf body;
	char why[HTTP_WHY_MAX]; /* of a failure, for people; no secrets */
};

/* Starts the thread. -EINVAL for a bad url, -ENOMEM. */
int http_client_new(
	struct http_client **ret_client, const struct http_config *config, struct err *e);
/* Every call must have been finished or dropped. NULL is fine. Returns NULL. */
struct http_client *http_client_free(struct http_client *c);

/* Never blocks. -EAGAIN: too many wait; -ENOMEM. */
int http_start(
	struct http_client *c, const struct http_request *request, struct http_call **ret_call);
/* Waits for the end and takes the call, whatever comes. 0: a 2xx; otherwise as http_outcome_errno
 * says, or -ECANCELED. The answer is filled on failure too; free it with http_answer_fini. */
int http_finish(struct http_call *call, const struct cancel *cancel, struct http_answer *ret);
/* The same for a stream: `fn` gets the body of a 2xx in order, on this thread, and ends it by an
 * error, which is returned. `length` as in struct http_answer, the same in every call. An empty
 * body makes no call. */
typedef int (*http_data)(void *arg, int64_t length, const void *data, size_t len);
int http_finish_to(struct http_call *call, const struct cancel *cancel, http_data fn, void *arg,
	struct http_answer *ret);
/* Give up a call instead of finishing it. NULL is fine. */
void http_drop(struct http_call *call);
void http_answer_fini(struct http_answer *a);

/* Start and finish. */
int http_perform(struct http_client *c, const struct http_request *request,
	const struct cancel *cancel, struct http_answer *ret);
