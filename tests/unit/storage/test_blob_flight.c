/* SPDX-License-Identifier: Apache-2.0 */
/* Single-flight: one fetch for all who ask, each with its own deadline and cancellation; and the
 * store under many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "base/list.h"
#include "base/lock.h"
#include "blob_world.h"

#include <pthread.h>
#include <unistd.h>

#define MIB     (1u << 20)
#define THREADS 16

/* A gate that a source waits at, so that the test decides when the bytes come. */
struct gate {
	struct lock mu;
	struct cond cv;
	bool open, reached;
};

static void gate_init(struct gate *g)
{
	*g = (struct gate){0};
	lock_init(&g->mu, LOCK_RANK_LEAF);
	cond_init(&g->cv);
}

static void gate_fini(struct gate *g)
{
	cond_fini(&g->cv);
	lock_fini(&g->mu);
}

static void gate_pass(void *arg)
{
	struct gate *g = arg;

	LOCK_GUARD(&g->mu);
	g->reached = true;
	cond_broadcast(&g->cv);
	while (!g->open)
		cond_wait(&g->cv, &g->mu);
}

static void gate_wait_reached(struct gate *g)
{
	LOCK_GUARD(&g->mu);
	while (!g->reached)
		cond_wait(&g->cv, &g->mu);
}

static void gate_open(struct gate *g)
{
	LOCK_GUARD(&g->mu);
	g->open = true;
	cond_broadcast(&g->cv);
}

struct asker {
	struct blob_world *w;
	struct source *s;
	struct cancel *cancel;
	uint64_t deadline_ns;
	int result;
	pthread_t thread;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	const struct blob_source source = {.produce = source_produce, .arg = a->s};

	a->result = blob_fetch(a->w->bs, &a->s->content->oid, &source, a->cancel, a->deadline_ns);
	return NULL;
}

static void asker_start(struct asker *a, struct blob_world *w, struct source *s)
{
	a->w = w;
	a->s = s;
	if (!a->deadline_ns)
		a->deadline_ns = NS_NEVER;
	assert_int_equal(pthread_create(&a->thread, NULL, ask, a), 0);
}

static int asker_join(struct asker *a)
{
	assert_int_equal(pthread_join(a->thread, NULL), 0);
	return a->result;
}

static void wait_joined(struct blob_world *w, uint64_t count)
{
	struct blob_stats stats;

	do {
		(void)usleep(1000);
		blob_stats(w->bs, &stats);
	} while (stats.joined < count);
}

static void test_sixteen_ask_one_is_fetched(void **state)
{
	static const size_t sizes[] = {5000, 300000};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct content c = content_make(i, sizes[i]);
		struct source s = {.content = &c, .hook = gate_pass};
		struct asker asker[THREADS] = {0};
		struct blob_world w;
		struct gate gate;

		blob_world_init(&w, MIB, 64 * MIB);
		gate_init(&gate);
		s.hook_arg = &gate;
		for (unsigned t = 0; t < THREADS; t++)
			asker_start(&asker[t], &w, &s);
		wait_joined(&w, THREADS - 1);
		gate_open(&gate);
		for (unsigned t = 0; t < THREADS; t++)
			assert_int_equal(asker_join(&asker[t]), 0);
		assert_int_equal(s.calls, 1);
		assert_int_equal(world_read(&w, i, sizes[i]), sizes[i]);
		gate_fini(&gate);
		blob_world_fini(&w);
		content_free(&c);
	}
}

static void test_all_get_the_one_failure(void **state)
{
	struct content c = content_make(1, 5000);
	struct source s = {.content = &c, .hook = gate_pass, .flip = true};
	struct asker asker[4] = {0};
	struct blob_world w;
	struct gate gate;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	gate_init(&gate);
	s.hook_arg = &gate;
	for (unsigned t = 0; t < 4; t++)
		asker_start(&asker[t], &w, &s);
	wait_joined(&w, 3);
	gate_open(&gate);
	for (unsigned t = 0; t < 4; t++)
		assert_int_equal(asker_join(&asker[t]), -EBADMSG);
	assert_int_equal(s.calls, 1);
	gate_fini(&gate);
	blob_world_fini(&w);
	content_free(&c);
}

static void test_a_waiter_has_its_own_deadline_and_token(void **state)
{
	struct content c = content_make(1, 5000);
	struct source s = {.content = &c, .hook = gate_pass};
	struct asker leader = {0}, hasty = {0}, cancelled = {0}, patient = {0};
	struct blob_world w;
	struct gate gate;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	gate_init(&gate);
	s.hook_arg = &gate;
	cancelled.cancel = cancel_new();
	hasty.deadline_ns = clock_after(&clock_system, 20 * NS_PER_MS);
	asker_start(&leader, &w, &s);
	gate_wait_reached(&gate);
	asker_start(&hasty, &w, &s);
	asker_start(&cancelled, &w, &s);
	asker_start(&patient, &w, &s);
	assert_int_equal(asker_join(&hasty), -ETIMEDOUT);
	wait_joined(&w, 3);
	cancel_fire(cancelled.cancel);
	assert_int_equal(asker_join(&cancelled), -ECANCELED);
	gate_open(&gate);
	assert_int_equal(asker_join(&leader), 0);
	assert_int_equal(asker_join(&patient), 0);
	assert_int_equal(s.calls, 1);
	cancel_unref(cancelled.cancel);
	gate_fini(&gate);
	blob_world_fini(&w);
	content_free(&c);
}

