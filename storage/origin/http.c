/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The callers' side of the HTTP client: making one, starting calls, waiting for them. The door to
 * libcurl is http*.c; its thread is in http_engine.c.
 *
 * Threads: any that may block may finish a call; starting and dropping never block.
 */
#include "origin/http_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALLS_MAX         8192 /* of one client, not done yet */
#define MAX_REQUESTS      32
#define CONNECT_TIME_NS   (10 * NS_PER_S)
#define SILENCE_TIME_NS   (15 * NS_PER_S)
#define FAILURES_MAX      8
#define OPEN_MIN_NS       (500 * NS_PER_MS)
#define OPEN_MAX_NS       (10 * NS_PER_S)
#define CANCEL_STEP_NS    (50 * NS_PER_MS) /* how soon a waiting caller sees that it was cancelled */
#define DEADLINE_GRACE_NS (2 * NS_PER_S)   /* for the engine to end what is late */

static struct origin_net with_defaults(const struct origin_net *net)
{
	struct origin_net n = *net;

	if (!n.connect_timeout_ns)
		n.connect_timeout_ns = CONNECT_TIME_NS;
	if (!n.timeout_ns)
		n.timeout_ns = SILENCE_TIME_NS;
	if (!n.max_requests)
		n.max_requests = MAX_REQUESTS;
	return n;
}

static void register_metrics(struct http_client *c)
{
	struct metrics *m = c->config.metrics;
	char l[96];

	if (!m)
		return;
	(void)snprintf(l, sizeof(l), "origin=\"%s\"", c->config.name);
	c->m.requests = metrics_counter(
		m, "coppice_http_requests_total", "HTTP requests sent, repeated ones too.", l);
	c->m.retries = metrics_counter(
		m, "coppice_http_retries_total", "HTTP requests that had to be repeated.", l);
	c->m.failures = metrics_counter(m, "coppice_http_failures_total",
		"HTTP requests that ended without what was asked for.", l);
	c->m.redirects =
		metrics_counter(m, "coppice_http_redirects_total", "Redirects followed.", l);
	c->m.connections =
		metrics_counter(m, "coppice_http_connections_total", "Connections made.", l);
	c->m.received_bytes = metrics_counter(
		m, "coppice_http_received_bytes_total", "Bytes of bodies received.", l);
	c->m.running = metrics_gauge(m, "coppice_http_running", "HTTP requests on the wire.", l);
	c->m.waiting = metrics_gauge(
		m, "coppice_http_waiting", "HTTP requests that wait for room or a repetition.", l);
	c->m.breaker = metrics_gauge(m, "coppice_http_breaker",
		"Circuit breaker: 0 closed, 1 open (the origin is left alone), 2 being tried.", l);
}

static CURLM *multi_new(const struct http_client *c)
{
	CURLM *multi = curl_multi_init();

	if (multi && (curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) ||
			     curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
				     (long)c->net.max_requests) ||
			     curl_multi_setopt(
				     multi, CURLMOPT_MAXCONNECTS, (long)c->net.max_requests))) {
		(void)curl_multi_cleanup(multi);
		return NULL;
	}
	return multi;
}

int http_client_new(
	struct http_client **ret_client, const struct http_config *config, struct err *e)
{
	struct http_client *c;
	int r = http_url_check(config->url, e);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, NULL, "no memory");
	if (curl_global_init(CURL_GLOBAL_DEFAULT)) { /* counted by libcurl */
		free(c);
		return err_set(e, -ENOMEM, NULL, "libcurl does not start");
	}
	c->config = *config;
	c->net = with_defaults(config->net);
	(void)http_url_split(config->url, &c->server); /* checked above */
	lock_init(&c->mu, LOCK_RANK_ORIGIN);
	list_init(&c->incoming);
	list_init(&c->waiting);
	list_init(&c->running);
	breaker_init(&c->breaker, FAILURES_MAX, OPEN_MIN_NS, OPEN_MAX_NS);
	http_secret_init(&c->password, c->net.password_file);
	http_secret_init(&c->token, c->net.token_file);
	register_metrics(c);
	c->multi = multi_new(c);
	r = c->multi ? -pthread_create(&c->thread, NULL, http_engine_main, c) : -ENOMEM;
	if (r < 0) {
		c->stopping = true;
		(void)http_client_free(c);
		return err_set(e, r, NULL, "cannot start the HTTP client: %s", strerror(-r));
	}
	(void)pthread_setname_np(c->thread, "http"); /* for ps only */
	*ret_client = c;
	return 0;
}

static void stop(struct http_client *c)
{
	lock_acquire(&c->mu);
	c->stopping = true;
	lock_release(&c->mu);
	(void)curl_multi_wakeup(c->multi); /* otherwise within ROUND_MAX_MS */
	(void)pthread_join(c->thread, NULL);
}

struct http_client *http_client_free(struct http_client *c)
{
	if (!c)
		return NULL;
	if (!c->stopping) /* it was started */
		stop(c);
	http_engine_fini(c);
	lock_fini(&c->mu);
	free(c);
	curl_global_cleanup();
	return NULL;
}

static void call_free(struct http_call *call)
{
	curl_slist_free_all(call->headers);
	http_answer_fini(&call->answer);
	cond_fini(&call->changed);
	free(call->target);
	free(call->post);
	if (call->put_fd >= 0)
		(void)close(call->put_fd); /* for reading */
	free(call->url);
	free(call);
}

void http_call_unref_locked(struct http_call *call)
{
	if (--call->refs == 0)
		call_free(call);
}

