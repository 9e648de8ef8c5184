/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of an overlay count its nodes, follow FORGET and go with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "fuse/overlay.h"

#include <string.h>

static bool has(struct metrics *m, const char *line)
{
	struct buf text;
	bool found;

	buf_init(&text, 65536);
	metrics_render(m, &text);
	assert_int_equal(buf_error(&text), 0);
	found = strstr(buf_cstr(&text), line) != NULL;
	buf_fini(&text);
	return found;
}

static void test_metrics_come_and_go_with_the_overlay(void **state)
{
	struct metrics *m = metrics_new();
	struct overlay *a, *b;

	(void)state;
	assert_non_null(m);
	assert_int_equal(
		ovl_new(&a,
			&(struct ovl_config){.tenant = "a", .clock = &clock_system, .metrics = m}),
		0);
	assert_int_equal(
		ovl_new(&b,
			&(struct ovl_config){.tenant = "b", .clock = &clock_system, .metrics = m}),
		0);
	assert_true(has(m, "coppice_overlay_nodes{overlay=\"a\"} 0\n"));
	assert_true(has(m, "coppice_overlay_journal_bytes{overlay=\"b\"} 0\n"));
	assert_true(has(m, "coppice_overlay_journal_compactions_total{overlay=\"b\"} 0\n"));
	ovl_free(a);
	assert_false(has(m, "overlay=\"a\""));
	assert_true(has(m, "coppice_overlay_nodes{overlay=\"b\"} 0\n"));
	ovl_free(b);
	metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics_come_and_go_with_the_overlay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
