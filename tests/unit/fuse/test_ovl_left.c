/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a takeover has begun to serve: usage goes on as it was charged and is counted in the
 * background, and what was in use comes back when it is asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"
#include "ovl_crash.h"

/* ---- usage ---- */

/* A process that changes what it leaves, and dies. */
static void leave(struct world *w, void (*change)(struct world *w))
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		world_open(w);
		world_put(w, "new", "some bytes");
		change(w);
		(void)kill(getpid(), SIGKILL);
	}
	assert_true(crash_died(pid, "leave"));
	w->adopt = true;
}

static void reserve_for_a_write(struct world *w)
{
	ovl_usage_force(w->ws, QUOTA_BYTES, 1 << 20);
}

static void forget_the_stamp(struct world *w)
{
	ovl_refs_usage(w->ws)->bytes = 12345;
	ovl_journal_set_stamp(w->ws, 0); /* as a version does that does not know of it */
}

static void nothing(struct world *w)
{
	(void)w;
}

/* Of our own, and copied up. */
static void with_files(struct world *w)
{
	world_put(w, "mine", "my own bytes");
	assert_int_equal(world_write(w, "low/file", "L", 1, 0), 1);
}

static void check_usage_after(void (*change)(struct world *w), uint64_t corrected)
{
	struct world w;

	crash_set_up(&w, with_files);
	leave(&w, change);
	world_open(&w);
	world_check_usage(&w);
	assert_int_equal(w.o->usage_corrected, corrected);
	world_fini(&w);
}

static void usage_goes_on_and_is_counted_afterwards(void **state)
{
	(void)state;
	check_usage_after(nothing, 0);
	check_usage_after(reserve_for_a_write, 1);
	check_usage_after(forget_the_stamp, 0);
}

/* ---- what comes back when it is asked for ---- */

#define MANY 300

static void make_many(struct world *w)
{
	struct ovl_entry e;
	char name[32];

	assert_int_equal(ovl_mkdir(w->o, world_rq(w), ovl_ws_root_id(w->ws), "many", 0755, &e), 0);
	for (unsigned i = 0; i < MANY; i++) {
		struct ovl_entry file;

		(void)snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(ovl_create(w->o, world_rq(w), e.id, name, 0600, O_EXCL, &file), 0);
	}
}

/* Brings back what is in the root alone, moves the records of the rest, and dies. */
static void take_over_and_die(struct world *w)
{
	struct stat st;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		world_open(w);
		if (world_stat(w, "new", &st) < 0)
			_exit(1);
		ovl_journal_compact(w->ws);
		if (ovl_left_count(w->ws) == MANY)
			(void)kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_true(crash_died(pid, "take over"));
}

static void a_takeover_of_a_takeover_that_brought_little_back(void **state)
{
	struct world w;
	struct world_at at;
	uint64_t id[MANY];
	char path[32];

	(void)state;
	crash_set_up(&w, NULL);
	leave(&w, make_many);
	w.alone = true;
	take_over_and_die(&w);
	take_over_and_die(&w);
	world_open(&w);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(path, sizeof(path), "many/%u", i);
		assert_int_equal(world_walk(&w, path, &at), 0);
		id[i] = at.e.id;
		free(at.up);
		assert_true(i == 0 || id[i] == id[i - 1] + 1); /* in the order they were made in */
	}
	assert_int_equal(ovl_left_count(w.ws), 0);
	world_fini(&w);
}

/* Somebody else took a file away. */
static void remove_one_behind(struct world *w)
{
	make_many(w);
	assert_int_equal(unlinkat(w->ws->upper_fd, "many/7", 0), 0);
}

static void a_node_that_cannot_come_back_is_stale(void **state)
{
	const uint64_t base = WORLD_SERIAL << OVL_LOCAL_BITS;
	uint64_t id[2 * MANY];
	unsigned count = 0, stale = 0;
	struct world w;
	struct stat st;

	(void)state;
	crash_set_up(&w, NULL);
	leave(&w, remove_one_behind);
	w.alone = true;
	world_open(&w);
	for (uint64_t local = 1; local < 2 * MANY; local++)
		if (ovl_left_has(w.ws, base | local))
			id[count++] = base | local;
	assert_int_equal(count, MANY + 1); /* and the directory */
	for (unsigned i = 0; i < count; i++) {
		int r = ovl_getattr(w.o, world_rq(&w), id[i], &st);

		assert_true(r == 0 || r == -ESTALE);
		stale += r < 0;
	}
	assert_int_equal(stale, 1);
	assert_int_equal(ovl_left_count(w.ws), 0);
	assert_int_equal(world_stat(&w, "many/7", &st), -ENOENT);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_goes_on_and_is_counted_afterwards),
		cmocka_unit_test(a_takeover_of_a_takeover_that_brought_little_back),
		cmocka_unit_test(a_node_that_cannot_come_back_is_stale),
	};

	return cmocka_run_group_tests_name("ovl_left", tests, NULL, NULL);
}
