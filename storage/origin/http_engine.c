/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of an HTTP client: takes what callers start, keeps at most max_requests on the wire,
 * ends attempts, decides about the next one, and sees to it that everything ends in time.
 *
 * Every round looks at all calls under way. They are at most a few hundred, and a round is made
 * only when libcurl, a caller or a time asks for one.
 *
 * Threads: one. It blocks in curl_multi_poll only; name resolution has threads of libcurl's own.
 */
#include "origin/http_internal.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUND_MAX_MS 1000

static void set_gauge(struct gauge *g, int64_t n)
{
	if (g)
		gauge_set(g, n);
}

/* Take the call's transfer off the wire; the handle is kept for another. */
static void take_off(struct http_call *call)
{
	struct http_client *c = call->client;

	if (!call->easy)
		return;
	(void)curl_multi_remove_handle(c->multi, call->easy);
	if (c->idle_count < HTTP_IDLE_MAX) {
		curl_easy_reset(call->easy);
		c->idle[c->idle_count++] = call->easy;
	} else {
		curl_easy_cleanup(call->easy);
	}
	call->easy = NULL;
	c->running_count--;
}

/* Ends the call for good. */
static void end_call(struct http_call *call, int result, const char *why)
{
	struct http_client *c = call->client;

	take_off(call);
	list_remove(&call->node);
	if (result < 0)
		http_count(c->m.failures, 1);
	LOCK_GUARD(&c->mu);
	if (why)
		(void)snprintf(call->answer.why, sizeof(call->answer.why), "%s", why);
	call->result = result;
	call->done = true;
	c->call_count--;
	cond_signal(&call->changed);
	http_call_unref_locked(call);
}

/* The breaker is what a person at 3 a.m. looks for, and no caller sees it move. */
static void tell_breaker(struct http_client *c, const struct http_outcome *o, const char *why)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);

	if (http_outcome_is_down(o)) {
		if (breaker_failure(&c->breaker, now_ns))
			log_warn("origin_down", LOG_S("origin", c->config.name),
				LOG_S("message", why),
				LOG_U("retry_in_ms", (c->breaker.retry_ns - now_ns) / NS_PER_MS));
	} else if (o->end == HTTP_END_ANSWER) {
		if (breaker_success(&c->breaker))
			log_info("origin_up", LOG_S("origin", c->config.name));
	} else {
		breaker_forget(&c->breaker, now_ns);
	}
	set_gauge(c->m.breaker, (int64_t)c->breaker.state);
}

static void wait_until(struct http_call *call, uint64_t when_ns)
{
	take_off(call);
	list_remove(&call->node);
	call->not_before_ns = when_ns;
	list_push_back(&call->client->waiting, &call->node);
}

/* An attempt has ended, or could not be made: another one, or the end. */
static void end_attempt(struct http_call *call, const struct http_outcome *o, const char *why)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	uint64_t left_ns = call->deadline_ns > now_ns ? call->deadline_ns - now_ns : 0;
	uint64_t delay_ns = NS_NEVER;
	uint32_t random = 0;
	int result = http_outcome_errno(o);

	if (io_random(&random, sizeof(random)) < 0)
		random = (uint32_t)now_ns; /* only spreads */
	if (result < 0 && !call->once)
		delay_ns = http_retry_delay(o, call->attempts, left_ns, random);
	if (result < 0) /* no URL: one of LFS is a secret */
		log_debug("http_attempt_failed", LOG_S("origin", call->client->config.name),
			LOG_U("attempt", call->attempts), LOG_E(result),
			LOG_S("message", why ? why : call->answer.why));
	if (delay_ns == NS_NEVER) {
		end_call(call, result, why);
		return;
	}
	http_count(call->client->m.retries, 1);
	free(call->target); /* from the start: where it led may be what is wrong */
	call->target = NULL;
	call->redirects = 0;
	wait_until(call, now_ns + delay_ns);
}

static void end_transfer(struct http_call *call, CURLcode code)
{
	struct http_outcome o = http_easy_outcome(call, code);

	tell_breaker(call->client, &o, call->answer.why);
	if (o.end == HTTP_END_ANSWER && o.status >= 300 && o.status < 400 &&
		http_easy_redirect(call)) {
		call->attempts--; /* the same attempt goes on elsewhere */
		wait_until(call, 0);
		return;
	}
	end_attempt(call, &o, NULL);
}

static void end_failed_start(struct http_call *call, int r)
{
	const struct http_outcome o = {
		.end = r == -ENOMEM ? HTTP_END_MEMORY : HTTP_END_TLS,
	};
	char why[HTTP_WHY_MAX];

	breaker_forget(&call->client->breaker, clock_mono_ns(&clock_system));
	(void)snprintf(why, sizeof(why), "%s",
		call->error[0] ? call->error
			       : "the request cannot be made: check tls: of the origin");
	end_attempt(call, &o, why);
}

