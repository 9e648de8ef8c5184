/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget for nodes. The kernel of these tests never forgets: whatever it was told of must mean
 * the same when the node behind it was given up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ovl_world.h"

#define DIRECTORIES 400u
#define BUDGET      40u
#define SLACK       40u /* what a call may be behind */

static uint64_t nodes(struct world *w)
{
	struct ovl_ws_stats stats;

	ovl_ws_stats(w->ws, &stats);
	return stats.nodes;
}

static uint64_t given_up(struct world *w)
{
	return atomic_load(&w->o->shrink.given_up);
}

static void name_of(unsigned i, char name[64])
{
	(void)snprintf(name, 64, "d%u/s%u", i / 20, i);
}

/* DIRECTORIES with a file and a directory without entries each. */
static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	world_init(w);
	w->nodes_max = BUDGET;
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		char name[64], path[80];

		name_of(i, name);
		(void)snprintf(path, sizeof(path), "%s/file", name);
		fake_lower_add(w->fake, path, S_IFREG | 0644, path, strlen(path));
		(void)snprintf(path, sizeof(path), "%s/empty", name);
		fake_lower_add(w->fake, path, S_IFDIR | 0755, NULL, 0);
	}
	world_open(w);
	*state = w;
	return 0;
}

struct crawl {
	struct world_at dir[DIRECTORIES], file[DIRECTORIES];
	uint64_t most; /* nodes at one time */
};

static struct crawl *crawl(struct world *w)
{
	struct crawl *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		char name[64], path[80];

		name_of(i, name);
		(void)snprintf(path, sizeof(path), "%s/file", name);
		assert_int_equal(world_walk(w, name, &c->dir[i]), 0);
		assert_int_equal(world_walk(w, path, &c->file[i]), 0);
		c->most = nodes(w) > c->most ? nodes(w) : c->most;
	}
	return c;
}

static void forget(struct world *w, struct crawl *c)
{
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		world_forget(w, &c->dir[i]);
		world_forget(w, &c->file[i]);
	}
	free(c);
}

static void a_crawl_stays_within_the_budget(void **state)
{
	struct world *w = *state;
	struct crawl *c = crawl(w);

	assert_true(c->most <= BUDGET + SLACK);
	assert_true(given_up(w) >= DIRECTORIES - BUDGET - SLACK);
	forget(w, c);
	ovl_evict_pending(w->ws);
	assert_int_equal(nodes(w), 1); /* the root */
	assert_int_equal(atomic_load(&w->o->shrink.nodes), 1);
}

static int take(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next_offset)
{
	unsigned *count = arg;

	(void)name;
	(void)entry;
	(void)next_offset;
	(*count)++;
	return 0;
}

static void what_was_given_up_is_what_it_was(void **state)
{
	struct world *w = *state;
	struct crawl *c = crawl(w), *again = crawl(w);

	for (unsigned i = 0; i < DIRECTORIES; i++) {
		unsigned count = 0;
		struct stat st;

		assert_int_equal(again->dir[i].e.id, c->dir[i].e.id);
		assert_int_equal(again->file[i].e.id, c->file[i].e.id);
		assert_int_equal(ovl_getattr(w->o, world_rq(w), c->dir[i].e.id, &st), 0);
		assert_memory_equal(&st, &c->dir[i].e.attr, sizeof(st));
		assert_int_equal(
			ovl_readdir(w->o, world_rq(w), c->dir[i].e.id, 0, false, take, &count), 0);
		assert_int_equal(count, 4); /* with . and .. */
	}
	assert_true(nodes(w) <= BUDGET + SLACK);
	forget(w, c);
	forget(w, again);
}

/* Everything is written to by its id; none of it is looked up again. */
static void what_is_written_to_is_kept(void **state)
{
	struct world *w = *state;
	struct crawl *c = crawl(w);
	struct stat st;

	for (unsigned i = 0; i < DIRECTORIES; i++)
		assert_int_equal(
			ovl_write(w->o, world_rq(w), c->file[i].e.id, "MINE", 4, 0, false), 4);
	assert_true(nodes(w) > 2 * DIRECTORIES); /* nothing of the lower alone */
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		char name[64], path[80];

		name_of(i, name);
		(void)snprintf(path, sizeof(path), "%s/file", name);
		assert_int_equal(world_stat(w, path, &st), 0);
		assert_int_equal(st.st_ino, c->file[i].e.id);
	}
	world_check_usage(w);
	forget(w, c);
}

static void a_directory_that_was_removed_is_not_forgotten(void **state)
{
	struct world *w = *state;
	char path[80], name[64];
	struct world_at gone;
	struct crawl *c;
	struct stat st;

	name_of(0, name);
	(void)snprintf(path, sizeof(path), "%s/empty", name);
	assert_int_equal(world_walk(w, path, &gone), 0);
	assert_int_equal(world_remove(w, path, true), 0);
	c = crawl(w);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), gone.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_lookup(w->o, world_rq(w), gone.e.id, "x", &gone.e), -ENOENT);
	world_forget(w, &gone);
	forget(w, c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_crawl_stays_within_the_budget, set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(
			what_was_given_up_is_what_it_was, set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_written_to_is_kept, set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(
			a_directory_that_was_removed_is_not_forgotten, set_up, world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
