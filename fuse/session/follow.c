/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that asks one thing after the other (find, tar, git, cp) pays for two wake-ups per
 * request: the scheduler puts the worker on an idle CPU, and on its answer the client too, so each
 * wakes the other on a CPU that had gone to sleep. So when one process has asked all the latest
 * requests, the worker follows it:
 *
 *  - it pins itself to the client's CPU and looks now and then where that is now;
 *  - it enters SCHED_IDLE: to the scheduler a CPU that runs only such threads counts as idle, so
 *    the answer wakes the client right there instead of elsewhere;
 *  - it keeps the session to itself (workers.c does not arm it) and reads on: the client runs as
 *    soon as it is answered, so its next request is there before the worker looks.
 *
 * One worker on a CPU: two of the idle class beside one client would wait for each other. When
 * every worker follows, a session of nobody's is served by the one that thinks of others first
 * (workers.c), and few requests of strangers take a worker off its client.
 *
 * The idle class is given the CPU last: if somebody else computes there, or the client itself does,
 * the worker waits, and the session with it. So a guard thread (follow_guard.c) looks every few
 * milliseconds while somebody follows. A follower that has served little since the last look gives
 * its session to the others; if it was ready to run and did not get the CPU, it is set back to
 * normal from outside, and, if that was not the client's doing, nobody follows for a while: 20 ms,
 * twice as long each time that following lasted less than 10 ms, 1 s at most. When nobody asks for
 * 20 ms, the worker goes back to normal by itself.
 *
 * Who follows is an atomic pointer in the worker's spot. Who takes a worker off (itself, the guard,
 * or another worker) sets it back; a worker that entered the idle class looks again whether it
 * still follows, because the guard may have been faster. A follower takes no lock: starved, it
 * would keep it. Source: sched(7); sched_idle_cpu() in the kernel's fair class.
 */
#include "session/follow_internal.h"
#include "session/task.h"

#include <base/clock.h>
#include <errno.h>
#include <stdlib.h>

#define SCORE_MAX      64
#define SCORE_USURPED  8
#define SCORE_ENTER    32
#define SCORE_STRANGER 16    /* taken off for a request of somebody else */
#define LOOK_EVERY     1024u /* requests */
#define LOOK_MISSED    8u    /* ... when one was not there as soon as the last was answered */
#define PATIENCE_MS    20

static int set_class(pid_t tid, int policy)
{
	return sched_setscheduler(tid, policy, &(struct sched_param){0}) < 0 ? -errno : 0;
}

static void set_normal(struct follow *f, struct sess_thread *t)
{
	/* Both were allowed when the farm was made. */
	(void)set_class(t->tid, SCHED_OTHER);
	(void)sched_setaffinity(t->tid, sizeof(f->cpus), &f->cpus);
}

static struct follow_spot *spot_of(const struct follow *f, const struct sess_thread *t)
{
	return &f->spots[t - f->farm->workers];
}

/* True: it followed until now. */
static bool clear_spot(struct follow_spot *spot, struct sess_thread *who)
{
	/* acq_rel: what the guard read of it is over before it changes */
	return atomic_compare_exchange_strong_explicit(
		&spot->who, &who, NULL, memory_order_acq_rel, memory_order_relaxed);
}

bool follow_take_off(struct follow *f, struct sess_thread *who)
{
	if (!clear_spot(spot_of(f, who), who))
		return false;
	set_normal(f, who);
	return true;
}

static void leave(struct follow *f, struct sess_thread *t)
{
	(void)clear_spot(spot_of(f, t), t); /* false: the guard was faster */
	set_normal(f, t);                   /* perhaps once more after the guard */
	t->follower = (struct follower){0};
}

bool follow_anyone(const struct follow *f)
{
	for (unsigned i = 0; i < f->farm->worker_count; i++)
		/* acquire: with its pid */
		if (atomic_load_explicit(&f->spots[i].who, memory_order_acquire))
			return true;
	return false;
}