static void start_transfer(struct http_call *call, uint64_t now_ns)
{
	struct http_client *c = call->client;
	int r = -ENOMEM;

	call->attempts++;
	call->easy = c->idle_count ? c->idle[--c->idle_count] : curl_easy_init();
	if (call->easy) {
		c->running_count++;
		r = http_easy_prepare(call, now_ns);
	}
	if (r == 0 && curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
		r = -ENOMEM;
	if (r < 0) {
		end_failed_start(call, r);
		return;
	}
	http_count(c->m.requests, 1);
	list_remove(&call->node);
	list_push_back(&c->running, &call->node);
}

/* Whose time has come goes onto the wire, while there is room. */
static void start_waiting(struct http_client *c, uint64_t now_ns)
{
	static const struct http_outcome open = {.end = HTTP_END_OPEN};

	list_for_each_safe (it, &c->waiting) {
		struct http_call *call = list_entry(it, struct http_call, node);

		if (c->running_count >= c->net.max_requests)
			return;
		if (call->not_before_ns > now_ns)
			continue;
		if (breaker_allows(&c->breaker, now_ns)) {
			start_transfer(call, now_ns);
		} else {
			call->attempts++;
			end_attempt(call, &open,
				"the origin has failed repeatedly and is left alone for a while");
		}
	}
}

static void take_incoming(struct http_client *c)
{
	LOCK_GUARD(&c->mu);
	list_splice_back(&c->waiting, &c->incoming);
}

/* What the caller has asked of a running call: -ECANCELED, or that it goes on. */
static int heed_caller(struct http_call *call, bool *ret_resume)
{
	LOCK_GUARD(&call->client->mu);
	*ret_resume = call->paused && call->resume;
	if (*ret_resume)
		call->paused = call->resume = false;
	return call->abandoned ? -ECANCELED : 0;
}

static bool is_silent(struct http_call *call, uint64_t now_ns)
{
	struct http_client *c = call->client;
	LOCK_GUARD(&c->mu);

	return !call->paused && now_ns > call->progress_ns &&
	       now_ns - call->progress_ns >= c->net.timeout_ns;
}

static void end_silent(struct http_call *call)
{
	static const struct http_outcome silent = {.end = HTTP_END_SILENT};
	static const char why[] = "the server did not answer in time";

	tell_breaker(call->client, &silent, why);
	end_attempt(call, &silent, why);
}

/* Ends what is over by its caller's will or by time. */
static void look_at(struct http_call *call, uint64_t now_ns)
{
	bool resume;

	if (heed_caller(call, &resume) < 0) {
		breaker_forget(&call->client->breaker, now_ns);
		end_call(call, -ECANCELED, NULL);
	} else if (now_ns >= call->deadline_ns) {
		const struct http_outcome late = {.end = HTTP_END_SILENT};

		if (call->easy)
			tell_breaker(call->client, &late, "the server did not answer in time");
		end_call(call, -ETIMEDOUT, "the server did not answer in time");
	} else if (call->easy && resume) {
		call->progress_ns = now_ns;
		(void)curl_easy_pause(call->easy, CURLPAUSE_CONT);
	} else if (call->easy && is_silent(call, now_ns)) {
		end_silent(call);
	}
}

static void look_at_all(struct http_client *c, uint64_t now_ns)
{
	list_for_each_safe (it, &c->running)
		look_at(list_entry(it, struct http_call, node), now_ns);
	list_for_each_safe (waiting, &c->waiting)
		look_at(list_entry(waiting, struct http_call, node), now_ns);
}

static void end_finished(struct http_client *c)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(c->multi, &left))) {
		struct http_call *call = NULL;
		CURLcode code = msg->data.result; /* `msg` dies with the handle */

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		end_transfer(call, code);
	}
}

/* Until something is due; libcurl's own times are in curl_multi_poll. */
static int pause_ms(const struct http_client *c, uint64_t now_ns)
{
	uint64_t due_ns = now_ns + ROUND_MAX_MS * NS_PER_MS;

	list_for_each (it, &c->waiting) {
		const struct http_call *call = list_entry(it, struct http_call, node);

		if (c->running_count < c->net.max_requests && call->not_before_ns < due_ns)
			due_ns = call->not_before_ns;
		if (call->deadline_ns < due_ns)
			due_ns = call->deadline_ns;
	}
	list_for_each (running, &c->running) {
		const struct http_call *call = list_entry(running, struct http_call, node);
		uint64_t silent_ns = call->progress_ns + c->net.timeout_ns;

		if (silent_ns < due_ns && silent_ns > now_ns)
			due_ns = silent_ns;
		if (call->deadline_ns < due_ns)
			due_ns = call->deadline_ns;
	}
	return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / NS_PER_MS + 1);
}

static bool must_stop(struct http_client *c)
{
	LOCK_GUARD(&c->mu);
	return c->stopping;
}

static void end_all(struct http_client *c)
{
	take_incoming(c);
	list_splice_back(&c->waiting, &c->running);
	list_for_each_safe (it, &c->waiting)
		end_call(list_entry(it, struct http_call, node), -ECANCELED, "shutting down");
}

static unsigned count(const struct list *l)
{
	unsigned n = 0;

	list_for_each (it, l)
		n++;
	return n;
}

void *http_engine_main(void *arg)
{
	struct http_client *c = arg;
	int running;

	while (!must_stop(c)) {
		take_incoming(c);
		look_at_all(c, clock_mono_ns(&clock_system));
		start_waiting(c, clock_mono_ns(&clock_system));
		(void)curl_multi_perform(c->multi, &running); /* failures end the transfers */
		end_finished(c);
		start_waiting(c, clock_mono_ns(&clock_system));
		set_gauge(c->m.running, c->running_count);
		set_gauge(c->m.waiting, count(&c->waiting));
		(void)curl_multi_poll(
			c->multi, NULL, 0, pause_ms(c, clock_mono_ns(&clock_system)), NULL);
	}
	end_all(c);
	return NULL;
}

void http_engine_fini(struct http_client *c)
{
	while (c->idle_count)
		curl_easy_cleanup(c->idle[--c->idle_count]);
	if (c->multi)
		(void)curl_multi_cleanup(c->multi);
	http_secret_fini(&c->password);
	http_secret_fini(&c->token);
}
