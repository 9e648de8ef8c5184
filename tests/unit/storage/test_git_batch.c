/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for objects that arrive together become one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/lock.h"
#include "origin/git_batch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define CALLERS 8

/* A server that holds back its answers until it is opened, and lacks ids whose second byte is 1. */
struct world {
	struct lock lock;
	struct cond changed;
	bool open;
	int fail; /* every fetch */
	unsigned fetches, waiting;
	size_t asked;
	struct gitbatch *b;
};

static struct oid id(unsigned i, bool absent)
{
	struct oid oid = {.len = 20};

	oid.bytes[0] = (uint8_t)i;
	oid.bytes[1] = absent;
	oid.bytes[19] = (uint8_t)(i >> 8);
	return oid;
}

static int fetch(void *arg, const struct oid *oids, size_t count)
{
	struct world *w = arg;
	int r = 0;

	lock_acquire(&w->lock);
	w->fetches++;
	w->asked += count;
	w->waiting++;
	cond_broadcast(&w->changed);
	while (!w->open)
		cond_wait(&w->changed, &w->lock);
	w->waiting--;
	for (size_t i = 0; i < count; i++)
		if (oids[i].bytes[1])
			r = -ENXIO;
	if (w->fail)
		r = w->fail;
	lock_release(&w->lock);
	return r;
}

static bool here(void *arg, const struct oid *oid)
{
	(void)arg;
	return !oid->bytes[1];
}

static void world_init_with(struct world *w, bool open, gitbatch_here_fn witness)
{
	const struct gitbatch_config config = {
		.fetch = fetch, .here = witness, .arg = w, .threads = 1, .window_ns = NS_PER_MS};

	*w = (struct world){.open = open};
	lock_init(&w->lock, LOCK_RANK_LEAF);
	cond_init(&w->changed);
	assert_int_equal(gitbatch_new(&w->b, &config), 0);
}

static void world_init(struct world *w, bool open)
{
	world_init_with(w, open, here);
}

static void world_open(struct world *w)
{
	LOCK_GUARD(&w->lock);
	w->open = true;
	cond_broadcast(&w->changed);
}

static void world_fini(struct world *w)
{
	world_open(w);
	gitbatch_free(w->b);
	cond_fini(&w->changed);
	lock_fini(&w->lock);
}

static void wait_for_fetch(struct world *w)
{
	LOCK_GUARD(&w->lock);
	while (!w->waiting)
		cond_wait(&w->changed, &w->lock);
}

struct call {
	struct world *w;
	struct oid oids[4];
	size_t count;
	int result;
};

static void *caller(void *arg)
{
	struct call *c = arg;

	c->result = gitbatch_get(
		c->w->b, c->oids, c->count, NULL, clock_after(&clock_system, 20 * NS_PER_S));
	return NULL;
}

static void test_all_who_ask_meanwhile_share_the_next_fetch(void **state)
{
	struct call calls[CALLERS];
	pthread_t threads[CALLERS];
	struct world w;

	(void)state;
	world_init(&w, false);
	for (unsigned i = 0; i < CALLERS; i++) {
		/* one each, and one that all want */
		calls[i] = (struct call){
			.w = &w, .oids = {id(i + 1, false), id(100, false)}, .count = i ? 2 : 1};
		assert_int_equal(pthread_create(&threads[i], NULL, caller, &calls[i]), 0);
		if (i == 0)
			wait_for_fetch(&w); /* the first is on its way; the others come too late */
	}
	/* no event says that they all wait; on a busy machine some come later, and fetch again */
	(void)cancel_sleep_until(NULL, clock_after(&clock_system, 50 * NS_PER_MS));
	world_open(&w);
	for (unsigned i = 0; i < CALLERS; i++) {
		(void)pthread_join(threads[i], NULL);
		assert_int_equal(calls[i].result, 0);
	}
	assert_in_range(w.fetches, 2, CALLERS);
	assert_true(w.asked >= CALLERS + 1);
	world_fini(&w);
}

