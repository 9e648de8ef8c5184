/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker threads over one bounded queue. Every job slot is allocated with the pool, so a submit
 * never allocates: it either finds a free slot or is refused.
 *
 * Threads: started by pool_submit when no idle one is left, all signals blocked, named NAME-N; they
 * run until pool_free, which first lets the queue run empty. Jobs run without any lock held and may
 * submit further jobs.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/pool.h"

struct job {
	struct list link; /* in pool.free, pool.urgent or pool.normal */
	pool_fn fn;
	void *arg;
};

struct pool {
	struct lock mu;
	struct cond work;      /* a job was queued, or stop */
	struct cond idle;      /* nothing queued and nothing running */
	struct list free;      /* guarded by mu */
	struct list urgent;    /* guarded by mu */
	struct list normal;    /* guarded by mu */
	unsigned queued;       /* guarded by mu */
	unsigned running;      /* guarded by mu */
	unsigned thread_count; /* guarded by mu */
	bool draining;         /* guarded by mu: no new jobs */
	bool stop;             /* guarded by mu: workers end */
	unsigned threads_max;  /* const after init */
	char name[13];         /* const after init */
	struct job *jobs;      /* const after init: all slots */
	pthread_t *threads;    /* slot i is written once, before thread_count passes it */
};

int pool_new(struct pool **ret_pool, const struct pool_config *config)
{
	struct pool *p;

	if (config->threads_max == 0 || config->queue_max == 0)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->threads_max = config->threads_max;
	p->jobs = calloc(config->queue_max, sizeof(*p->jobs));
	p->threads = calloc(config->threads_max, sizeof(*p->threads));
	if (!p->jobs || !p->threads) {
		free(p->jobs);
		free(p->threads);
		free(p);
		return -ENOMEM;
	}
	(void)snprintf(p->name, sizeof(p->name), "%s", config->name); /* longer ones are cut */
	lock_init(&p->mu, LOCK_RANK_POOL);
	cond_init(&p->work);
	cond_init(&p->idle);
	list_init(&p->free);
	list_init(&p->urgent);
	list_init(&p->normal);
	for (unsigned i = 0; i < config->queue_max; i++)
		list_push_back(&p->free, &p->jobs[i].link);
	*ret_pool = p;
	return 0;
}

static struct job *take_locked(struct pool *p)
{
	struct list *first = list_first(&p->urgent);
	struct job *job;

	if (!first)
		first = list_first(&p->normal);
	if (!first)
		return NULL;
	job = list_entry(first, struct job, link);
	list_remove(&job->link);
	p->queued--;
	return job;
}

static void run_locked(struct pool *p, struct job *job)
{
	pool_fn fn = job->fn;
	void *arg = job->arg;

	list_push_front(&p->free, &job->link); /* front: the slot's memory is warm */
	p->running++;
	lock_release(&p->mu);
	fn(arg);
	lock_acquire(&p->mu);
	p->running--;
	if (p->queued == 0 && p->running == 0)
		cond_broadcast(&p->idle);
}

static void *worker(void *arg)
{
	struct pool *p = arg;

	LOCK_GUARD(&p->mu);
	for (;;) {
		struct job *job = take_locked(p);

		if (job)
			run_locked(p, job);
		else if (p->stop)
			return NULL;
		else
			cond_wait(&p->work, &p->mu);
	}
}

/* Under the lock, because this happens at most threads_max times in the pool's life and keeps the
 * table simple. */
static int start_thread_locked(struct pool *p)
{
	pthread_t *thread = &p->threads[p->thread_count];
	sigset_t all, old;
	char name[16];
	int code;

	(void)sigfillset(&all); /* cannot fail */
	code = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (code)
		return -code;
	code = pthread_create(thread, NULL, worker, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL); /* restores what was valid a moment ago */
	if (code)
		return -code;
	(void)snprintf(name, sizeof(name), "%s-%u", p->name, p->thread_count % 100);
	(void)pthread_setname_np(
		*thread, name); /* a name is a help for people; without it all works */
	p->thread_count++;
	return 0;
}

int pool_submit(struct pool *p, pool_fn fn, void *arg, bool urgent)
{
	struct list *slot;
	struct job *job;

	LOCK_GUARD(&p->mu);
	if (p->draining)
		return -ESHUTDOWN;
	slot = list_first(&p->free);
	if (!slot)
		return -EAGAIN;
	/* idle threads = thread_count - running; each will take one of the queued jobs */
	if (p->thread_count < p->threads_max && p->queued >= p->thread_count - p->running &&
		start_thread_locked(p) < 0 && p->thread_count == 0)
		return -EAGAIN; /* no thread at all: the job would never run */
	job = list_entry(slot, struct job, link);
	list_remove(slot);
	job->fn = fn;
	job->arg = arg;
	list_push_back(urgent ? &p->urgent : &p->normal, &job->link);
	p->queued++;
	cond_signal(&p->work);
	return 0;
}

void pool_drain(struct pool *p)
{
	LOCK_GUARD(&p->mu);
	p->draining = true;
	while (p->queued > 0 || p->running > 0)
		cond_wait(&p->idle, &p->mu);
}

struct pool *pool_free(struct pool *p)
{
	if (!p)
		return NULL;
	pool_drain(p);
	lock_acquire(&p->mu);
	p->stop = true;
	cond_broadcast(&p->work);
	lock_release(&p->mu);
	/* thread_count is stable: no submit is accepted any more */
	for (unsigned i = 0; i < p->thread_count; i++)
		(void)pthread_join(
			p->threads[i], NULL); /* fails only for a thread that is not ours to join */
	cond_fini(&p->idle);
	cond_fini(&p->work);
	lock_fini(&p->mu);
	free(p->threads);
	free(p->jobs);
	free(p);
	return NULL;
}

unsigned pool_queued(struct pool *p)
{
	LOCK_GUARD(&p->mu);
	return p->queued;
}

unsigned pool_running(struct pool *p)
{
	LOCK_GUARD(&p->mu);
	return p->running;
}
