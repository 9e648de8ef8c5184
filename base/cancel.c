/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancellation token: one flag, a condition for those who sleep, a list of callbacks.
 *
 * The flag is atomic, so polling takes no lock. Callbacks run on the firing thread with no lock
 * held; `running` names the one under way, so that cancel_off can promise that the callback's
 * argument is no longer in use when it returns. Any thread.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/ref.h"

struct callback {
	struct list link; /* in cancel.callbacks */
	cancel_fn fn;
	void *arg;
	int handle;
};

struct cancel {
	struct ref ref;
	_Atomic bool fired;
	struct lock mu;
	struct cond changed;      /* fired, or a callback has ended */
	struct list callbacks;    /* guarded by mu */
	int last_handle;          /* guarded by mu */
	int running;              /* guarded by mu: handle of the callback under way, or 0 */
	pthread_t running_thread; /* guarded by mu: valid while running */
};

struct cancel *cancel_new(void)
{
	struct cancel *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	ref_init(&c->ref);
	lock_init(&c->mu, LOCK_RANK_POOL);
	cond_init(&c->changed);
	list_init(&c->callbacks);
	return c;
}

struct cancel *cancel_ref(struct cancel *c)
{
	if (c)
		ref_get(&c->ref);
	return c;
}

struct cancel *cancel_unref(struct cancel *c)
{
	if (!c || !ref_put(&c->ref))
		return NULL;
	list_for_each_safe (it, &c->callbacks)
		free(list_entry(it, struct callback, link));
	cond_fini(&c->changed);
	lock_fini(&c->mu);
	free(c);
	return NULL;
}

/* Run every callback, one after the other, each without the lock. */
static void run_callbacks_locked(struct cancel *c)
{
	while (!list_empty(&c->callbacks)) {
		struct callback *cb = list_entry(list_first(&c->callbacks), struct callback, link);

		list_remove(&cb->link);
		c->running = cb->handle;
		c->running_thread = pthread_self();
		lock_release(&c->mu);
		cb->fn(cb->arg);
		free(cb);
		lock_acquire(&c->mu);
		c->running = 0;
		cond_broadcast(&c->changed);
	}
}

void cancel_fire(struct cancel *c)
{
	LOCK_GUARD(&c->mu);
	if (atomic_load_explicit(
		    &c->fired, memory_order_relaxed)) /* relaxed: written only under mu */
		return;
	/* release: who sees the flag also sees why it was fired */
	atomic_store_explicit(&c->fired, true, memory_order_release);
	cond_broadcast(&c->changed);
	run_callbacks_locked(c);
}

bool cancel_fired(const struct cancel *c)
{
	return c && atomic_load_explicit(
			    &c->fired, memory_order_acquire); /* acquire: pairs with cancel_fire */
}

int cancel_check(const struct cancel *c, uint64_t deadline_ns)
{
	if (cancel_fired(c))
		return -ECANCELED;
	if (deadline_ns != NS_NEVER && clock_mono_ns(&clock_system) >= deadline_ns)
		return -ETIMEDOUT;
	return 0;
}

static int sleep_plain(uint64_t deadline_ns)
{
	struct timespec ts = clock_timespec(deadline_ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
	return -ETIMEDOUT;
}

int cancel_sleep_until(struct cancel *c, uint64_t deadline_ns)
{
	if (!c)
		return sleep_plain(deadline_ns);
	LOCK_GUARD(&c->mu);
	while (!cancel_fired(c))
		if (!cond_wait_until(&c->changed, &c->mu, deadline_ns) && !cancel_fired(c))
			return -ETIMEDOUT;
	return -ECANCELED;
}

static struct callback *find_locked(const struct cancel *c, int handle)
{
	list_for_each (it, &c->callbacks)
		if (list_entry(it, struct callback, link)->handle == handle)
			return list_entry(it, struct callback, link);
	return NULL;
}

/* A number above zero that no live callback has. */
static int next_handle_locked(struct cancel *c)
{
	do
		c->last_handle = c->last_handle == INT_MAX ? 1 : c->last_handle + 1;
	while (c->last_handle == c->running || find_locked(c, c->last_handle));
	return c->last_handle;
}

int cancel_on(struct cancel *c, cancel_fn fn, void *arg)
{
	struct callback *cb = malloc(sizeof(*cb));

	if (!cb)
		return -ENOMEM;
	*cb = (struct callback){.fn = fn, .arg = arg};
	lock_acquire(&c->mu);
	if (!cancel_fired(c)) {
		int handle = next_handle_locked(c);

		cb->handle = handle;
		list_push_back(&c->callbacks, &cb->link);
		lock_release(&c->mu);
		return handle;
	}
	lock_release(&c->mu);
	free(cb);
	fn(arg);
	return 0;
}

bool cancel_off(struct cancel *c, int handle)
{
	struct callback *cb;

	if (!c || handle <= 0)
		return false;
	LOCK_GUARD(&c->mu);
	cb = find_locked(c, handle);
	if (cb) {
		list_remove(&cb->link);
		free(cb);
		return true;
	}
	/* From inside the callback itself there is nothing to wait for. Callbacks do not block, so
	 * this wait is short. */
	while (c->running == handle && !pthread_equal(c->running_thread, pthread_self()))
		cond_wait(&c->changed, &c->mu);
	return false;
}
