/* SPDX-License-Identifier: Apache-2.0 */
/* base/metrics.h: exact text, quantiles, dropping, and bumping and rendering from many threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/metrics.h"

#define THREADS 4
#define ROUNDS  2000

static uint64_t forty_two(void *arg)
{
	(void)arg;
	return 42;
}

static void text_of_counters_and_gauges(void **state)
{
	struct metrics *m = metrics_new();
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 16);
	counter_add(metrics_counter(m, "x_ops_total", "Operations.", "op=\"write\""), 2);
	gauge_set(metrics_gauge(m, "x_now", "Now.", NULL), -5);
	counter_add(metrics_counter(m, "x_ops_total", "Operations.", "op=\"read\""), 1);
	assert_int_equal(metrics_callback(m, "x_asked_total", "Asked.", "", forty_two, NULL), 0);
	assert_int_equal(metrics_callback(m, "x_size_bytes", "Size.", "", forty_two, NULL), 0);
	metrics_render(m, &out);
	assert_string_equal(buf_cstr(&out), "# HELP x_asked_total Asked.\n"
					    "# TYPE x_asked_total counter\n"
					    "x_asked_total 42\n"
					    "# HELP x_now Now.\n"
					    "# TYPE x_now gauge\n"
					    "x_now -5\n"
					    "# HELP x_ops_total Operations.\n"
					    "# TYPE x_ops_total counter\n"
					    "x_ops_total{op=\"read\"} 1\n"
					    "x_ops_total{op=\"write\"} 2\n"
					    "# HELP x_size_bytes Size.\n"
					    "# TYPE x_size_bytes gauge\n"
					    "x_size_bytes 42\n");
	buf_fini(&out);
	(void)metrics_free(m);
	assert_null(metrics_free(NULL));
}

static void help_is_escaped(void **state)
{
	struct metrics *m = metrics_new();
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 16);
	(void)metrics_counter(m, "a_total", "one\ntwo \\ three", NULL);
	metrics_render(m, &out);
	assert_string_equal(buf_cstr(&out),
		"# HELP a_total one\\ntwo \\\\ three\n# TYPE a_total counter\na_total 0\n");
	buf_fini(&out);
	(void)metrics_free(m);
}

static void same_name_and_labels_is_the_same_metric(void **state)
{
	struct metrics *m = metrics_new();
	struct counter *c = metrics_counter(m, "a_total", "A.", "t=\"1\"");

	(void)state;
	assert_ptr_equal(metrics_counter(m, "a_total", "A.", "t=\"1\""), c);
	assert_ptr_not_equal(metrics_counter(m, "a_total", "A.", "t=\"2\""), c);
	assert_ptr_equal(metrics_gauge(m, "b", "B.", NULL), metrics_gauge(m, "b", "B.", ""));
	assert_int_equal(metrics_callback(m, "c", "C.", NULL, forty_two, NULL), 0);
	assert_int_equal(metrics_callback(m, "c", "C.", NULL, forty_two, NULL), -EEXIST);
	(void)metrics_free(m);
}

static void text_of_a_histogram(void **state)
{
	struct metrics *m = metrics_new();
	struct histogram *h = metrics_histogram(m, "t_seconds", "T.", "op=\"x\"");
	struct buf out;
	const char *text;

	(void)state;
	buf_init(&out, 1 << 16);
	histogram_observe(h, 0);
	histogram_observe(h, 1000);            /* exactly 1 us: in the first bucket */
	histogram_observe(h, 1001);            /* just above: in the second */
	histogram_observe(h, 3 * NS_PER_MS);   /* <= 4.096 ms */
	histogram_observe(h, 3600 * NS_PER_S); /* above all */
	metrics_render(m, &out);
	text = buf_cstr(&out);
	assert_non_null(strstr(text,
		"# TYPE t_seconds histogram\nt_seconds_bucket{op=\"x\",le=\"0.000001\"} 2\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{op=\"x\",le=\"0.000002\"} 3\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{op=\"x\",le=\"0.002048\"} 3\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{op=\"x\",le=\"0.004096\"} 4\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{op=\"x\",le=\"33.554432\"} 4\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{op=\"x\",le=\"+Inf\"} 5\n"));
	assert_non_null(strstr(text, "t_seconds_sum{op=\"x\"} 3600.003002001\n"));
	assert_non_null(strstr(text, "t_seconds_count{op=\"x\"} 5\n"));
	buf_fini(&out);
	(void)metrics_free(m);
}