/* Another worker follows on that CPU. Two that find out at the same time share it for a while. */
static bool is_taken(const struct follow *f, const struct follow_spot *mine, int cpu)
{
	for (unsigned i = 0; i < f->farm->worker_count; i++) {
		const struct follow_spot *spot = &f->spots[i];

		/* relaxed: a hint */
		if (spot != mine && atomic_load_explicit(&spot->who, memory_order_relaxed) &&
			atomic_load_explicit(&spot->cpu, memory_order_relaxed) == cpu)
			return true;
	}
	return false;
}

/* Where to wait for a client that is on `cpu`. If somebody follows there already, the client came
 * because that CPU counts as idle; it comes to a free one as well, where it has more room. -1:
 * none is free. */
static int choose_cpu(const struct follow *f, const struct follow_spot *mine, int now, int cpu)
{
	if (!is_taken(f, mine, cpu))
		return cpu;
	if (now >= 0 && !is_taken(f, mine, now))
		return now;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET((unsigned)i, &f->cpus) && !is_taken(f, mine, i))
			return i;
	return -1;
}

/* To where the client is. False: it cannot be followed. */
static bool go_after(struct follow *f, struct sess_thread *t)
{
	struct follow_spot *spot = spot_of(f, t);
	struct follower *me = &t->follower;
	struct task_place place = {0};
	cpu_set_t set;
	int cpu;

	me->looked = 0;
	me->missed = false;
	/* With several threads, the process' CPU time would not tell whether this one gets on. */
	if (task_place(me->pid, &place) < 0 || place.threads != 1 || place.cpu >= CPU_SETSIZE ||
		!CPU_ISSET(place.cpu, &f->cpus))
		return false;
	cpu = choose_cpu(f, spot, me->cpu, (int)place.cpu);
	if (cpu < 0 || cpu == me->cpu)
		return cpu >= 0;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	me->cpu = cpu;
	atomic_store_explicit(&spot->cpu, cpu, memory_order_relaxed); /* as in is_taken */
	return sched_setaffinity(t->tid, sizeof(set), &set) == 0;
}

static void begin(struct follow *f, struct sess_thread *t)
{
	struct follow_spot *spot = spot_of(f, t);

	/* relaxed: a hint */
	if (clock_mono_ns(&clock_system) <
		atomic_load_explicit(&f->quiet_ns, memory_order_relaxed)) {
		t->follower.score = 0;
		return;
	}
	/* relaxed: only compared, or looked up; release: they are seen with us */
	atomic_store_explicit(&spot->pid, t->follower.pid, memory_order_relaxed);
	atomic_store_explicit(&spot->key, t->follower.key, memory_order_relaxed);
	atomic_store_explicit(&spot->cpu, -1, memory_order_relaxed);
	atomic_store_explicit(&spot->who, t, memory_order_release);
	t->follower.on = true;
	t->follower.cpu = -1;
	lock_acquire(&f->lock);
	cond_signal(&f->wake);
	lock_release(&f->lock);
	if (!go_after(f, t) || set_class(t->tid, SCHED_IDLE) < 0 ||
		atomic_load_explicit(&spot->who, memory_order_acquire) != t)
		leave(f, t);
	else
		counter_add(f->farm->m.followed, 1);
}

/* Another request of the client, of this session. False: it cannot be followed any more. */
static bool go_on(struct follow *f, struct sess_thread *t)
{
	struct follow_spot *spot = spot_of(f, t);
	struct follower *me = &t->follower;

	/* relaxed: a count that one thread writes and the guard compares */
	atomic_store_explicit(&spot->served, ++me->served, memory_order_relaxed);
	counter_add(f->farm->m.followed_requests, 1);
	if (++me->looked < (me->missed ? LOOK_MISSED : LOOK_EVERY))
		return true;
	/* relaxed: the guard took us off; when we notice does not matter */
	return atomic_load_explicit(&spot->who, memory_order_relaxed) == t && go_after(f, t);
}

/* Somebody follows this client, but its requests come to us. */
static void take_over(struct follow *f, struct sess_thread *t)
{
	for (unsigned i = 0; i < f->farm->worker_count; i++) {
		struct follow_spot *spot = &f->spots[i];
		/* acquire: with its pid */
		struct sess_thread *who = atomic_load_explicit(&spot->who, memory_order_acquire);

		/* relaxed: hints */
		if (who && who != t &&
			atomic_load_explicit(&spot->pid, memory_order_relaxed) == t->follower.pid &&
			atomic_load_explicit(&spot->key, memory_order_relaxed) == t->follower.key)
			(void)follow_take_off(f, who); /* false: it is off already */
	}
}

