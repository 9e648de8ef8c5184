/* SPDX-License-Identifier: Apache-2.0 */
/* rename over everything that may be in the way, of everything that may be moved; directories take
 * their lower along by a redirect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <pthread.h>

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0644, "lower", 5);
	fake_lower_add(w->fake, "d/sub/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "e/y", S_IFREG | 0644, "y", 1);
	fake_lower_add(w->fake, "top", S_IFREG | 0644, "top", 3);
	world_open(w);
	*state = w;
	return 0;
}

static void again(struct world *w)
{
	char *before = world_dump(w), *after;

	world_close(w);
	world_open(w);
	after = world_dump(w);
	assert_string_equal(before, after);
	free(before);
	free(after);
	world_check_usage(w);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
}

static void a_lower_file_moves_with_its_id(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d/file");
	struct stat st;

	assert_int_equal(world_rename(w, "d/file", "e/moved", 0), 0);
	assert_int_equal(world_id(w, "d/file"), 0);
	assert_int_equal(world_id(w, "e/moved"), id);
	assert_int_equal(world_upper_stat(w, "d/file", &st), 0);
	assert_true(ovl_is_whiteout(&st));
	again(w);
	assert_int_equal(world_id(w, "e/moved"), id);
}

static void a_lower_directory_moves_without_its_content(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d"), x = world_id(w, "d/sub/x");
	struct oid tree, was = fake_lower_oid(w->fake, "d");
	bool found;

	assert_int_equal(world_rename(w, "d", "e/d2", 0), 0);
	assert_int_equal(world_id(w, "d"), 0);
	assert_int_equal(world_id(w, "e/d2"), id);
	assert_int_equal(world_id(w, "e/d2/sub/x"), x);
	assert_int_equal(fake_lower_stats(w->fake)->copies, 0);
	assert_int_equal(ovl_redirect_get(w->ws->upper_fd, "e/d2", &tree, &found), 0);
	assert_true(found);
	assert_true(oid_equal(&tree, &was));
	again(w);
	assert_int_equal(world_id(w, "e/d2"), id);
	assert_int_equal(world_id(w, "e/d2/sub/x"), x);
	/* and back */
	assert_int_equal(world_rename(w, "e/d2", "d", 0), 0);
	assert_int_equal(world_id(w, "d/sub/x"), x);
	again(w);
	assert_int_equal(world_id(w, "d"), id);
}

static void the_lower_of_the_new_name_does_not_show(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_remove(w, "e/y", false), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "fresh", 0755, NULL), 0);
	assert_int_equal(world_rename(w, "fresh", "e", 0), 0);
	assert_int_equal(world_id(w, "e/y"), 0);
	again(w);
	assert_int_equal(world_id(w, "e/y"), 0);
	assert_int_equal(world_remove(w, "e", true), 0);
	assert_int_equal(world_rename(w, "d", "e", 0), 0);
	assert_int_equal(world_id(w, "e/y"), 0);
	assert_int_not_equal(world_id(w, "e/sub/x"), 0);
	again(w);
}

static void what_is_renamed_over_stays_usable_while_open(void **state)
{
	struct world *w = *state;
	struct world_at at;
	char text[8] = "";

	world_put(w, "new", "new");
	world_put(w, "old", "old");
	assert_int_equal(world_walk(w, "old", &at), 0);
	assert_int_equal(world_rename(w, "new", "old", 0), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, sizeof(text), 0), 3);
	assert_string_equal(text, "old");
	world_check_usage(w);
	assert_int_equal(world_count_in(w, "work/orphan"), 1);
	world_forget(w, &at);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	world_check_usage(w);
}

static void flags_and_types_are_respected(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_rename(w, "top", "d/file", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(world_rename(w, "top", "none", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(world_rename(w, "top", "x", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(world_rename(w, "none", "x", 0), -ENOENT);
	assert_int_equal(world_rename(w, "top", "d", 0), -EISDIR);
	assert_int_equal(world_rename(w, "d", "top", 0), -ENOTDIR);
	assert_int_equal(world_rename(w, "d", "e", 0), -ENOTEMPTY);
	assert_int_equal(world_rename(w, "d", "d/sub/inside", 0), -EINVAL);
	assert_int_equal(world_rename(w, "top", "top", 0), 0);
	again(w);
}

static void an_exchange_of_a_directory_and_a_file(void **state)
{
	struct world *w = *state;
	uint64_t d = world_id(w, "d"), top = world_id(w, "top");
	struct stat st;

	assert_int_equal(world_rename(w, "d", "top", RENAME_EXCHANGE), 0);
	assert_int_equal(world_id(w, "d"), top);
	assert_int_equal(world_id(w, "top"), d);
	assert_int_not_equal(world_id(w, "top/sub/x"), 0);
	again(w);
	assert_int_equal(world_id(w, "d"), top);
	assert_int_equal(world_id(w, "top"), d);
	assert_int_equal(world_rename(w, "d", "top/file", RENAME_EXCHANGE), 0);
	assert_int_equal(world_stat(w, "", &st), 0);
	assert_int_equal(st.st_nlink, 4);
	again(w);
}

static void two_names_of_one_file_stay_two(void **state)
{
	struct world *w = *state;

	world_put(w, "a", "a");
	assert_int_equal(world_link(w, "a", "b"), 0);
	assert_int_equal(world_rename(w, "a", "b", 0), 0);
	assert_int_equal(world_id(w, "a"), world_id(w, "b"));
	assert_int_not_equal(world_id(w, "a"), 0);
	world_put(w, "c", "c");
	assert_int_equal(world_rename(w, "c", "b", 0), 0);
	again(w);
}

struct mover {
	pthread_t thread;
	struct world *w;
	uint64_t from, to;
	unsigned moved;
};

static void *move_many(void *arg)
{
	struct mover *m = arg;
	struct ovl_req rq = {.unique = 1 + m->from};

	for (unsigned i = 0; i < 100; i++) {
		struct ovl_rename r = {m->from, m->to, "ball", "ball", 0};

		m->moved += ovl_rename(m->w->o, &rq, &r) == 0;
	}
	return NULL;
}

static void renames_across_each_other_leave_one_file(void **state)
{
	struct world *w = *state;
	struct world_at d, e;
	struct mover m[2];

	world_put(w, "d/ball", "ball");
	assert_int_equal(world_walk(w, "d", &d), 0);
	assert_int_equal(world_walk(w, "e", &e), 0);
	m[0] = (struct mover){.w = w, .from = d.e.id, .to = e.e.id};
	m[1] = (struct mover){.w = w, .from = e.e.id, .to = d.e.id};
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&m[i].thread, NULL, move_many, &m[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(m[i].thread, NULL), 0);
	assert_true(m[0].moved > 0);
	assert_true((world_id(w, "d/ball") != 0) != (world_id(w, "e/ball") != 0));
	world_forget(w, &e);
	world_forget(w, &d);
	again(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(a_lower_file_moves_with_its_id),
		TEST(a_lower_directory_moves_without_its_content),
		TEST(the_lower_of_the_new_name_does_not_show),
		TEST(what_is_renamed_over_stays_usable_while_open),
		TEST(flags_and_types_are_respected),
		TEST(an_exchange_of_a_directory_and_a_file),
		TEST(two_names_of_one_file_stay_two),
		TEST(renames_across_each_other_leave_one_file),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
