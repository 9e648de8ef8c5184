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
 * One worker at a time; two busy clients keep two CPUs awake anyway.
 *
 * The idle class is given the CPU last: if somebody else computes there, or the client itself does,
 * the worker waits, and the session with it. So a guard thread looks every 2 ms while somebody
 * follows. A follower that has served little since the last look gives its session to the others;
 * if it was ready to run and did not get the CPU, it is set back to normal from outside, and, if
 * that was not the client's doing, nobody follows for a while: 20 ms, twice as long each time that
 * following lasted less than 10 ms, 1 s at most. When nobody asks for 20 ms, the worker goes back
 * to normal by itself.
 *
 * Who follows is one atomic pointer. Who takes a worker off it (itself or the guard) sets it back;
 * a worker that entered the idle class looks again whether it still follows, because the guard may
 * have been faster. Source: sched(7); sched_idle_cpu() in the kernel's fair class.
 */
#include "session/follow.h"

#include "session/session_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCORE_MAX      64
#define SCORE_ENTER    32
#define SCORE_STRANGER 16 /* taken off for a request of somebody else */
#define LOOK_EVERY     64u
#define PATIENCE_MS    20
#define GUARD_NS       (2 * NS_PER_MS)
#define BUSY_SERVED    16u /* in GUARD_NS: no doubt that it gets on */
#define SCORE_USURPED  8
#define BACKOFF_MIN_NS (20 * NS_PER_MS)
#define WORTH_NS       (10 * NS_PER_MS) /* to have followed for so long */
#define BACKOFF_MAX_NS NS_PER_S

struct follow {
	struct sess_farm *farm;
	cpu_set_t cpus; /* where this process may run; const */
	pthread_t guard;
	_Atomic(struct sess_thread *) who;
	_Atomic uint32_t pid;      /* of the client of `who` */
	_Atomic uint64_t key;      /* of the session that it keeps to itself */
	_Atomic uint64_t served;   /* requests, while somebody follows */
	_Atomic bool keeps;        /* the follower has the session to itself at this moment */
	_Atomic uint64_t quiet_ns; /* nobody follows before */
	struct lock lock;          /* LOCK_RANK_LEAF: stop; and to sleep on */
	struct cond wake;
	bool stop;
	uint64_t backoff_ns; /* the guard's */
};

struct task_stat {
	char state;
	unsigned threads, cpu;
};

/* proc(5), /proc/pid/stat: the name in parentheses may hold anything, so fields count from the last
 * one. */
static int parse_stat(char *text, struct task_stat *ret_stat)
{
	char *save, *at = strrchr(text, ')');
	unsigned field = 3;

	for (char *word = at ? strtok_r(at + 1, " ", &save) : NULL; word;
		word = strtok_r(NULL, " ", &save), field++) {
		if (field == 3)
			ret_stat->state = *word;
		else if (field == 20)
			ret_stat->threads = (unsigned)strtoul(word, NULL, 10);
		else if (field == 39) {
			ret_stat->cpu = (unsigned)strtoul(word, NULL, 10);
			return 0;
		}
	}
	return -EPROTO;
}

static int look_at(uint32_t tid, struct task_stat *ret_stat)
{
	char text[1024];
	ssize_t n;
	int fd;

	(void)snprintf(text, sizeof(text), "/proc/%u/task/%u/stat", tid, tid);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd); /* nothing to lose in it */
	if (n <= 0)
		return -ESRCH;
	text[n] = 0;
	return parse_stat(text, ret_stat);
}

/* ---- the worker's part ---- */

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

/* Takes a worker off, from outside. False: it is off already. */
static bool take_off(struct follow *f, struct sess_thread *who)
{
	struct sess_thread *expected = who;

	/* acq_rel: as in leave */
	if (!atomic_compare_exchange_strong_explicit(
		    &f->who, &expected, NULL, memory_order_acq_rel, memory_order_relaxed))
		return false;
	set_normal(f, who);
	return true;
}

static void leave(struct follow *f, struct sess_thread *t)
{
	struct sess_thread *self = t;

	/* acq_rel: what the guard read of us is over before we change it */
	(void)atomic_compare_exchange_strong_explicit(
		&f->who, &self, NULL, memory_order_acq_rel, memory_order_relaxed);
	set_normal(f, t); /* perhaps once more after the guard */
	t->follower = (struct follower){0};
}

/* To where the client is. False: it cannot be followed. */
static bool go_after(struct follow *f, struct sess_thread *t)
{
	struct follower *me = &t->follower;
	struct task_stat stat = {0};
	cpu_set_t cpu;

	me->looked = 0;
	/* With several threads, the process' CPU time would not tell whether this one gets on. */
	if (look_at(me->pid, &stat) < 0 || stat.threads != 1 || stat.cpu >= CPU_SETSIZE ||
		!CPU_ISSET(stat.cpu, &f->cpus))
		return false;
	if (me->on && me->cpu == (int)stat.cpu)
		return true;
	CPU_ZERO(&cpu);
	CPU_SET(stat.cpu, &cpu);
	me->cpu = (int)stat.cpu;
	return sched_setaffinity(t->tid, sizeof(cpu), &cpu) == 0;
}