static int add_headers(struct http_call *call, const struct http_request *request)
{
	/* Without "Expect:" libcurl asks before it sends a large body, and waits a second. */
	const char *const *rest = request->headers;
	const char *next = "Expect:";

	for (; next; next = rest ? *rest++ : NULL) {
		struct curl_slist *longer = curl_slist_append(call->headers, next);

		if (!longer)
			return -ENOMEM;
		call->headers = longer;
	}
	return 0;
}

static struct http_call *call_new(struct http_client *c, const struct http_request *request)
{
	struct http_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	*call = (struct http_call){
		.client = c,
		.method = request->method,
		.stream = request->stream,
		.once = request->once,
		.max_bytes = request->max_bytes,
		.deadline_ns = request->deadline_ns,
		.url = strdup(request->url),
		.refs = 2,
		.put_fd = request->method == HTTP_PUT ? fcntl(request->body_fd, F_DUPFD_CLOEXEC, 0)
						      : -1,
		.put_bytes = request->body_bytes,
		.answer = {.length = -1},
	};
	cond_init(&call->changed);
	list_init(&call->node);
	buf_init(&call->answer.body, request->stream ? SIZE_MAX : request->max_bytes);
	if (request->body_len) {
		call->post = malloc(request->body_len);
		if (call->post)
			memcpy(call->post, request->body, request->body_len);
		call->post_len = request->body_len;
	}
	if (!call->url || (request->body_len && !call->post) ||
		(request->method == HTTP_PUT && call->put_fd < 0) ||
		add_headers(call, request) < 0) {
		call_free(call);
		return NULL;
	}
	return call;
}

int http_start(
	struct http_client *c, const struct http_request *request, struct http_call **ret_call)
{
	struct http_call *call = call_new(c, request);
	int r = 0;

	if (!call)
		return -ENOMEM;
	lock_acquire(&c->mu);
	if (c->call_count >= CALLS_MAX) {
		r = -EAGAIN;
	} else {
		c->call_count++;
		list_push_back(&c->incoming, &call->node);
	}
	lock_release(&c->mu);
	if (r < 0) {
		call_free(call);
		return r;
	}
	(void)curl_multi_wakeup(c->multi); /* otherwise within ROUND_MAX_MS */
	*ret_call = call;
	return 0;
}

/* One step of waiting. -ECANCELED, or -ETIMEDOUT if the engine does not end what is late. */
static int wait_locked(struct http_call *call, const struct cancel *cancel)
{
	uint64_t late_ns = call->deadline_ns > NS_NEVER - DEADLINE_GRACE_NS
				   ? NS_NEVER
				   : call->deadline_ns + DEADLINE_GRACE_NS;
	uint64_t step_ns = clock_after(&clock_system, CANCEL_STEP_NS);
	int r = cancel_check(cancel, late_ns);

	if (r == 0)
		(void)cond_wait_until(
			&call->changed, &call->client->mu, step_ns < late_ns ? step_ns : late_ns);
	return r;
}

/* The answer to the caller, the call to its end. */
static int leave(struct http_call *call, int r, struct http_answer *ret)
{
	struct http_client *c = call->client;
	bool nudge;

	lock_acquire(&c->mu);
	if (r == 0)
		r = call->result;
	*ret = call->answer;
	buf_init(&call->answer.body, ret->body.max);
	nudge = !call->done;
	call->abandoned = true;
	http_call_unref_locked(call);
	lock_release(&c->mu);
	if (nudge)
		(void)curl_multi_wakeup(c->multi); /* otherwise within ROUND_MAX_MS */
	return r;
}

int http_finish(struct http_call *call, const struct cancel *cancel, struct http_answer *ret)
{
	int r = 0;

	lock_acquire(&call->client->mu);
	while (r == 0 && !call->done)
		r = wait_locked(call, cancel);
	lock_release(&call->client->mu);
	return leave(call, r, ret);
}

/* What of a stream has come, waiting for it: 1, or 0 at its end, or an error. */
static int next_piece(
	struct http_call *call, const struct cancel *cancel, struct buf *ret_piece, int64_t *length)
{
	struct http_client *c = call->client;
	bool resume = false;
	int r = 0;

	lock_acquire(&c->mu);
	while (r == 0 && !call->done && call->answer.body.len == 0)
		r = wait_locked(call, cancel);
	if (r == 0 && call->answer.body.len > 0) {
		*ret_piece = call->answer.body;
		*length = call->answer.length;
		buf_init(&call->answer.body, SIZE_MAX);
		call->delivered += ret_piece->len;
		resume = call->resume = call->paused;
		r = 1;
	}
	lock_release(&c->mu);
	if (resume)
		(void)curl_multi_wakeup(c->multi); /* otherwise within ROUND_MAX_MS */
	return r;
}

int http_finish_to(struct http_call *call, const struct cancel *cancel, http_data fn, void *arg,
	struct http_answer *ret)
{
	struct buf piece;
	int64_t length = -1;
	int r;

	while ((r = next_piece(call, cancel, &piece, &length)) > 0) {
		r = fn(arg, length, piece.data, piece.len);
		buf_fini(&piece);
		if (r < 0)
			break;
	}
	return leave(call, r, ret);
}

void http_drop(struct http_call *call)
{
	struct http_answer answer;

	if (!call)
		return;
	(void)leave(call, -ECANCELED, &answer); /* nobody asks */
	http_answer_fini(&answer);
}

void http_answer_fini(struct http_answer *a)
{
	buf_fini(&a->body);
}

int http_perform(struct http_client *c, const struct http_request *request,
	const struct cancel *cancel, struct http_answer *ret)
{
	struct http_call *call;
	int r = http_start(c, request, &call);

	if (r < 0) {
		*ret = (struct http_answer){.length = -1};
		return r;
	}
	return http_finish(call, cancel, ret);
}
