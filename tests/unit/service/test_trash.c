/* SPDX-License-Identifier: Apache-2.0 */
/* Workspaces go to the trash at once, and the trash is emptied, also of what an earlier run left.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/trash.h"
#include "tmpdir.h"

#include <base/io.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

struct world {
	struct tmpdir dir;
	char workspaces[300], bin[300];
	struct trash *trash;
};

static void open_world(struct world *w)
{
	tmpdir_init(&w->dir);
	(void)tmpdir_path(&w->dir, "workspaces", w->workspaces, sizeof(w->workspaces));
	(void)tmpdir_path(&w->dir, "trash", w->bin, sizeof(w->bin));
	assert_int_equal(trash_open(&w->trash, w->workspaces, w->bin, NULL), 0);
}

static void close_world(struct world *w)
{
	trash_close(w->trash);
	tmpdir_fini(&w->dir);
}

static void make(const char *dir, const char *name)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s/upper/deep", dir, name);
	assert_int_equal(io_mkdirs(path, 0700), 0);
}

static bool exists(const char *dir, const char *name)
{
	char path[400];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

static void expect_gone(const char *dir, const char *name)
{
	for (unsigned i = 0; i < 500 && exists(dir, name);
		i++) /* the remover has no event to wait on */
		(void)nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	assert_false(exists(dir, name));
}

static void test_put(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	make(w.workspaces, "a");
	assert_int_equal(trash_put(w.trash, "a"), 0);
	assert_false(exists(w.workspaces, "a"));
	expect_gone(w.bin, "a");
	assert_int_equal(trash_put(w.trash, "a"), 0); /* nothing there is fine */
	close_world(&w);
}

static void test_same_name_in_the_trash_already(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	make(w.workspaces, "a");
	make(w.bin, "a");
	assert_int_equal(trash_put(w.trash, "a"), 0);
	assert_false(exists(w.workspaces, "a"));
	trash_sweep(w.trash);
	expect_gone(w.bin, "a");
	close_world(&w);
}

static void test_sweep_of_an_earlier_run(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	make(w.bin, "old");
	trash_sweep(w.trash);
	expect_gone(w.bin, "old");
	close_world(&w);
}

static void test_closing_does_not_wait_for_what_is_large(void **state)
{
	struct world w;
	char name[32];

	(void)state;
	open_world(&w);
	for (unsigned i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "large/%u", i);
		make(w.bin, name);
	}
	trash_sweep(w.trash);
	trash_close(w.trash); /* wherever the removal is */
	assert_int_equal(trash_open(&w.trash, w.workspaces, w.bin, NULL), 0);
	trash_sweep(w.trash);
	expect_gone(w.bin, "large");
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_same_name_in_the_trash_already),
		cmocka_unit_test(test_sweep_of_an_earlier_run),
		cmocka_unit_test(test_closing_does_not_wait_for_what_is_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
