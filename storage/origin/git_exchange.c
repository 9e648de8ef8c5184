/* SPDX-License-Identifier: Apache-2.0 */
/* See git_exchange.h. All requests only read, so each may be sent again. */
#include "origin/git_exchange.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/io.h"
#include "origin/git_fault.h"

#include <errno.h>

#define TRIES        3u
#define PAUSE_NS     (100 * NS_PER_MS) /* before the second try, twice that before the third */
#define IDLE_MAX     3u
#define IDLE_NS      (30 * NS_PER_S)
#define WAIT_STEP_NS (50 * NS_PER_MS)
#define FAILURES_MAX 4u
#define OPEN_MIN_NS  (500 * NS_PER_MS)
#define OPEN_MAX_NS  (8 * NS_PER_S)

void gitexchange_init(struct gitexchange *x)
{
	lock_init(&x->lock, LOCK_RANK_ORIGIN);
	cond_init(&x->freed);
	list_init(&x->idle);
	breaker_init(&x->breaker, FAILURES_MAX, OPEN_MIN_NS, OPEN_MAX_NS);
}

static void close_all(struct list *list)
{
	while (!list_empty(list)) {
		struct gitchan *c = list_entry(list_first(list), struct gitchan, node);

		list_remove(&c->node);
		gitchan_close(c);
	}
}

void gitexchange_fini(struct gitexchange *x)
{
	close_all(&x->idle);
	cond_fini(&x->freed);
	lock_fini(&x->lock);
}

/* Those that nobody has used for long go to `old`. */
static void retire_locked(struct gitexchange *x, struct list *old)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);

	list_for_each_safe (it, &x->idle) {
		struct gitchan *c = list_entry(it, struct gitchan, node);

		if (now_ns - c->idle_ns < IDLE_NS)
			continue;
		list_remove(&c->node);
		list_push_back(old, &c->node);
		x->channels--;
	}
}

/* An idle channel, or a place for a new one (NULL). */
static int take_locked(
	struct gitexchange *x, const struct gitrun_wait *wait, struct gitchan **ret_chan)
{
	for (;;) {
		uint64_t step_ns = clock_after(&clock_system, WAIT_STEP_NS);
		int r;

		*ret_chan = NULL;
		if (!list_empty(&x->idle)) {
			*ret_chan = list_entry(list_first(&x->idle), struct gitchan, node);
			list_remove(&(*ret_chan)->node);
			return 0;
		}
		if (x->channels < x->channels_max) {
			x->channels++;
			return 0;
		}
		r = cancel_check(wait->cancel, wait->deadline_ns);
		if (r < 0)
			return r;
		(void)cond_wait_until(&x->freed, &x->lock,
			step_ns < wait->deadline_ns ? step_ns : wait->deadline_ns);
	}
}

static void give_up_place(struct gitexchange *x)
{
	LOCK_GUARD(&x->lock);
	x->channels--;
	cond_broadcast(&x->freed);
}

static int take(struct gitexchange *x, const struct gitrun_wait *wait, struct gitchan **ret_chan,
	struct err *e)
{
	struct gitchan *c;
	struct list old;
	int r;

	list_init(&old);
	lock_acquire(&x->lock);
	retire_locked(x, &old);
	r = take_locked(x, wait, &c);
	lock_release(&x->lock);
	close_all(&old);
	if (r < 0)
		return err_set(e, r, NULL, "too many requests are under way");
	if (!c) {
		r = gitchan_open(&c, &x->server, wait, e);
		if (r < 0) {
			give_up_place(x);
			return r;
		}
		lock_acquire(&x->lock);
		x->offer = c->offer;
		lock_release(&x->lock);
	}
	*ret_chan = c;
	return 0;
}

static void give(struct gitexchange *x, struct gitchan *c)
{
	unsigned idle = 0;

	lock_acquire(&x->lock);
	list_for_each (it, &x->idle)
		idle++;
	if (idle < IDLE_MAX && !c->spent) {
		c->idle_ns = clock_mono_ns(&clock_system);
		list_push_front(&x->idle, &c->node);
		c = NULL;
	} else {
		x->channels--;
	}
	cond_broadcast(&x->freed);
	lock_release(&x->lock);
	gitchan_close(c);
}

