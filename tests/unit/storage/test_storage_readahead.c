/* SPDX-License-Identifier: Apache-2.0 */
/* Readers in order are read ahead of; others are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "base/pool.h"
#include "storage/readahead.h"
#include "storage_internal.h"
#include "storage_world.h"

#include <sched.h>
#include <stdlib.h>

#define DIRS  8
#define FILES 30

/* d0 … d7, each with f00 … f29. */
static struct repository repo;

static int setup_group(void **state)
{
	static char names[DIRS * FILES][16];
	static struct git_file files[DIRS * FILES];

	(void)state;
	for (unsigned i = 0; i < DIRS * FILES; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "d%u/f%02u", i / FILES, i % FILES);
		files[i] = (struct git_file){names[i], 0100644, names[i], 0};
	}
	git_fixture_init(&repo.git);
	git_fixture_commit(&repo.git, "refs/heads/main", files, DIRS * FILES, repo.commit);
	return 0;
}

static int teardown_group(void **state)
{
	(void)state;
	git_fixture_fini(&repo.git);
	return 0;
}

struct fixture {
	struct world w;
	struct readahead *ra;
	struct oid dirs[DIRS];
	struct oid blobs[DIRS][FILES];
};

static void learn(struct fixture *f, unsigned dir)
{
	struct tree_view view;
	struct tree_entry entry;
	uint32_t idx;
	char name[16];

	(void)snprintf(name, sizeof(name), "d%u", dir);
	assert_int_equal(storage_tree_view(f->w.st, &f->w.rev.root, &view), 0);
	assert_true(tree_view_find(&view, name, 2, &idx));
	tree_view_entry(&view, idx, &entry);
	f->dirs[dir] = oid_from_bytes(entry.oid, view.oid_len);
	tree_view_end(&view);
	assert_int_equal(storage_need_tree(f->w.st, f->w.origin, &f->dirs[dir], in_ms(5000)), 0);
	assert_int_equal(storage_tree_view(f->w.st, &f->dirs[dir], &view), 0);
	for (idx = 0; idx < FILES; idx++) {
		tree_view_entry(&view, idx, &entry);
		f->blobs[dir][idx] = oid_from_bytes(entry.oid, view.oid_len);
	}
	tree_view_end(&view);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	world_init(&f->w, &repo);
	assert_int_equal(storage_need_tree(f->w.st, f->w.origin, &f->w.rev.root, in_ms(5000)), 0);
	for (unsigned dir = 0; dir < DIRS; dir++)
		learn(f, dir);
	f->ra = readahead_new(f->w.st, f->w.origin, 0);
	assert_non_null(f->ra);
	f->w.plan.calls = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	readahead_free(f->ra);
	world_fini(&f->w);
	free(f);
	return 0;
}

static bool is_local(struct fixture *f, unsigned dir, uint32_t idx)
{
	return blob_is_local(storage_blob_store(f->w.st), &f->blobs[dir][idx]);
}

/* As a reader does: a hint and a fetch if it is missing. False: it was there. */
static bool read_file(struct fixture *f, unsigned dir, uint32_t idx)
{
	const struct readahead_place places[] = {{f->dirs[dir], idx}, {f->w.rev.root, dir}};
	struct tally t;

	readahead_read(f->ra, &f->blobs[dir][idx]);
	if (is_local(f, dir, idx))
		return false;
	readahead_missed(f->ra, places, 2);
	tally_init(&t);
	assert_int_equal(storage_fetch_blob(f->w.st, f->w.origin, &f->blobs[dir][idx], in_ms(10000),
				 tally_note, &t),
		0);
	tally_wait(&t, 1);
	assert_int_equal(t.last, 0);
	tally_fini(&t);
	return true;
}

/* Windows run on a pool; its end is when it has nothing any more. */
static void settle(struct fixture *f)
{
	struct pool *pool = lane_readahead(f->w.st, f->w.origin);
	uint64_t end_ns = in_ms(10000);

	while (pool_queued(pool) || pool_running(pool)) {
		assert_true(clock_mono_ns(&clock_system) < end_ns);
		sched_yield();
	}
}