static void begin(struct follow *f, struct sess_thread *t)
{
	struct sess_thread *nobody = NULL;

	/* relaxed: a hint; acq_rel: the guard sees our pid with us */
	if (clock_mono_ns(&clock_system) <
			atomic_load_explicit(&f->quiet_ns, memory_order_relaxed) ||
		!atomic_compare_exchange_strong_explicit(
			&f->who, &nobody, t, memory_order_acq_rel, memory_order_relaxed)) {
		t->follower.score = 0;
		return;
	}
	/* relaxed: only compared, or looked up */
	atomic_store_explicit(&f->pid, t->follower.pid, memory_order_relaxed);
	atomic_store_explicit(&f->key, t->follower.key, memory_order_relaxed);
	t->follower.on = true;
	t->follower.cpu = -1;
	lock_acquire(&f->lock);
	cond_signal(&f->wake);
	lock_release(&f->lock);
	if (!go_after(f, t) || set_class(t->tid, SCHED_IDLE) < 0 ||
		atomic_load_explicit(&f->who, memory_order_acquire) != t)
		leave(f, t);
	else
		counter_add(f->farm->m.followed, 1);
}

/* Another request of the client, of this session. False: it cannot be followed any more. */
static bool go_on(struct follow *f, struct sess_thread *t)
{
	struct follower *me = &t->follower;

	/* relaxed: a count that one thread writes and the guard compares */
	atomic_store_explicit(&f->served, ++me->served, memory_order_relaxed);
	counter_add(f->farm->m.followed_requests, 1);
	if (++me->looked < LOOK_EVERY)
		return true;
	/* relaxed: the guard took us off; when we notice does not matter */
	return atomic_load_explicit(&f->who, memory_order_relaxed) == t && go_after(f, t);
}

/* Somebody follows this client, but its requests come to us. */
static void take_over(struct follow *f, struct sess_thread *t)
{
	/* relaxed: hints; acquire: as in take_sample */
	if (atomic_load_explicit(&f->pid, memory_order_relaxed) == t->follower.pid &&
		atomic_load_explicit(&f->key, memory_order_relaxed) == t->follower.key) {
		struct sess_thread *who = atomic_load_explicit(&f->who, memory_order_acquire);

		if (who && who != t)
			(void)take_off(f, who); /* false: it is off already */
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
	/* relaxed: compared by the guard, milliseconds apart */
	if (t->follower.on)
		atomic_store_explicit(&t->farm->follow->keeps, keeps, memory_order_relaxed);
}

bool follow_taken(const struct sess_farm *farm)
{
	/* relaxed: a hint */
	return farm->follow &&
	       atomic_load_explicit(&farm->follow->who, memory_order_relaxed) != NULL;
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

/* ---- the guard ---- */

struct sample {
	struct sess_thread *who;
	bool keeps;
	uint64_t at_ns, served, waited_ns, client_ns;
};

/* How long a thread was ready to run and did not: the second number of /proc/pid/schedstat. */
static uint64_t waited_ns(pid_t tid)
{
	char text[128], *end;
	ssize_t n;
	int fd;

	(void)snprintf(text, sizeof(text), "/proc/self/task/%d/schedstat", tid);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		(void)close(fd); /* nothing to lose in it */
	if (n <= 0)
		return 0;
	text[n] = 0;
	(void)strtoull(text, &end, 10); /* time on the CPU */
	return strtoull(end, NULL, 10);
}

/* 0 if it has ended: then nobody waits for it either. As clock_getcpuclockid(3) would do it,
 * without asking whether the process is there. */
static uint64_t process_cpu_ns(uint32_t pid)
{
	struct timespec ts;

	return clock_gettime((clockid_t)(~pid << 3 | 2u), &ts) < 0 ? 0 : clock_from_timespec(&ts);
}

static struct sample take_sample(struct follow *f)
{
	struct sample s = {.at_ns = clock_mono_ns(&clock_system)};

	s.who = atomic_load_explicit(&f->who, memory_order_acquire); /* with its pid */
	if (!s.who)
		return s;
	/* relaxed: as in go_on */
	s.served = atomic_load_explicit(&f->served, memory_order_relaxed);
	s.keeps = atomic_load_explicit(&f->keeps, memory_order_relaxed);
	s.waited_ns = waited_ns(s.who->tid);
	/* relaxed: as in begin */
	s.client_ns = process_cpu_ns(atomic_load_explicit(&f->pid, memory_order_relaxed));
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

static void call_back(struct follow *f, struct sess_thread *who, bool back_off)
{
	if (!take_off(f, who))
		return;
	if (back_off) {
		atomic_store_explicit(&f->quiet_ns, clock_after(&clock_system, f->backoff_ns),
			memory_order_relaxed); /* a hint */
		f->backoff_ns =
			f->backoff_ns * 2 < BACKOFF_MAX_NS ? f->backoff_ns * 2 : BACKOFF_MAX_NS;
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
static bool look_after(struct follow *f, const struct sample *before, const struct sample *now)
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
		call_back(f, now->who, stranger);
	return !starving;
}

static void *guard_main(void *arg)
{
	struct follow *f = arg;
	struct sample before = {0};
	uint64_t well_ns = 0;

	while (guard_sleep(f, !before.who)) {
		struct sample now = take_sample(f);

		if (now.who && now.who == before.who) {
			well_ns += now.at_ns - before.at_ns;
			if (!look_after(f, &before, &now))
				well_ns = 0;
			else if (well_ns > WORTH_NS)
				f->backoff_ns = BACKOFF_MIN_NS;
		}
		before = now;
	}
	return NULL;
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
	int r = farm->cpus > 1 ? may_follow() : -EOPNOTSUPP;

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->farm = farm;
	f->backoff_ns = BACKOFF_MIN_NS;
	lock_init(&f->lock, LOCK_RANK_LEAF);
	cond_init(&f->wake);
	r = sched_getaffinity(0, sizeof(f->cpus), &f->cpus) < 0 ? -errno : 0;
	if (r == 0)
		r = sess_thread_start(&f->guard, "fuse-guard", guard_main, f);
	if (r < 0) {
		cond_fini(&f->wake);
		lock_fini(&f->lock);
		free(f);
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
	free(f);
	return NULL;
}