/* One attempt. *ret_stale: it failed because a channel that had been idle was closed meanwhile. */
static int attempt(
	struct gitexchange *x, gitexchange_fn fn, void *arg, struct gitwire *w, bool *ret_stale)
{
	int r = take(x, &w->wait, &w->chan, w->e);

	*ret_stale = false;
	if (r < 0)
		return r;
	r = fn(arg, w);
	if (r == 0) {
		give(x, w->chan);
		return 0;
	}
	*ret_stale = w->chan->served && !w->chan->heard && gitfault_passing(r);
	gitchan_close(w->chan);
	give_up_place(x);
	return r;
}

static bool allowed(struct gitexchange *x)
{
	LOCK_GUARD(&x->lock);
	return breaker_allows(&x->breaker, clock_mono_ns(&clock_system));
}

static void note(struct gitexchange *x, int r, const struct err *e)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	bool opened = false, closed = false;

	lock_acquire(&x->lock);
	if (r == -ECANCELED)
		breaker_forget(&x->breaker, now_ns);
	else if (r == -EHOSTUNREACH || r == -ETIMEDOUT)
		opened = breaker_failure(&x->breaker, now_ns);
	else
		closed = breaker_success(&x->breaker);
	if (r < 0)
		x->last = *e;
	lock_release(&x->lock);
	if (x->notice && opened)
		x->notice(x->name, "origin_down", err_message(e));
	if (x->notice && closed)
		x->notice(x->name, "origin_up", "the server answers again");
}

/* False: no more time. */
static bool pause_before(unsigned try, const struct gitrun_wait *wait)
{
	uint64_t pause_ns = PAUSE_NS << (try - 1), jitter = 0, until_ns;

	(void)io_random(&jitter, sizeof(jitter)); /* without: no jitter */
	until_ns = clock_after(&clock_system, pause_ns + jitter % pause_ns);
	return until_ns < wait->deadline_ns &&
	       cancel_sleep_until((struct cancel *)wait->cancel, until_ns) == -ETIMEDOUT;
}

int gitexchange_call(struct gitexchange *x, gitexchange_fn fn, void *arg,
	const struct gitrun_wait *wait, struct err *e)
{
	struct err own = {0};
	struct gitwire w = {.wait = *wait, .e = e ? e : &own};
	bool stale;
	int r;

	w.wait.silence_ns = x->timeout_ns;
	if (!allowed(x)) {
		own = gitexchange_last(x);
		return err_set(e, -EHOSTUNREACH, "ORIGIN_UNREACHABLE",
			"left alone for a moment after several failures: %s", err_message(&own));
	}
	for (unsigned try = 1;; try++) {
		*w.e = (struct err){0};
		r = attempt(x, fn, arg, &w, &stale);
		for (unsigned i = 0; stale && i < IDLE_MAX; i++)
			r = attempt(x, fn, arg, &w, &stale);
		if (!gitfault_passing(r) || try == TRIES || !pause_before(try, wait))
			break;
	}
	note(x, r, w.e);
	return r;
}

static int only_connect(void *arg, const struct gitwire *w)
{
	(void)arg;
	(void)w;
	return 0;
}

int gitexchange_offer(struct gitexchange *x, const struct gitrun_wait *wait,
	struct gitpkt_offer *ret_offer, struct err *e)
{
	int r = 0;

	lock_acquire(&x->lock);
	*ret_offer = x->offer;
	lock_release(&x->lock);
	if (!ret_offer->version2)
		r = gitexchange_call(x, only_connect, NULL, wait, e);
	lock_acquire(&x->lock);
	*ret_offer = x->offer;
	lock_release(&x->lock);
	return r;
}

struct err gitexchange_last(struct gitexchange *x)
{
	LOCK_GUARD(&x->lock);
	return x->last;
}
