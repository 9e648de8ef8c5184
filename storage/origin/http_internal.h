/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to http*.c: a client and its calls.
 *
 *	http_start ──► incoming ──► waiting ──► running ──► done ──► http_finish
 *	                               ▲            │
 *	                               └─ a while ──┘ another attempt, a redirect
 *
 * A call has two holders: who started it, and the engine until it is done. Who gives it up marks it
 * abandoned; the engine then takes it off the wire.
 */
#pragma once
#include "base/breaker.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "origin/http.h"
#include "origin/http_retry.h"
#include "origin/http_secret.h"
#include "origin/http_url.h"

#include <curl/curl.h>
#include <pthread.h>

#define HTTP_WINDOW_BYTES (1u << 20) /* of a stream that is not taken yet */
#define HTTP_IDLE_MAX     32         /* handles kept for reuse */

struct http_metrics { /* all NULL without a registry */
	struct counter *requests, *retries, *failures, *connections, *received_bytes, *redirects;
	struct gauge *running, *waiting, *breaker;
};

struct http_client {
	struct http_config config; /* this and the next three: const after init */
	struct origin_net net;     /* with the defaults filled in */
	struct http_url server;
	struct http_metrics m;
	struct lock mu;
	struct list incoming; /* guarded by mu, as the next three */
	unsigned call_count;  /* not done yet */

	bool stopping;
	pthread_t thread;
	/* What follows is the engine's alone. */
	CURLM *multi;
	struct list waiting, running;
	unsigned running_count;
	CURL *idle[HTTP_IDLE_MAX];
	unsigned idle_count;
	struct breaker breaker;
	struct http_secret password, token;
};

struct http_call {
	struct http_client *client; /* this and what follows: const after start */
	enum http_method method;
	bool stream, once;
	size_t max_bytes;
	uint64_t deadline_ns;
	char *url;
	struct curl_slist *headers;
	char *post;
	size_t post_len;
	int put_fd; /* -1: none */
	uint64_t put_bytes;
	unsigned refs; /* guarded by client->mu, as all up to `answer` */
	bool done, abandoned;
	bool paused, resume; /* the window was full; there is room again */
	struct cond changed;
	int result;
	uint64_t delivered; /* bytes of a stream that left the buffer */
	struct http_answer answer;
	struct list node; /* the engine's, as all below */
	CURL *easy;       /* while running */
	char error[CURL_ERROR_SIZE];
	char *target; /* where a redirect points; NULL: url */
	unsigned attempts, redirects;
	uint64_t not_before_ns, progress_ns;
	uint64_t put_at;  /* what was sent of the file */
	uint64_t skip;    /* bytes of a repeated stream that were delivered before */
	bool length_seen; /* answer.length is that of the body */
	bool refused;     /* we ended the transfer: too large, or not what it was before */
};

/* http_easy.c: the options of a transfer, and what its end means. */
int http_easy_prepare(struct http_call *call, uint64_t now_ns);
struct http_outcome http_easy_outcome(struct http_call *call, CURLcode code);
/* Where the answer sends us. True: call->target is set, ask there. */
bool http_easy_redirect(struct http_call *call);
/* http_engine.c */
void *http_engine_main(void *arg);
void http_engine_fini(struct http_client *c);
/* http.c */
void http_call_unref_locked(struct http_call *call);

static inline void http_count(struct counter *c, uint64_t n)
{
	if (c)
		counter_add(c, n);
}
