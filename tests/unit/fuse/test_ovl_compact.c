/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal is rewritten: what holds is kept, beside appends too, and a kill at any stage loses
 * nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ovl_journal_world.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- rewriting ---- */

static int see_kept(void *arg, const struct ovl_left_node *left)
{
	unsigned *seen = arg;

	assert_string_equal(left->name, "stays");
	assert_int_equal(left->id, ID(500));
	(*seen)++;
	return 0;
}

static void test_rewriting_keeps_what_holds(void **state)
{
	struct fixture *f = *state;
	uint64_t unique, base;
	struct ovl_block block = {.count = 3, .tree = {.len = 20}, .dir_id = ID(1)};
	unsigned seen = 0, open = 0;

	assert_int_equal(ovl_journal_restart(&f->ws), 0);
	assert_int_equal(ovl_ids_alloc(&f->ws, 3, &base), 0);
	block.base = base;
	assert_int_equal(ovl_journal_block(&f->ws, &block), 0);
	assert_int_equal(ovl_journal_intent(&f->ws, &(struct ovl_intent){.unique = 20,
							    .op = OVL_INTENT_RENAME,
							    .parent = ID(1),
							    .new_parent = ID(4),
							    .name = "from",
							    .new_name = "to",
							    .backing_ino = 77}),
		0);
	add_node(f, 500, 1, "stays", 0);
	for (unique = 100; unique < 100 + 2 * 50000; unique += 2) {
		assert_int_equal(ovl_journal_intent(&f->ws, &(struct ovl_intent){.unique = unique,
								    .op = OVL_INTENT_CREATE,
								    .parent = ID(1),
								    .name = "x"}),
			0);
		ovl_journal_done(&f->ws, unique);
	}
	wait_for_chores(f);
	ovl_journal_compact(&f->ws);
	assert_true(atomic_load(&f->o->compactions) > 1); /* by itself, and the one just now */
	/* 50,000 x 112 bytes were written, 50,000 x 24 hold */
	assert_in_range(ovl_journal_bytes(&f->ws), 50000 * 24, 50000 * 24 + 4096);
	assert_true(ovl_journal_was_done(&f->ws, unique - 2));
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_node(&f->ws, see_kept, &seen), 0);
	assert_int_equal(ovl_journal_each_open(&f->ws, count_open, &open), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(open, 1);
	assert_true(ovl_block_of(&f->ws, base + 2, &block));
}

/* ---- rewriting beside appends ---- */

#define APPENDERS    3
#define PER_APPENDER 30000u
#define KEPT_PER_DIR 7u

struct appender {
	struct fixture *f;
	unsigned at;
	int result; /* cmocka's checks are for the main thread */
};

/* Objects come and go; every KEPT_PER_DIR-th stays. */
static void *append_all(void *arg)
{
	struct appender *a = arg;

	for (unsigned i = 0; i < PER_APPENDER && !a->result; i++) {
		uint64_t local = 100 + a->at * PER_APPENDER + i;

		a->result = try_node(a->f, local, 1, "stays", 0);
		if (i % KEPT_PER_DIR)
			ovl_journal_drop(&a->f->ws, ID(local));
	}
	return NULL;
}

static int count_node(void *arg, const struct ovl_left_node *left)
{
	(void)left;
	++*(unsigned *)arg;
	return 0;
}

static void test_appends_beside_a_rewriting_are_kept(void **state)
{
	struct fixture *f = *state;
	struct appender appender[APPENDERS];
	pthread_t thread[APPENDERS];
	unsigned seen = 0, kept = (PER_APPENDER + KEPT_PER_DIR - 1) / KEPT_PER_DIR;

	assert_int_equal(ovl_journal_restart(&f->ws), 0);
	for (unsigned i = 0; i < APPENDERS; i++) {
		appender[i] = (struct appender){f, i, 0};
		assert_int_equal(pthread_create(&thread[i], NULL, append_all, &appender[i]), 0);
	}
	for (unsigned i = 0; i < APPENDERS; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(appender[i].result, 0);
	}
	wait_for_chores(f);
	assert_true(atomic_load(&f->o->compactions) > 0);
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_node(&f->ws, count_node, &seen), 0);
	assert_int_equal(seen, APPENDERS * kept);
}

static const char *dies_at;

/* Somebody else's call, at each stage of a rewriting. */
static void append_and_die(struct ovl_ws *ws, const char *point)
{
	static uint64_t local = 1000;
	struct fixture *f = (struct fixture *)((char *)ws - offsetof(struct fixture, ws));

	add_node(f, local++, 1, "meanwhile", 0);
	if (strcmp(point, dies_at) == 0)
		(void)kill(getpid(), SIGKILL);
}

static void rewrite_and_die(struct fixture *f)
{
	for (uint64_t local = 100; local < 200; local++)
		add_node(f, local, 1, "before", 0);
	for (uint64_t local = 100; local < 190; local++)
		ovl_journal_drop(&f->ws, ID(local));
	f->ws.crash_hook = append_and_die;
	ovl_journal_compact(&f->ws);
	_exit(1);
}

static void test_a_kill_at_each_stage_of_a_rewriting_loses_nothing(void **state)
{
	static const char *const points[] = {"compact:copied", "compact:both", "compact:renamed"};
	struct fixture *f = *state;

	stop(f);
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		unsigned seen = 0;
		int status;
		pid_t pid;

		dies_at = points[i];
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			start(f);
			assert_int_equal(ovl_journal_restart(&f->ws), 0);
			rewrite_and_die(f);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		start(f);
		assert_int_equal(ovl_journal_each_node(&f->ws, count_node, &seen), 0);
		assert_int_equal(seen, 10 + i + 1);
		stop(f);
	}
	start(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_rewriting_keeps_what_holds),
		T(test_appends_beside_a_rewriting_are_kept),
		T(test_a_kill_at_each_stage_of_a_rewriting_loses_nothing),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