static void test_a_crawl_waits_rarely(void **state)
{
	struct fixture *f = *state;
	unsigned missed = 0;

	for (unsigned dir = 0; dir < DIRS; dir++)
		for (uint32_t idx = 0; idx < FILES; idx++) {
			missed += read_file(f, dir, idx);
			settle(f);
		}
	assert_in_range(missed, 2, 3); /* of 240: each window begins before the last is read */
	assert_int_equal(counter_get(f->w.st->crawls), 1);
	assert_int_equal(f->w.plan.calls, DIRS * FILES); /* nothing twice */
}

static void test_who_reads_here_and_there_gets_nothing_else(void **state)
{
	struct fixture *f = *state;
	unsigned missed = 0;

	for (unsigned i = 0; i < 40; i++) {
		missed += read_file(f, (i * 5) % DIRS, (29 - i * 7 % 29));
		settle(f);
	}
	assert_int_equal(counter_get(f->w.st->crawls), 0);
	assert_int_equal(f->w.plan.calls, missed);
}

static void test_a_jump_ends_the_crawl(void **state)
{
	struct fixture *f = *state;
	uint64_t calls;

	for (uint32_t idx = 0; idx < 3; idx++) {
		(void)read_file(f, 0, idx);
		settle(f);
	}
	assert_int_equal(counter_get(f->w.st->crawls), 1);
	assert_true(is_local(f, 0, FILES - 1));
	assert_true(is_local(f, 1, FILES - 1)); /* the next directory too */
	assert_false(is_local(f, 7, 0));
	calls = f->w.plan.calls;
	assert_true(read_file(f, 7, 20));
	assert_true(read_file(f, 5, 3));
	settle(f);
	assert_int_equal(f->w.plan.calls, calls + 2);
}

/* Who reads only the first files of each directory is not given all of them for ever. */
static void test_what_is_not_read_makes_windows_smaller(void **state)
{
	struct fixture *f = *state;
	uint64_t early;

	for (uint32_t idx = 0; idx < 3; idx++) {
		(void)read_file(f, 0, idx);
		settle(f);
	}
	early = f->w.plan.calls;
	assert_in_range(early, 60, 70); /* the first window of 64 */
	for (unsigned dir = 2; dir < DIRS; dir++)
		for (uint32_t idx = 0; idx < 2; idx++) {
			(void)read_file(f, dir, idx);
			settle(f);
		}
	assert_in_range(f->w.plan.calls - early, 10, 6 * 20); /* of 6 × 30 */
}

/* Contents that come along with their directories are never missed themselves. */
static void test_directories_that_are_read_count(void **state)
{
	struct fixture *f = *state;
	struct readahead_place place = {f->w.rev.root, 0};

	for (; place.idx < 3; place.idx++) {
		readahead_missed(f->ra, &place, 1);
		readahead_read(f->ra, &f->blobs[place.idx][0]);
		settle(f);
	}
	assert_int_equal(counter_get(f->w.st->crawls), 1);
	assert_true(is_local(f, 3, 0));
	assert_true(is_local(f, 4, FILES - 1));
	assert_false(is_local(f, 7, 0)); /* beyond the first window */
}

static void test_directories_that_are_only_listed_do_not(void **state)
{
	struct fixture *f = *state;
	struct readahead_place place = {f->w.rev.root, 0};

	for (; place.idx < DIRS; place.idx++) {
		readahead_missed(f->ra, &place, 1);
		settle(f);
	}
	assert_int_equal(counter_get(f->w.st->crawls), 0);
	assert_int_equal(f->w.plan.calls, 0);
}

/* An origin that hangs: hints do nothing bad, and the end of the workspace does not wait. */
static void test_hanging_origin(void **state)
{
	struct fixture *f = *state;
	const struct readahead_place places[] = {
		{f->dirs[0], 0}, {f->dirs[0], 1}, {f->dirs[0], 2}, {f->dirs[0], 3}};

	f->w.plan.hang = true;
	for (unsigned i = 0; i < 4; i++)
		readahead_missed(f->ra, &places[i], 1);
	f->ra = readahead_free(f->ra);
	settle(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_crawl_waits_rarely),
		T(test_who_reads_here_and_there_gets_nothing_else),
		T(test_a_jump_ends_the_crawl),
		T(test_what_is_not_read_makes_windows_smaller),
		T(test_directories_that_are_read_count),
		T(test_directories_that_are_only_listed_do_not),
		T(test_hanging_origin),
	};
#undef T

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
