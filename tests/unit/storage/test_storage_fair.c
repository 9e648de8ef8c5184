/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: nobody waits for another's queue, bytes are paid for, bounds hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage_fair.h"

#include <errno.h>
#include <stdlib.h>

#define ITEMS 4096

struct fixture {
	struct fair_queue q;
	struct fair_item items[ITEMS];
	unsigned used;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fair_init(&f->q, 1000, 4);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fair_fini(&f->q);
	free(f);
	return 0;
}

static int push(struct fixture *f, unsigned flow)
{
	struct fair_item *item = &f->items[f->used];
	int r;

	list_init(&item->node);
	r = fair_push(&f->q, flow, item);
	if (r == 0)
		f->used++;
	return r;
}

/* The flow that is served, or -1. */
static int serve(struct fixture *f, uint64_t bytes)
{
	struct fair_item *item = fair_pop(&f->q);

	if (!item)
		return -1;
	fair_done(&f->q, item->flow, bytes);
	return (int)item->flow;
}

static void test_late_comer_is_next(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(push(f, 1), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(serve(f, 100), 1);
	assert_int_equal(push(f, 2), 0);
	if (serve(f, 0) != 2) /* it was the other's turn already */
		assert_int_equal(serve(f, 0), 2);
}

static void test_turns_are_by_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t moved[3] = {0}, bytes[3] = {0, 4 << 20, 16 << 10};
	unsigned turns[3] = {0};

	for (unsigned i = 0; i < 400; i++) {
		assert_int_equal(push(f, 1), 0);
		assert_int_equal(push(f, 2), 0);
	}
	while (f->q.flow[2]->queued) {
		struct fair_item *item = fair_pop(&f->q);

		turns[item->flow]++;
		moved[item->flow] += bytes[item->flow];
		fair_done(&f->q, item->flow, bytes[item->flow]);
	}
	assert_int_equal(turns[2], 400);
	/* flow 1 moves about as many bytes as flow 2, requests included: 400 × 32 KiB */
	assert_in_range(moved[1], 8 << 20, 20 << 20);
}

static void test_one_flow_does_not_take_all_threads(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(push(f, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(fair_pop(&f->q));
	assert_null(fair_pop(&f->q));
	assert_int_equal(push(f, 2), 0);
	assert_int_equal(fair_pop(&f->q)->flow, 2);
	fair_done(&f->q, 1, 0);
	assert_int_equal(fair_pop(&f->q)->flow, 1);
	assert_null(fair_pop(&f->q));
}

static void test_full(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 750; i++)
		assert_int_equal(push(f, 1), 0);
	assert_int_equal(push(f, 1), -EAGAIN); /* a quarter is left for others */
	for (unsigned i = 0; i < 250; i++)
		assert_int_equal(push(f, 2), 0);
	assert_int_equal(push(f, 2), -EAGAIN);
	assert_int_equal(push(f, 3), -EAGAIN);
	assert_true(serve(f, 0) > 0);
	assert_int_equal(push(f, 3), 0);
}

static void test_taken_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(push(f, 1), 0);
	fair_take_back(&f->q, &f->items[0]);
	assert_int_equal(f->q.queued, 0);
	assert_null(fair_pop(&f->q));
	assert_int_equal(push(f, 1), 0);
	assert_int_equal(serve(f, 0), 1);
}

/* What one moved while nobody else wanted anything is not held against it for ever. */
static void test_debts_are_forgiven(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(push(f, 1), 0);
	assert_int_equal(serve(f, UINT64_MAX), 1);
	assert_int_equal(push(f, 1), 0);
	assert_int_equal(push(f, 2), 0);
	assert_int_equal(serve(f, 0), 1);
	assert_int_equal(serve(f, 0), 2);
}

/* Random pushes and turns: everything comes out once, in order within its flow, sums right. */
static void test_nothing_is_lost(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 7, out = 0, last[8] = {0};

	while (out < ITEMS) {
		struct fair_item *item;
		unsigned flow = (unsigned)rand_r(&seed) % 8;

		if (f->used < ITEMS && rand_r(&seed) % 3)
			(void)push(f, flow);
		else if ((item = fair_pop(&f->q))) {
			unsigned index = (unsigned)(item - f->items);

			assert_true(!last[item->flow] || index > last[item->flow]);
			last[item->flow] = index;
			fair_done(&f->q, item->flow, (uint64_t)rand_r(&seed) % 1000000);
			out++;
		}
		assert_int_equal(f->q.queued, f->used - out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_late_comer_is_next, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns_are_by_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_one_flow_does_not_take_all_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_debts_are_forgiven, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
