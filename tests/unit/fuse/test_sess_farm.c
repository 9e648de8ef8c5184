/* SPDX-License-Identifier: Apache-2.0 */
/* The farm without any mount: built and taken down, with every allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fuse/session.h"

#include <alloc_fault.h>
#include <base/buf.h>
#include <base/err.h>
#include <base/metrics.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_new_and_free(void **state)
{
	struct sess_mounter *m = sess_mounter_local_new();
	struct sess_farm_config config = {.mounter = m, .workers = 3, .spin = true};
	struct sess_farm *farm;
	struct err e = {0};

	(void)state;
	assert_non_null(m);
	assert_string_equal(m->name, "local");
	assert_int_equal(sess_farm_new(&farm, &config, &e), 0);
	assert_int_equal(sess_sweep_mounts(farm, "/nonexistent"), 0);
	assert_null(sess_farm_free(farm));
	assert_null(sess_farm_free(NULL));
	assert_null(sess_mounter_free(m));
	assert_null(sess_mounter_free(NULL));
}

static void test_metrics_are_registered_once_and_the_gauge_goes(void **state)
{
	struct sess_mounter *m = sess_mounter_local_new();
	struct metrics *metrics = metrics_new();
	struct sess_farm_config config = {.mounter = m, .workers = 1, .metrics = metrics};
	struct buf out = {0};
	struct sess_farm *farm;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sess_farm_new(&farm, &config, NULL), 0);
		farm = sess_farm_free(farm);
	}
	buf_init(&out, 1 << 20);
	metrics_render(metrics, &out);
	assert_non_null(strstr(buf_cstr(&out), "coppice_fuse_requests_total{op=\"LOOKUP\"} 0"));
	assert_null(strstr(buf_cstr(&out), "coppice_fuse_parked{"));
	buf_fini(&out);
	assert_null(metrics_free(metrics));
	assert_null(sess_mounter_free(m));
}

static void test_every_allocation_may_fail(void **state)
{
	struct sess_mounter *m = sess_mounter_local_new();
	struct metrics *metrics = metrics_new();
	struct sess_farm_config config = {.mounter = m, .workers = 1, .metrics = metrics};
	struct sess_farm *first;
	bool failed = true;

	(void)state;
	/* The metrics are there already: their own failures are tested in base. */
	assert_int_equal(sess_farm_new(&first, &config, NULL), 0);
	assert_null(sess_farm_free(first));
	for (unsigned n = 0; failed; n++) {
		struct sess_farm *farm = NULL;
		int r;

		alloc_fault_arm(n);
		r = sess_farm_new(&farm, &config, NULL);
		failed = alloc_fault_disarm();
		if (r < 0)
			assert_int_equal(r, -ENOMEM);
		else
			assert_null(sess_farm_free(farm));
		assert_true(n < 1000);
	}
	assert_null(metrics_free(metrics));
	assert_null(sess_mounter_free(m));
}

static void test_session_with_wrong_names(void **state)
{
	struct sess_mounter *m = sess_mounter_local_new();
	struct sess_farm_config config = {.mounter = m, .workers = 1};
	struct sess_config session = {.tenant = "../a", .mountpoint = "/x", .state_dir = "/x"};
	struct sess_farm *farm;
	struct session *s;
	struct err e = {0};

	(void)state;
	assert_int_equal(sess_farm_new(&farm, &config, NULL), 0);
	assert_int_equal(sess_open(farm, &s, &session, &e), -EINVAL);
	assert_string_equal(e.field, "tenant");
	session.tenant = "a";
	session.mountpoint = "relative";
	assert_int_equal(sess_open(farm, &s, &session, &e), -EINVAL);
	assert_string_equal(e.field, "mountpoint");
	session.mountpoint = session.state_dir = "/proc/no/such";
	assert_true(sess_open(farm, &s, &session, &e) < 0);
	assert_null(sess_close(NULL));
	assert_null(sess_farm_free(farm));
	assert_null(sess_mounter_free(m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_and_free),
		cmocka_unit_test(test_metrics_are_registered_once_and_the_gauge_goes),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_session_with_wrong_names),
	};

	return cmocka_run_group_tests_name("farm", tests, NULL, NULL);
}
