/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed pool that reads requests of all sessions. One epoll set, one read per event: the
 * kernel's ready queue then goes round robin over the sessions that have something, so that a flood
 * in one cannot starve another.
 *
 * A session is armed for one event and armed again as soon as one request was read, before it is
 * served: what else waits goes to the end of the ready queue and wakes the next worker. Without
 * EPOLLONESHOT epoll would wake the next worker already when it hands out an event, because the
 * request is still unread: two wake-ups for every request of a serial client, measured 2.2-2.6
 * context switches a request against 1.0.
 *
 * Waking a sleeping CPU is what a request costs most, so a worker that has just served looks again
 * for up to 30 us before it sleeps. At most one worker does, it looks at all sessions (epoll_wait
 * without waiting), yields in between, and stops trying while it does not pay. A worker that serves
 * one serial client does better: it follows it (follow.c), and reads on until nothing is there.
 *
 * A worker never waits for anyone but the local disk: what must be fetched is parked. Stop: an
 * eventfd in the set that is never read, so that every worker sees it.
 */
#include "session/session_internal.h"
#include "session/slots.h"

#include <base/clock.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SPIN_NS         30000ull
#define SPIN_SCORE_MAX  32
#define SPIN_HIT        2
#define SPIN_MISS       8
#define SPIN_PROBE_MASK 63u /* every 64th time it is tried although it did not pay */
#define KEY_STOP        UINT64_MAX
#define FOLLOW_BUDGET   64u /* requests of a followed client before others are thought of */
#define EVENTS          (EPOLLIN | EPOLLONESHOT)

/* Only one at a time, only while it pays, only on a machine with room. */
static bool may_spin(struct sess_thread *t)
{
	struct sess_farm *farm = t->farm;

	/* relaxed: a hint, renewed every few seconds */
	if (!farm->spin || follow_taken(farm) ||
		!atomic_load_explicit(&farm->spin_calm, memory_order_relaxed))
		return false;
	if (t->spin_score <= 0 && (t->wakes & SPIN_PROBE_MASK))
		return false;
	/* relaxed: the flag protects nothing but itself */
	return !atomic_exchange_explicit(&farm->spinner, true, memory_order_relaxed);
}

static int spin(struct sess_thread *t, struct epoll_event *ev)
{
	struct sess_farm *farm = t->farm;
	uint64_t end = clock_after(farm->clock, SPIN_NS);
	int n;

	while ((n = epoll_wait(farm->epoll_fd, ev, 1, 0)) == 0 && clock_mono_ns(farm->clock) < end)
		(void)sched_yield();                                        /* cannot fail */
	atomic_store_explicit(&farm->spinner, false, memory_order_relaxed); /* as in may_spin */
	if (n > 0) {
		counter_add(farm->m.spin_hits, 1);
		t->spin_score = t->spin_score + SPIN_HIT < SPIN_SCORE_MAX ? t->spin_score + SPIN_HIT
									  : SPIN_SCORE_MAX;
	} else {
		counter_add(farm->m.spin_misses, 1);
		t->spin_score = t->spin_score > SPIN_MISS ? t->spin_score - SPIN_MISS : 0;
	}
	return n;
}

/* Sleeping here without an end is a worker's idle state; the stop event ends it. */
static int next_event(struct sess_thread *t, struct epoll_event *ev)
{
	int n = 0;

	t->wakes++;
	if (t->follower.on) { /* spinning would take the CPU from the client */
		n = epoll_wait(t->farm->epoll_fd, ev, 1, follow_patience_ms(t));
		if (n == 0)
			follow_idle(t);
		return n;
	}
	if (may_spin(t))
		n = spin(t, ev);
	if (n == 0)
		n = epoll_wait(t->farm->epoll_fd, ev, 1, -1);
	return n;
}

/* The connection has ended, or its descriptor is unusable: armed again, it would be reported for
 * ever. */
static void give_up(struct session *s)
{
	sess_workers_unwatch(s->farm, fuse_session_fd(s->se));
	sess_ended(s);
}

/* ENOENT: another worker saw the end and took it out of the set. */
static void arm(struct session *s)
{
	int fd = fuse_session_fd(s->se);
	struct epoll_event ev = {.events = EVENTS, .data.u64 = s->key};

	if (epoll_ctl(s->farm->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 && errno != ENOENT)
		give_up(s);
}

void sess_workers_arm(struct sess_farm *farm, uint64_t key)
{
	struct session *s = slots_ref(farm->slots, key);

	if (!s)
		return;
	arm(s);
	slots_unref(farm->slots, key);
}

/* One request. False: there was none, or the connection is over (then it is given up).
 * `*armed`: the session is; it is before a request is handled, unless the worker follows. */
static bool serve_one(struct sess_thread *t, struct session *s, bool *armed)
{
	struct fuse_buf buf = {.mem = t->in, .size = SESS_REQUEST_BYTES};
	int n = fuse_session_receive_buf(s->se, &buf);
	bool wanted;

	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n <= 0) {
		give_up(s);
		*armed = true; /* as far as it can be */
		return false;
	}
	wanted = sess_raw_inspect(s, &t->raw, t->in, (size_t)n);
	if (follow_note(t, s->key, wanted ? t->raw.pid : 0)) {
		follow_keeps(t, true);
	} else if (!*armed) {
		arm(s);
		*armed = true;
	}
	atomic_store_explicit(
		&t->busy_opcode, t->raw.opcode, memory_order_relaxed); /* as in serve */
	if (wanted)
		fuse_session_process_buf(s->se, &buf);
	return true;
}

