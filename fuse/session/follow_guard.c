/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard of the workers that follow a client (follow.c): calls one back from outside when it
 * does not get the CPU, because it could not do so itself.
 *
 * Each look of it disturbs whom it looks at: the guard on a CPU makes the scheduler put the client
 * on the other, where the worker follows. So who got on for long is looked at rarely: a stall of
 * two looks is a quarter of the time before it, at most 20 ms.
 *
 * Threads: one, asleep while nobody follows. It reads the followers' counters and changes nothing
 * of them but class and place.
 */
#include "session/follow_internal.h"
#include "session/task.h"

#include <base/clock.h>

#define GUARD_MIN_NS   (2 * NS_PER_MS)
#define GUARD_MAX_NS   (10 * NS_PER_MS)
#define GUARD_PART     8u  /* of the time that it got on */
#define BUSY_SERVED    16u /* between two looks: no doubt that it gets on */
#define BACKOFF_MIN_NS (20 * NS_PER_MS)
#define BACKOFF_MAX_NS NS_PER_S
#define WORTH_NS       (10 * NS_PER_MS) /* to have followed for so long */

static struct follow_sample take_sample(const struct follow_spot *spot)
{
	struct follow_sample s = {.at_ns = clock_mono_ns(&clock_system)};

	s.who = atomic_load_explicit(&spot->who, memory_order_acquire); /* with its pid */
	if (!s.who)
		return s;
	/* relaxed: as in go_on */
	s.served = atomic_load_explicit(&spot->served, memory_order_relaxed);
	s.keeps = atomic_load_explicit(&spot->keeps, memory_order_relaxed);
	s.waited_ns = task_waited_ns(s.who->tid);
	/* relaxed: as in begin */
	s.client_ns = task_process_cpu_ns(atomic_load_explicit(&spot->pid, memory_order_relaxed));
	return s;
}

/* Most of the time it was ready to run, and did not: because of somebody else, or because the
 * client has much to do. */
static bool is_starving(
	const struct follow_sample *before, const struct follow_sample *now, bool *ret_stranger)
{
	uint64_t window = now->at_ns - before->at_ns;
	uint64_t waited = now->waited_ns - before->waited_ns;
	uint64_t client = now->client_ns - before->client_ns;

	*ret_stranger = waited > client + window / 2;
	return waited > window * 3 / 4;
}

static void call_back(
	struct follow *f, struct sess_thread *who, bool back_off, uint64_t *backoff_ns)
{
	if (!follow_take_off(f, who))
		return;
	if (back_off) {
		atomic_store_explicit(&f->quiet_ns, clock_after(&clock_system, *backoff_ns),
			memory_order_relaxed); /* a hint */
		*backoff_ns = *backoff_ns * 2 < BACKOFF_MAX_NS ? *backoff_ns * 2 : BACKOFF_MAX_NS;
	}
	counter_add(f->farm->m.follow_starved, 1);
}

/* Sleeps: for so long, or (0) until somebody follows. False: stop. */
static bool guard_sleep(struct follow *f, uint64_t ns)
{
	uint64_t end = clock_after(&clock_system, ns);

	LOCK_GUARD(&f->lock);
	/* Woken before by one that begins: a look too soon would see everybody starve. */
	while (ns && !f->stop && cond_wait_until(&f->wake, &f->lock, end)) {
		uint64_t soon = clock_after(&clock_system, GUARD_MIN_NS);

		end = soon < end ? soon : end;
	}
	while (!ns && !f->stop && !follow_anyone(f))
		cond_wait(&f->wake, &f->lock);
	return !f->stop;
}

/* What the follower did since the last look. True: all is well. */
static bool look_after(struct follow *f, uint64_t key, const struct follow_sample *before,
	const struct follow_sample *now, uint64_t *backoff_ns)
{
	bool stranger = false, starving;

	if (now->served - before->served >= BUSY_SERVED)
		return true;
	starving = is_starving(before, now, &stranger);
	/* In one request all the time, perhaps a long copy-up, or kept from the CPU: others take
	 * what else the session has. */
	if (now->keeps && before->keeps && (starving || now->served == before->served))
		sess_workers_arm(f->farm, key);
	if (starving)
		call_back(f, now->who, stranger, backoff_ns);
	return !starving;
}

/* When to look at this worker again: in so many ns; 0: it does not follow. */
static uint64_t watch(
	struct follow *f, struct follow_spot *spot, struct follow_watched *w, uint64_t *backoff_ns)
{
	struct follow_sample now = take_sample(spot);
	uint64_t key = atomic_load_explicit(&spot->key, memory_order_relaxed); /* as in begin */
	uint64_t next;

	if (now.who && now.who == w->before.who) {
		w->well_ns += now.at_ns - w->before.at_ns;
		if (!look_after(f, key, &w->before, &now, backoff_ns))
			w->well_ns = 0;
		else if (w->well_ns > WORTH_NS)
			*backoff_ns = BACKOFF_MIN_NS;
	} else {
		w->well_ns = 0;
	}
	w->before = now;
	if (!now.who)
		return 0;
	next = w->well_ns / GUARD_PART;
	return next < GUARD_MIN_NS ? GUARD_MIN_NS : next > GUARD_MAX_NS ? GUARD_MAX_NS : next;
}

static uint64_t watch_all(struct follow *f, uint64_t *backoff_ns)
{
	uint64_t soonest = 0;

	for (unsigned i = 0; i < f->farm->worker_count; i++) {
		uint64_t next = watch(f, &f->spots[i], &f->watched[i], backoff_ns);

		if (next && (!soonest || next < soonest))
			soonest = next;
	}
	return soonest;
}

void *follow_guard_main(void *arg)
{
	struct follow *f = arg;
	uint64_t backoff_ns = BACKOFF_MIN_NS, next = 0;

	while (guard_sleep(f, next))
		next = watch_all(f, &backoff_ns);
	return NULL;
}
