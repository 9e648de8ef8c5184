/* SPDX-License-Identifier: Apache-2.0 */
/* Making trees and contents local ahead of use: all of it, parts of it, and as far as limits go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "storage/warm.h"
#include "storage_world.h"

#include <limits.h>
#include <stdlib.h>

static struct repository repo;

static int setup_group(void **state)
{
	(void)state;
	repository_init(&repo);
	return 0;
}

static int teardown_group(void **state)
{
	(void)state;
	git_fixture_fini(&repo.git);
	return 0;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_init(w, &repo);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_fini(*state);
	free(*state);
	return 0;
}

static struct warm_plan plan_of(struct world *w)
{
	return (struct warm_plan){
		.origin = w->origin, .root = w->rev.root, .depth = UINT_MAX, .contents = true};
}

static bool is_local(struct world *w, const char *what)
{
	struct oid oid = world_oid(w, what);

	return blob_is_local(storage_blob_store(w->st), &oid);
}

static bool has_tree(struct world *w, const char *what)
{
	struct oid oid = world_oid(w, what);
	struct tree_view view;
	int r = storage_tree_view(w->st, &oid, &view);

	if (r == 0)
		tree_view_end(&view);
	return r == 0;
}

/* root, bin, src, src/deep, src/deep/er; README, tool, file.c, empty, link */
static void test_everything(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	for (unsigned again = 0; again < 2; again++) {
		assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
		assert_true(p.indexed);
		assert_false(p.stopped);
		assert_int_equal(p.directories, 5);
		assert_int_equal(p.directories_found, 5);
		assert_int_equal(p.blobs, 5);
		assert_int_equal(p.blobs_found, 5);
		assert_int_equal(p.bytes, 8 + 10 + 7 + 0 + 7);
		assert_int_equal(p.bytes_found, p.bytes);
		assert_int_equal(p.failed, 0);
		assert_int_equal(w->plan.calls, 10);
	}
	assert_true(is_local(w, "main:src/deep/er/file.c"));
	assert_true(is_local(w, "main:src/link"));
}

static void test_directories_only(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	plan.contents = false;
	plan.depth = 2;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_int_equal(p.directories, 4);
	assert_int_equal(p.blobs, 0);
	assert_int_equal(p.blobs_found, 4);
	assert_true(has_tree(w, "main:src/deep"));
	assert_false(has_tree(w, "main:src/deep/er"));
	assert_false(is_local(w, "main:README"));
}

static bool only_deep(void *arg, const char *path, bool directory)
{
	(void)arg;
	return directory ? strcmp(path, "src") == 0 || strcmp(path, "src/deep") == 0
			 : strcmp(path, "src/deep/empty") == 0 || strcmp(path, "README") == 0;
}

static void test_only_what_is_wanted(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	plan.wanted = only_deep;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_int_equal(p.directories, 3);
	assert_int_equal(p.blobs, 2);
	assert_true(is_local(w, "main:README"));
	assert_true(is_local(w, "main:src/deep/empty"));
	assert_false(is_local(w, "main:bin/tool"));
	assert_false(has_tree(w, "main:bin"));
}

static void test_limits(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	plan.bytes_max = 18; /* README, tool, and one that is empty */
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_true(p.stopped);
	assert_int_equal(p.blobs, 3);
	assert_int_equal(p.bytes, 18);
	plan.bytes_max = 0;
	plan.blobs_max = 1; /* what is local already costs nothing */
	plan.hurry = true;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_true(p.stopped);
	assert_false(p.indexed);
	assert_int_equal(p.blobs, 4);
}

/* A walk that was stopped goes on from where it says, and comes to each content once. */
static void count_passed(void *arg, const struct oid *blob)
{
	(void)blob;
	++*(unsigned *)arg;
}

static void test_it_goes_on_where_it_was_stopped(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p = {.stopped = true};
	struct warm_rest rest, next;
	unsigned passed = 0, walks = 0;

	plan.hurry = true;
	plan.blobs_max = 1;
	plan.directories_max = 1;
	plan.passed = count_passed;
	plan.arg = &passed;
	plan.ret_rest = &next;
	rest = (struct warm_rest){.place[0] = {plan.root, 0}, .count = 1};
	for (unsigned i = 0; i < rest.count && walks < 30; walks++) {
		plan.root = rest.place[i].dir;
		plan.first = rest.place[i].idx;
		assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
		assert_true(p.blobs_asked <= 1 && p.directories_asked <= 1);
		i++;
		while (i < rest.count)
			next.place[next.count++] = rest.place[i++];
		rest = next;
		i = 0;
	}
	assert_int_equal(passed, 5);
	assert_int_equal(rest.count, 0);
	assert_true(is_local(w, "main:src/deep/er/file.c"));
	assert_in_range(walks, 5, 29);
}

static void test_from_an_entry_on(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	plan.first = 2; /* after README and bin */
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_false(is_local(w, "main:README"));
	assert_false(is_local(w, "main:bin/tool"));
	assert_true(is_local(w, "main:src/deep/er/file.c"));
	assert_int_equal(p.blobs, 3);
}

static void test_failures_are_counted(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;

	w->plan.blob_error = -EHOSTUNREACH;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), -EHOSTUNREACH);
	assert_int_equal(p.failed, 5);
	assert_int_equal(p.blobs, 0);
	assert_int_equal(p.directories, 5);
	w->plan.blob_error = 0;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	w->plan.tree_error = -EIO;
	plan.root.bytes[0] ^= 1;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), -EIO);
	assert_int_equal(p.failed, 1);
}

static void test_time_and_cancellation(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct cancel *cancel = cancel_new();
	struct warm_progress p;

	w->plan.hang = true;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(100), &p), -ETIMEDOUT);
	cancel_fire(cancel);
	assert_int_equal(storage_warm(w->st, &plan, cancel, in_ms(10000), &p), -ECANCELED);
	cancel_unref(cancel);
	/* what is still under way ends with the storage */
}

static void note_report(void *arg, const struct warm_progress *p)
{
	unsigned *reports = arg;

	assert_true(p->directories <= 5);
	++*reports;
}

static void test_reports(void **state)
{
	struct world *w = *state;
	struct warm_plan plan = plan_of(w);
	struct warm_progress p;
	unsigned reports = 0;

	plan.report = note_report;
	plan.arg = &reports;
	w->plan.delay_ns = 60 * NS_PER_MS;
	assert_int_equal(storage_warm(w->st, &plan, NULL, in_ms(10000), &p), 0);
	assert_in_range(reports, 1, 50);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_everything),
		T(test_directories_only),
		T(test_only_what_is_wanted),
		T(test_limits),
		T(test_it_goes_on_where_it_was_stopped),
		T(test_from_an_entry_on),
		T(test_failures_are_counted),
		T(test_time_and_cancellation),
		T(test_reports),
	};
#undef T

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