/* Another session has requests, or it is time to stop. */
static bool others_wait(const struct sess_farm *farm)
{
	struct pollfd set = {.fd = farm->epoll_fd, .events = POLLIN};

	return poll(&set, 1, 0) != 0;
}

/* What the session has: one request, or, while the worker keeps the session, up to a budget.
 * True: there may be more. */
static bool serve_some(struct sess_thread *t, struct session *s, bool *armed, unsigned *served)
{
	uint64_t start = clock_mono_ns(t->farm->clock);
	unsigned n = 0;
	bool more;

	/* relaxed, here and below: the watchdog only compares it with the time */
	atomic_store_explicit(&t->busy_since_ns, start, memory_order_relaxed);
	while ((more = serve_one(t, s, armed)) && ++n < FOLLOW_BUDGET && !*armed)
		;
	atomic_store_explicit(&t->busy_since_ns, 0, memory_order_relaxed);
	sess_count(&s->busy_ns, clock_mono_ns(t->farm->clock) - start);
	*served += n;
	return more;
}

/* A worker that keeps the session does so until nothing is there or others wait: armed while the
 * client's next request is there, it would wake another worker, which would have to find out first
 * whom to follow. */
static void serve(struct sess_thread *t, struct session *s)
{
	bool armed = false;
	unsigned served = 0;

	while (serve_some(t, s, &armed, &served) && !armed && !others_wait(t->farm))
		;
	if (!armed)
		arm(s);
	follow_keeps(t, false);
	if (served == 0) {
		/* An abandoned request went away before it was read. */
		sess_count(&s->spurious, 1);
		counter_add(t->farm->m.spurious, 1);
	}
}

static void *worker_main(void *arg)
{
	struct sess_thread *t = arg;
	struct epoll_event ev;

	sess_thread_enter(t);
	for (;;) {
		struct session *s;
		int n = next_event(t, &ev);

		if (n < 0 && errno != EINTR)
			break; /* the set is gone: only when the farm is */
		if (n <= 0)
			continue;
		if (ev.data.u64 == KEY_STOP)
			break;
		s = slots_ref(t->farm->slots, ev.data.u64);
		if (!s) {
			counter_add(t->farm->m.stale_events, 1);
			continue;
		}
		serve(t, s);
		slots_unref(t->farm->slots, ev.data.u64);
	}
	follow_idle(t);
	return NULL;
}

int sess_workers_watch(struct sess_farm *farm, int fd, uint64_t key)
{
	struct epoll_event ev = {.events = EVENTS, .data.u64 = key};

	return epoll_ctl(farm->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void sess_workers_unwatch(struct sess_farm *farm, int fd)
{
	(void)epoll_ctl(
		farm->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* ENOENT: another worker was first */
}

int sess_workers_start(struct sess_farm *farm)
{
	struct epoll_event stop = {.events = EPOLLIN, .data.u64 = KEY_STOP};
	char name[24];
	int r;

	farm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (farm->epoll_fd < 0)
		return -errno;
	farm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (farm->stop_fd < 0)
		return -errno;
	if (epoll_ctl(farm->epoll_fd, EPOLL_CTL_ADD, farm->stop_fd, &stop) < 0)
		return -errno;
	farm->workers = calloc(farm->worker_count, sizeof(*farm->workers));
	if (!farm->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < farm->worker_count; i++) {
		r = sess_thread_init(&farm->workers[i], farm, true);
		if (r < 0)
			return r;
		(void)snprintf(name, sizeof(name), "fuse-worker%u", i); /* fits */
		r = sess_thread_start(
			&farm->workers[i].thread, name, worker_main, &farm->workers[i]);
		if (r < 0) {
			sess_thread_fini(&farm->workers[i]);
			return r;
		}
		farm->workers_started++;
	}
	return 0;
}

void sess_workers_stop(struct sess_farm *farm)
{
	if (farm->workers_started)
		(void)eventfd_write(farm->stop_fd, 1); /* a fresh counter cannot overflow */
	for (unsigned i = 0; i < farm->workers_started; i++) {
		(void)pthread_join(farm->workers[i].thread, NULL); /* ours, joined once */
		sess_thread_fini(&farm->workers[i]);
	}
	free(farm->workers);
	farm->workers = NULL;
	farm->workers_started = 0;
	if (farm->stop_fd >= 0)
		(void)close(farm->stop_fd); /* nothing to lose in it, as in the next */
	if (farm->epoll_fd >= 0)
		(void)close(farm->epoll_fd);
	farm->stop_fd = farm->epoll_fd = -1;
}

uint64_t sess_longest_handler(struct sess_farm *farm, unsigned *ret_opcode)
{
	uint64_t now = clock_mono_ns(farm->clock), longest = 0;

	for (unsigned i = 0; i < farm->workers_started; i++) {
		const struct sess_thread *t = &farm->workers[i];
		uint64_t since = atomic_load_explicit(&t->busy_since_ns, memory_order_relaxed);

		if (!since || now <= since || now - since <= longest)
			continue;
		longest = now - since;
		/* relaxed: of a handler that is under way for long it does not change */
		*ret_opcode = atomic_load_explicit(&t->busy_opcode, memory_order_relaxed);
	}
	return longest;
}