/* The first call gives up as one that was cancelled does; later ones deliver. */
struct fickle {
	struct source good;
	struct gate *gate;
	_Atomic unsigned calls;
};

static int produce_fickly(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fickle *f = arg;

	if (f->calls++ > 0)
		return source_produce(&f->good, oid, sink, cancel, deadline_ns);
	gate_pass(f->gate);
	return -ECANCELED;
}

static void *ask_fickle(void *arg)
{
	struct asker *a = arg;
	struct fickle *f = container_of(a->s, struct fickle, good);
	const struct blob_source source = {.produce = produce_fickly, .arg = f};

	a->result = blob_fetch(a->w->bs, &a->s->content->oid, &source, NULL, NS_NEVER);
	return NULL;
}

static void test_a_cancelled_leader_does_not_fail_the_waiters(void **state)
{
	struct content c = content_make(1, 5000);
	struct gate gate;
	struct fickle f = {.good = {.content = &c}, .gate = &gate};
	struct asker asker[3] = {0};
	unsigned cancelled = 0;
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	gate_init(&gate);
	for (unsigned t = 0; t < 3; t++) {
		asker[t] = (struct asker){.w = &w, .s = &f.good};
		assert_int_equal(pthread_create(&asker[t].thread, NULL, ask_fickle, &asker[t]), 0);
	}
	wait_joined(&w, 2);
	gate_open(&gate);
	for (unsigned t = 0; t < 3; t++) {
		int r = asker_join(&asker[t]);

		assert_true(r == 0 || r == -ECANCELED);
		cancelled += r == -ECANCELED;
	}
	assert_int_equal(cancelled, 1);
	assert_int_equal(f.good.calls, 1);
	gate_fini(&gate);
	blob_world_fini(&w);
	content_free(&c);
}

/* Readers, fetchers, pinners and eviction at once, over more than the budget holds. Every byte that
 * is read must be right. */
struct crowd {
	struct blob_world *w;
	struct content *content;
	unsigned count, seed;
	pthread_t thread;
};

static void *crowd_run(void *arg)
{
	struct crowd *crowd = arg;
	uint8_t *buf = malloc(200000);
	unsigned x = crowd->seed;

	for (unsigned i = 0; i < 250; i++) {
		struct content *c =
			&crowd->content[(x = x * 1103515245u + 12345u, x >> 16) % crowd->count];
		struct source s = {.content = c};
		struct blob_pin pin;
		ssize_t n = blob_read(crowd->w->bs, &c->oid, buf, 200000, 0);

		if (n == -EAGAIN) {
			int r = world_fetch(crowd->w, &s);

			assert_true(r == 0 || r == -ENOSPC);
			continue;
		}
		assert_int_equal(n, c->size);
		assert_memory_equal(buf, c->data, c->size);
		if (i % 4 == 0 && blob_pin(crowd->w->bs, &c->oid, &pin) == 0) {
			assert_int_equal(pread(pin.fd, buf, pin.size, (off_t)pin.offset), c->size);
			assert_memory_equal(buf, c->data, c->size);
			blob_unpin(crowd->w->bs, &pin);
		}
	}
	free(buf);
	return NULL;
}

static void test_a_crowd_over_the_budget(void **state)
{
	struct crowd crowd[4];
	struct content content[120];
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB / 4, 2 * MIB);
	for (unsigned i = 0; i < 120; i++)
		content[i] = content_make(i, i % 4 ? 20000 + i * 100 : 70000 + i * 500);
	for (unsigned t = 0; t < 4; t++) {
		crowd[t] = (struct crowd){.w = &w, .content = content, .count = 120, .seed = t};
		assert_int_equal(pthread_create(&crowd[t].thread, NULL, crowd_run, &crowd[t]), 0);
	}
	for (unsigned t = 0; t < 4; t++)
		assert_int_equal(pthread_join(crowd[t].thread, NULL), 0);
	assert_true(world_disk(&w).bytes <= 2 * MIB);
	assert_true(world_disk(&w).evictions > 0);
	assert_int_equal(world_disk(&w).errors, 0);
	assert_int_equal(world_disk(&w).pinned, 0);
	blob_world_fini(&w);
	for (unsigned i = 0; i < 120; i++)
		content_free(&content[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sixteen_ask_one_is_fetched),
		cmocka_unit_test(test_all_get_the_one_failure),
		cmocka_unit_test(test_a_waiter_has_its_own_deadline_and_token),
		cmocka_unit_test(test_a_cancelled_leader_does_not_fail_the_waiters),
		cmocka_unit_test(test_a_crowd_over_the_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