static void quantiles(void **state)
{
	struct histogram h = {0};

	(void)state;
	assert_int_equal(histogram_quantile(&h, 500), 0);
	for (int i = 0; i < 99; i++)
		histogram_observe(&h, 3 * NS_PER_US); /* bucket of 4 us */
	histogram_observe(&h, NS_PER_MS);             /* bucket of 1024 us */
	assert_int_equal(histogram_quantile(&h, 0), 4 * NS_PER_US);
	assert_int_equal(histogram_quantile(&h, 500), 4 * NS_PER_US);
	assert_int_equal(histogram_quantile(&h, 990), 4 * NS_PER_US);
	assert_int_equal(histogram_quantile(&h, 991), 1024 * NS_PER_US);
	assert_int_equal(histogram_quantile(&h, 1000), 1024 * NS_PER_US);
	histogram_observe(&h, UINT64_MAX);
	assert_int_equal(histogram_quantile(&h, 1000), NS_NEVER);
}

static void drop_takes_whole_labels_only(void **state)
{
	struct metrics *m = metrics_new();
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 16);
	(void)metrics_gauge(m, "g", "G.", "tenant=\"a\"");
	(void)metrics_gauge(m, "g", "G.", "op=\"r\",tenant=\"a\"");
	(void)metrics_gauge(m, "g", "G.", "subtenant=\"a\"");
	(void)metrics_gauge(m, "g", "G.", "tenant=\"ab\"");
	metrics_drop(m, "tenant=\"a\"");
	metrics_drop(m, "");
	metrics_render(m, &out);
	assert_string_equal(buf_cstr(&out),
		"# HELP g G.\n# TYPE g gauge\ng{subtenant=\"a\"} 0\ng{tenant=\"ab\"} 0\n");
	buf_fini(&out);
	(void)metrics_free(m);
}

static uint64_t takes_a_lock(void *arg)
{
	LOCK_GUARD((struct lock *)arg);
	return 7;
}

static void callbacks_may_take_locks_of_any_rank(void **state)
{
	struct metrics *m = metrics_new();
	struct lock l;
	struct buf out;

	(void)state;
	lock_init(&l, LOCK_RANK_DAEMON);
	buf_init(&out, 1 << 16);
	assert_int_equal(metrics_callback(m, "g", "G.", NULL, takes_a_lock, &l), 0);
	metrics_render(m, &out);
	assert_non_null(strstr(buf_cstr(&out), "\ng 7\n"));
	buf_fini(&out);
	lock_fini(&l);
	(void)metrics_free(m);
}

static void no_memory_gives_a_dummy(void **state)
{
	struct metrics *m = metrics_new();
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 16);
	alloc_fault_arm(0);
	assert_null(metrics_new());
	assert_true(alloc_fault_disarm());
	for (unsigned n = 0;; n++) {
		struct counter *c;

		alloc_fault_arm(n);
		c = metrics_counter(m, "a_total", "A.", NULL);
		assert_non_null(c);
		counter_add(c, 1);
		if (!alloc_fault_disarm())
			break;
	}
	metrics_render(m, &out);
	assert_non_null(strstr(buf_cstr(&out), "\na_total 1\n")); /* the dummy took the others */
	buf_clear(&out);
	alloc_fault_arm(0);
	metrics_render(m, &out);
	assert_true(alloc_fault_disarm());
	assert_int_equal(buf_error(&out), -ENOMEM);
	buf_fini(&out);
	(void)metrics_free(m);
}

static void *bump_and_register(void *arg)
{
	struct metrics *m = arg;
	struct histogram *h = metrics_histogram(m, "h_seconds", "H.", NULL);

	for (int i = 0; i < ROUNDS; i++) {
		counter_add(metrics_counter(m, "c_total", "C.", NULL), 1);
		histogram_observe(h, (uint64_t)i);
	}
	return NULL;
}

static void *render_and_drop(void *arg)
{
	for (int i = 0; i < 50; i++) {
		struct buf out;

		buf_init(&out, 1 << 20);
		(void)metrics_gauge(arg, "short_lived", "S.", "tenant=\"gone\"");
		metrics_render(arg, &out);
		metrics_drop(arg, "tenant=\"gone\"");
		buf_fini(&out);
	}
	return NULL;
}

static void threads(void **state)
{
	struct metrics *m = metrics_new();
	pthread_t bumping[THREADS], rendering[2];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&bumping[i], NULL, bump_and_register, m), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&rendering[i], NULL, render_and_drop, m), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(bumping[i], NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(rendering[i], NULL), 0);
	assert_int_equal(counter_get(metrics_counter(m, "c_total", "C.", NULL)), THREADS * ROUNDS);
	(void)metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_counters_and_gauges),
		cmocka_unit_test(help_is_escaped),
		cmocka_unit_test(same_name_and_labels_is_the_same_metric),
		cmocka_unit_test(text_of_a_histogram),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(drop_takes_whole_labels_only),
		cmocka_unit_test(callbacks_may_take_locks_of_any_rank),
		cmocka_unit_test(no_memory_gives_a_dummy),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
