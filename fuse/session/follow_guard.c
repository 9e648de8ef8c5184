/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard of a worker that follows a client (follow.c): calls it back from outside when it does
 * not get the CPU, because it could not do so itself.
 *
 * Threads: one, asleep while nobody follows. It reads the follower's counters and changes nothing
 * of it but class and place.
 */
#include "session/follow_internal.h"
#include "session/task.h"

#include <base/clock.h>

#define GUARD_NS       (2 * NS_PER_MS)
#define BUSY_SERVED    16u /* in GUARD_NS: no doubt that it gets on */
#define BACKOFF_MIN_NS (20 * NS_PER_MS)
#define BACKOFF_MAX_NS NS_PER_S
#define WORTH_NS       (10 * NS_PER_MS) /* to have followed for so long */

struct sample {
	struct sess_thread *who;
	bool keeps;
	uint64_t at_ns, served, waited_ns, client_ns;
};

static struct sample take_sample(struct follow *f)
{
	struct sample s = {.at_ns = clock_mono_ns(&clock_system)};

	s.who = atomic_load_explicit(&f->who, memory_order_acquire); /* with its pid */
	if (!s.who)
		return s;
	/* relaxed: as in go_on */
	s.served = atomic_load_explicit(&f->served, memory_order_relaxed);
	s.keeps = atomic_load_explicit(&f->keeps, memory_order_relaxed);
	s.waited_ns = task_waited_ns(s.who->tid);
	/* relaxed: as in begin */
	s.client_ns = task_process_cpu_ns(atomic_load_explicit(&f->pid, memory_order_relaxed));
	return s;
}

/* Most of the time it was ready to run, and did not: because of somebody else, or because the
 * client has much to do. */
static bool is_starving(const struct sample *before, const struct sample *now, bool *ret_stranger)
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

/* Sleeps: for `GUARD_NS`, or until somebody follows. False: stop. */
static bool guard_sleep(struct follow *f, bool for_someone)
{
	LOCK_GUARD(&f->lock);
	if (!for_someone && !f->stop)
		(void)cond_wait_until(&f->wake, &f->lock,
			clock_after(&clock_system, GUARD_NS)); /* time is looked at by who reads */
	/* acquire: as in take_sample */
	while (for_someone && !f->stop && !atomic_load_explicit(&f->who, memory_order_acquire))
		cond_wait(&f->wake, &f->lock);
	return !f->stop;
}

/* What the follower did since the last look. True: all is well. */
static bool look_after(struct follow *f, const struct sample *before, const struct sample *now,
	uint64_t *backoff_ns)
{
	bool stranger = false, starving;

	if (now->served - before->served >= BUSY_SERVED)
		return true;
	starving = is_starving(before, now, &stranger);
	/* In one request all the time, perhaps a long copy-up, or kept from the CPU: others take
	 * what else the session has. relaxed: see begin */
	if (now->keeps && before->keeps && (starving || now->served == before->served))
		sess_workers_arm(f->farm, atomic_load_explicit(&f->key, memory_order_relaxed));
	if (starving)
		call_back(f, now->who, stranger, backoff_ns);
	return !starving;
}

void *follow_guard_main(void *arg)
{
	struct follow *f = arg;
	struct sample before = {0};
	uint64_t well_ns = 0, backoff_ns = BACKOFF_MIN_NS;

	while (guard_sleep(f, !before.who)) {
		struct sample now = take_sample(f);

		if (now.who && now.who == before.who) {
			well_ns += now.at_ns - before.at_ns;
			if (!look_after(f, &before, &now, &backoff_ns))
				well_ns = 0;
			else if (well_ns > WORTH_NS)
				backoff_ns = BACKOFF_MIN_NS;
		}
		before = now;
	}
	return NULL;
}
