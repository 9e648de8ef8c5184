/* SPDX-License-Identifier: Apache-2.0 */
/* What is degraded begins once, ends once, and not while it comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/metrics.h"

#include <stdio.h>
#include <string.h>

struct fixture {
	struct clock_virtual clock;
	struct metrics *metrics;
	struct health *h;
	unsigned begun, ended;
	char last[64];
};

static void note(void *arg, const struct health_condition *c, bool degraded)
{
	struct fixture *f = arg;

	*(degraded ? &f->begun : &f->ended) += 1;
	(void)snprintf(f->last, sizeof(f->last), "%s", c->component);
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){0};
	clock_virtual_init(&f.clock, 1000 * NS_PER_S, 5000 * NS_PER_S);
	f.metrics = metrics_new();
	f.h = health_new(&f.clock.clock, f.metrics);
	assert_non_null(f.h);
	health_watch(f.h, note, &f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	health_free(f->h);
	metrics_free(f->metrics);
	return 0;
}

static void test_begins_and_ends_once(void **state)
{
	struct fixture *f = *state;
	struct health_condition c[4];

	for (unsigned i = 0; i < 5; i++)
		health_bad(f->h, "disk cache", "it is full", "make room");
	assert_int_equal(f->begun, 1);
	assert_int_equal(health_list(f->h, c, 4), 1);
	assert_string_equal(c[0].component, "disk cache");
	assert_string_equal(c[0].reason, "it is full");
	assert_string_equal(c[0].advice, "make room");
	assert_int_equal(c[0].since_wall_ns, 5000 * NS_PER_S);
	clock_virtual_advance(&f->clock, 10 * NS_PER_S);
	health_good(f->h, "origin demo"); /* another */
	assert_int_equal(f->ended, 0);
	for (unsigned i = 0; i < 5; i++)
		health_good(f->h, "disk cache");
	assert_int_equal(f->ended, 1);
	assert_string_equal(f->last, "disk cache");
	assert_int_equal(health_list(f->h, c, 4), 0);
	health_bad(f->h, "disk cache", "it is read-only", "");
	assert_int_equal(f->begun, 2);
	assert_int_equal(health_list(f->h, c, 4), 1);
	assert_string_equal(c[0].reason, "it is read-only");
}

static void test_what_comes_and_goes_stays(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 20; i++) {
		health_bad(f->h, "x", "", "");
		clock_virtual_advance(&f->clock, NS_PER_S);
		health_good(f->h, "x");
	}
	assert_int_equal(f->begun, 1);
	assert_int_equal(f->ended, 0);
	clock_virtual_advance(&f->clock, 3 * NS_PER_S);
	health_good(f->h, "x");
	assert_int_equal(f->ended, 1);
}

static void test_over_at_once(void **state)
{
	struct fixture *f = *state;

	health_bad(f->h, "redis", "", "");
	health_good(f->h, "redis"); /* too early */
	assert_int_equal(f->ended, 0);
	health_over(f->h, "redis");
	assert_int_equal(f->ended, 1);
	health_over(f->h, "redis");
	assert_int_equal(f->ended, 1);
}

static void test_metric(void **state)
{
	struct fixture *f = *state;
	struct buf out;

	buf_init(&out, 1 << 16);
	health_bad(f->h, "origin a", "", "");
	metrics_render(f->metrics, &out);
	assert_non_null(strstr(buf_cstr(&out), "coppice_degraded{component=\"origin a\"} 1"));
	buf_fini(&out);
}

static void test_bounds(void **state)
{
	struct fixture *f = *state;
	struct health_condition c[HEALTH_MAX];
	char name[100];

	for (unsigned i = 0; i < 2 * HEALTH_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		health_bad(f->h, name, "", "");
	}
	assert_int_equal(health_list(f->h, c, HEALTH_MAX), HEALTH_MAX);
	assert_int_equal(health_list(f->h, c, 3), 3);
	health_bad(NULL, "x", "", "");
	health_good(NULL, "x");
	assert_int_equal(health_list(NULL, c, 3), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_begins_and_ends_once),
		T(test_what_comes_and_goes_stays),
		T(test_over_at_once),
		T(test_metric),
		T(test_bounds),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
