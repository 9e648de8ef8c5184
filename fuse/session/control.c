/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of closures and one thread. A job has two owners, the caller who waits and the thread;
 * the last one frees it. When the caller gives up first, the argument passes to the thread.
 *
 * Between jobs, every few seconds, the thread reads the load average and tells the workers whether
 * spinning is in order.
 */
#include "session/control.h"

#include "session/session_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define JOBS_MAX      1024u
#define LOAD_EVERY_NS (2 * NS_PER_S)

struct job {
	struct list queued;
	int (*fn)(void *arg);
	void (*abandon)(void *arg);
	void *arg;
	int result;
	bool done, abandoned;
};

struct control {
	struct sess_farm *farm;
	pthread_t thread;
	struct lock lock; /* LOCK_RANK_LEAF: all below, and the jobs */
	struct cond wake, finished;
	struct list queue;
	unsigned count;
	bool stop;
};

static void observe_load(struct sess_farm *farm)
{
	/* Threads that want a CPU at this moment, this one included; the averages say what was a
	 * minute ago. */
	FILE *f = fopen("/proc/loadavg", "re");
	unsigned ready = 0;
	bool calm = f && fscanf(f, "%*f %*f %*f %u/", &ready) == 1 && ready <= farm->cpus + 1;

	if (f)
		(void)fclose(f); /* nothing to lose in it */

	atomic_store_explicit(&farm->spin_calm, calm, memory_order_relaxed); /* a hint */
}

/* The next job, or NULL: nothing for a while, or stopping. */
static struct job *next_job(struct control *c, bool *ret_stop)
{
	struct job *job = NULL;

	LOCK_GUARD(&c->lock);
	if (list_empty(&c->queue) && !c->stop)
		(void)cond_wait_until(&c->wake, &c->lock,
			clock_after(&clock_system, LOAD_EVERY_NS)); /* looks again */
	if (!list_empty(&c->queue)) {
		job = list_entry(list_first(&c->queue), struct job, queued);
		list_remove(&job->queued);
		c->count--;
	}
	*ret_stop = c->stop && !job;
	return job;
}

static void finish(struct control *c, struct job *job, int result)
{
	bool abandoned;

	lock_acquire(&c->lock);
	job->result = result;
	job->done = true;
	abandoned = job->abandoned;
	cond_broadcast(&c->finished);
	lock_release(&c->lock);
	if (!abandoned)
		return; /* the caller frees it */
	job->abandon(job->arg);
	free(job);
}

static void *control_main(void *arg)
{
	struct control *c = arg;
	bool stop = false;

	while (!stop) {
		struct job *job = next_job(c, &stop);

		if (job)
			finish(c, job, job->fn(job->arg));
		else
			observe_load(c->farm);
	}
	return NULL;
}

int control_new(struct control **ret_control, struct sess_farm *farm)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->farm = farm;
	lock_init(&c->lock, LOCK_RANK_LEAF);
	cond_init(&c->wake);
	cond_init(&c->finished);
	list_init(&c->queue);
	observe_load(farm);
	r = sess_thread_start(&c->thread, "fuse-control", control_main, c);
	if (r < 0) {
		cond_fini(&c->finished);
		cond_fini(&c->wake);
		lock_fini(&c->lock);
		free(c);
		return r;
	}
	*ret_control = c;
	return 0;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	lock_acquire(&c->lock);
	c->stop = true;
	cond_signal(&c->wake);
	lock_release(&c->lock);
	(void)pthread_join(c->thread, NULL); /* ours, joined once */
	cond_fini(&c->finished);
	cond_fini(&c->wake);
	lock_fini(&c->lock);
	free(c);
	return NULL;
}

static int enqueue(struct control *c, struct job *job)
{
	LOCK_GUARD(&c->lock);
	if (c->stop)
		return -ESHUTDOWN;
	if (c->count >= JOBS_MAX)
		return -EAGAIN;
	c->count++;
	list_push_back(&c->queue, &job->queued);
	cond_signal(&c->wake);
	return 0;
}

/* False: it is not done, and now the thread's. */
static bool wait_done(struct control *c, struct job *job, uint64_t deadline_ns)
{
	LOCK_GUARD(&c->lock);
	while (!job->done)
		if (!cond_wait_until(&c->finished, &c->lock, deadline_ns) && !job->done) {
			job->abandoned = true;
			return false;
		}
	return true;
}

int control_run(struct control *c, int (*fn)(void *arg), void (*abandon)(void *arg), void *arg,
	uint64_t deadline_ns)
{
	struct job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	*job = (struct job){.fn = fn, .abandon = abandon, .arg = arg};
	r = enqueue(c, job);
	if (r == 0 && !wait_done(c, job, deadline_ns))
		return -ETIMEDOUT;
	if (r == 0)
		r = job->result;
	free(job);
	return r;
}
