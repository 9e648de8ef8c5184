/* SPDX-License-Identifier: Apache-2.0 */
/* base/pool.h: every accepted job runs once; the queue and the threads stay within their limits. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/pool.h"

/* A gate that holds jobs until it is opened, and the order in which they then ran. */
struct gate {
	sem_t entered, open;
	pthread_mutex_t mu;
	char order[32];
	unsigned ran;
};

struct step {
	struct gate *gate;
	char name;
};

static void gate_init(struct gate *g)
{
	*g = (struct gate){.mu = PTHREAD_MUTEX_INITIALIZER};
	assert_int_equal(sem_init(&g->entered, 0, 0), 0);
	assert_int_equal(sem_init(&g->open, 0, 0), 0);
}

static void gate_fini(struct gate *g)
{
	(void)sem_destroy(&g->entered);
	(void)sem_destroy(&g->open);
}

static void wait_at_gate(void *arg)
{
	struct gate *g = arg;

	(void)sem_post(&g->entered);
	(void)sem_wait(&g->open);
}

static void note(void *arg)
{
	struct step *s = arg;

	(void)pthread_mutex_lock(&s->gate->mu);
	s->gate->order[s->gate->ran++] = s->name;
	(void)pthread_mutex_unlock(&s->gate->mu);
}

static void bump(void *arg)
{
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static struct pool *make(unsigned threads, unsigned queue)
{
	struct pool *p = NULL;

	assert_int_equal(pool_new(&p, &(struct pool_config){.name = "test",
					      .threads_max = threads,
					      .queue_max = queue}),
		0);
	return p;
}

static void every_job_runs_once(void **state)
{
	struct pool *p = make(3, 64);
	_Atomic unsigned ran = 0;
	unsigned accepted = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		int r = pool_submit(p, bump, &ran, i % 5 == 0);

		assert_true(r == 0 || r == -EAGAIN);
		accepted += r == 0;
	}
	assert_null(pool_free(p));
	assert_int_equal(atomic_load(&ran), accepted);
	assert_true(accepted >= 64);
	assert_null(pool_free(NULL));
}

static void full_queue_is_refused_and_urgent_goes_first(void **state)
{
	struct pool *p = make(1, 3);
	struct gate g;
	struct step a = {&g, 'a'}, b = {&g, 'b'}, u = {&g, 'u'};

	(void)state;
	gate_init(&g);
	assert_int_equal(pool_submit(p, wait_at_gate, &g, false), 0);
	(void)sem_wait(&g.entered);
	assert_int_equal(pool_running(p), 1);
	assert_int_equal(pool_submit(p, note, &a, false), 0);
	assert_int_equal(pool_submit(p, note, &b, false), 0);
	assert_int_equal(pool_submit(p, note, &u, true), 0);
	assert_int_equal(pool_queued(p), 3);
	assert_int_equal(pool_submit(p, note, &a, true), -EAGAIN);
	(void)sem_post(&g.open);
	pool_drain(p);
	assert_string_equal(g.order, "uab");
	assert_int_equal(pool_queued(p), 0);
	assert_int_equal(pool_running(p), 0);
	assert_int_equal(pool_submit(p, note, &a, false), -ESHUTDOWN);
	(void)pool_free(p);
	gate_fini(&g);
}

static void threads_start_on_need_up_to_the_limit(void **state)
{
	struct pool *p = make(3, 8);
	struct gate g;

	(void)state;
	gate_init(&g);
	for (int i = 0; i < 5; i++)
		assert_int_equal(pool_submit(p, wait_at_gate, &g, false), 0);
	for (int i = 0; i < 3; i++) /* three run at the same time ... */
		(void)sem_wait(&g.entered);
	assert_int_equal(pool_running(p), 3);
	assert_int_equal(pool_queued(p), 2); /* ... and no more */
	for (int i = 0; i < 5; i++)
		(void)sem_post(&g.open);
	(void)pool_free(p);
	gate_fini(&g);
}

struct look {
	char name[16];
	bool blocked;
};

static void look_around(void *arg)
{
	struct look *l = arg;
	sigset_t set;

	(void)pthread_getname_np(pthread_self(), l->name, sizeof(l->name));
	(void)pthread_sigmask(SIG_BLOCK, NULL, &set);
	l->blocked = sigismember(&set, SIGTERM) == 1;
}

static void threads_are_named_and_take_no_signals(void **state)
{
	struct pool *p = NULL;
	struct look l = {0};
	struct gate g;

	(void)state;
	gate_init(&g);
	assert_int_equal(pool_new(&p, &(struct pool_config){"a-very-long-name", 1, 2}), 0);
	/* the gate holds the thread until its name is surely set */
	assert_int_equal(pool_submit(p, wait_at_gate, &g, false), 0);
	assert_int_equal(pool_submit(p, look_around, &l, false), 0);
	(void)sem_post(&g.open);
	(void)pool_free(p);
	assert_string_equal(l.name, "a-very-long--0");
	assert_true(l.blocked);
	gate_fini(&g);
}

struct chain {
	struct pool *pool;
	int left;
};

static void resubmit(void *arg)
{
	struct chain *c = arg;

	if (c->left-- > 0)
		assert_int_equal(pool_submit(c->pool, resubmit, c, false), 0);
}

static void a_job_may_submit_with_a_queue_of_one(void **state)
{
	struct pool *p = make(1, 1);
	struct chain c = {p, 100};

	(void)state;
	assert_int_equal(pool_submit(p, resubmit, &c, false), 0);
	while (pool_queued(p) + pool_running(p) > 0)
		(void)sched_yield();
	(void)pool_free(p);
	assert_int_equal(c.left, -1);
}

static void bad_config(void **state)
{
	struct pool *p = NULL;

	(void)state;
	assert_int_equal(pool_new(&p, &(struct pool_config){"x", 0, 1}), -EINVAL);
	assert_int_equal(pool_new(&p, &(struct pool_config){"x", 1, 0}), -EINVAL);
	assert_null(p);
}

static void no_memory(void **state)
{
	struct pool *p = NULL;

	(void)state;
	for (unsigned n = 0;; n++) {
		int r;

		alloc_fault_arm(n);
		r = pool_new(&p, &(struct pool_config){"x", 2, 2});
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			assert_true(n > 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_null(p);
	}
	(void)pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_runs_once),
		cmocka_unit_test(full_queue_is_refused_and_urgent_goes_first),
		cmocka_unit_test(threads_start_on_need_up_to_the_limit),
		cmocka_unit_test(threads_are_named_and_take_no_signals),
		cmocka_unit_test(a_job_may_submit_with_a_queue_of_one),
		cmocka_unit_test(bad_config),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