static void test_only_what_is_absent_fails(void **state)
{
	struct oid oids[40];
	struct world w;

	(void)state;
	world_init(&w, true);
	for (unsigned i = 0; i < 40; i++)
		oids[i] = id(i, i == 17);
	assert_int_equal(gitbatch_get(w.b, oids, 40, NULL, NS_NEVER), -EIO);
	assert_in_range(w.fetches, 2, 13); /* halved, not one by one */
	assert_int_equal(gitbatch_get(w.b, oids, 17, NULL, NS_NEVER), 0);
	assert_int_equal(gitbatch_get(w.b, oids + 17, 1, NULL, NS_NEVER), -EIO);
	world_fini(&w);
}

static void test_without_a_witness_the_fetch_is_believed(void **state)
{
	struct oid oids[3] = {id(1, false), id(2, true), id(3, false)};
	struct world w;

	(void)state;
	world_init_with(&w, true, NULL);
	assert_int_equal(gitbatch_get(w.b, oids, 1, NULL, NS_NEVER), 0);
	assert_int_equal(gitbatch_get(w.b, oids, 3, NULL, NS_NEVER), -EIO);
	assert_int_equal(gitbatch_get(w.b, oids + 1, 1, NULL, NS_NEVER), -EIO);
	assert_int_equal(gitbatch_get(w.b, oids + 2, 1, NULL, NS_NEVER), 0);
	world_fini(&w);
}

static void test_halving_is_bounded(void **state)
{
	struct oid oids[1000];
	struct world w;

	(void)state;
	world_init(&w, true);
	for (unsigned i = 0; i < 1000; i++)
		oids[i] = id(i, true);
	assert_int_equal(gitbatch_get(w.b, oids, 1000, NULL, NS_NEVER), -EIO);
	assert_in_range(w.fetches, 2, 129);
	world_fini(&w);
}

static void test_a_failure_is_everybodys(void **state)
{
	struct oid oids[3] = {id(1, false), id(2, false), id(3, false)};
	struct world w;

	(void)state;
	world_init(&w, true);
	w.fail = -EHOSTUNREACH;
	assert_int_equal(gitbatch_get(w.b, oids, 3, NULL, NS_NEVER), -EHOSTUNREACH);
	assert_int_equal(w.fetches, 1);
	w.fail = 0;
	assert_int_equal(gitbatch_get(w.b, oids, 3, NULL, NS_NEVER), 0); /* it is not remembered */
	world_fini(&w);
}

static void test_who_has_no_time_goes(void **state)
{
	struct cancel *cancel = cancel_new();
	struct oid oid = id(1, false);
	struct call patient;
	struct world w;
	pthread_t thread;

	(void)state;
	world_init(&w, false);
	patient = (struct call){.w = &w, .oids = {oid}, .count = 1};
	assert_int_equal(pthread_create(&thread, NULL, caller, &patient), 0);
	wait_for_fetch(&w);
	assert_int_equal(gitbatch_get(w.b, &oid, 1, NULL, clock_after(&clock_system, NS_PER_MS)),
		-ETIMEDOUT);
	cancel_fire(cancel);
	assert_int_equal(gitbatch_get(w.b, &oid, 1, cancel, NS_NEVER), -ECANCELED);
	world_open(&w);
	(void)pthread_join(thread, NULL);
	assert_int_equal(patient.result, 0); /* who has time is not disturbed */
	assert_int_equal(w.fetches, 1);
	cancel_unref(cancel);
	world_fini(&w);
}

static void test_nothing_is_at_once(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, false);
	assert_int_equal(gitbatch_get(w.b, NULL, 0, NULL, NS_NEVER), 0);
	assert_int_equal(w.fetches, 0);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_who_ask_meanwhile_share_the_next_fetch),
		cmocka_unit_test(test_only_what_is_absent_fails),
		cmocka_unit_test(test_without_a_witness_the_fetch_is_believed),
		cmocka_unit_test(test_halving_is_bounded),
		cmocka_unit_test(test_a_failure_is_everybodys),
		cmocka_unit_test(test_who_has_no_time_goes),
		cmocka_unit_test(test_nothing_is_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