bool follow_note(struct sess_thread *t, uint64_t key, uint32_t pid)
{
	struct follow *f = t->farm->follow;
	struct follower *me = &t->follower;

	if (!f || pid == 0)
		return me->on && me->key == key;
	if (pid == me->pid && key == me->key) {
		if (me->score < SCORE_MAX)
			me->score++;
	} else if ((me->score -= SCORE_STRANGER) <= 0) {
		if (me->on)
			leave(f, t);
		*me = (struct follower){.pid = pid, .key = key};
	}
	if (!me->on && me->score == SCORE_USURPED)
		take_over(f, t);
	if (!me->on && me->score == SCORE_ENTER)
		begin(f, t);
	else if (me->on && !go_on(f, t))
		leave(f, t);
	return me->on && me->key == key;
}

void follow_keeps(struct sess_thread *t, bool keeps)
{
	t->follower.missed |= !keeps;
	/* relaxed: compared by the guard, milliseconds apart */
	if (t->follower.on)
		atomic_store_explicit(
			&spot_of(t->farm->follow, t)->keeps, keeps, memory_order_relaxed);
}

bool follow_taken(const struct sess_farm *farm)
{
	return farm->follow && follow_anyone(farm->follow);
}

int follow_patience_ms(const struct sess_thread *t)
{
	return t->follower.on ? PATIENCE_MS : -1;
}

void follow_idle(struct sess_thread *t)
{
	if (t->follower.on)
		leave(t->farm->follow, t);
}

/* ---- beginning and end ---- */

/* Whether a thread may leave the idle class again (it needs CAP_SYS_NICE or RLIMIT_NICE): tried on
 * a thread that ends. */
static void *try_classes(void *arg)
{
	int *ret = arg;

	*ret = set_class(0, SCHED_IDLE);
	if (*ret == 0)
		*ret = set_class(0, SCHED_OTHER);
	return NULL;
}

static int may_follow(void)
{
	pthread_t thread;
	int result = -EPERM;
	int r = sess_thread_start(&thread, "fuse-guard", try_classes, &result);

	if (r < 0)
		return r;
	(void)pthread_join(thread, NULL); /* ours, joined once */
	return result;
}

int follow_new(struct follow **ret_follow, struct sess_farm *farm)
{
	struct follow *f;
	int r = farm->cpus > 1 && task_waits_are_counted() ? may_follow() : -EOPNOTSUPP;

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->farm = farm;
	f->spots = calloc(farm->worker_count, sizeof(*f->spots));
	f->watched = calloc(farm->worker_count, sizeof(*f->watched));
	lock_init(&f->lock, LOCK_RANK_LEAF);
	cond_init(&f->wake);
	r = !f->spots || !f->watched ? -ENOMEM : 0;
	if (r == 0 && sched_getaffinity(0, sizeof(f->cpus), &f->cpus) < 0)
		r = -errno;
	if (r == 0)
		r = sess_thread_start(&f->guard, "fuse-guard", follow_guard_main, f);
	if (r < 0) {
		(void)follow_free(f); /* returns NULL always */
		return r;
	}
	*ret_follow = f;
	return 0;
}

void follow_stop(struct follow *f)
{
	if (!f)
		return;
	/* relaxed: who has not seen it yet follows until it is told to stop */
	atomic_store_explicit(&f->quiet_ns, NS_NEVER, memory_order_relaxed);
	lock_acquire(&f->lock);
	f->stop = true;
	cond_signal(&f->wake);
	lock_release(&f->lock);
	(void)pthread_join(f->guard, NULL); /* ours, joined once */
}

struct follow *follow_free(struct follow *f)
{
	if (!f)
		return NULL;
	cond_fini(&f->wake);
	lock_fini(&f->lock);
	free(f->spots);
	free(f->watched);
	free(f);
	return NULL;
}
