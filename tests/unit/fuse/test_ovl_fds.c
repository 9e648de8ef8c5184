/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: bounded, shared, found again after they were dropped, and never the wrong object
 * while renames go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "lower/x", S_IFREG | 0644, "x", 1);
	world_open(w);
	*state = w;
	return 0;
}

static unsigned open_now(struct world *w)
{
	LOCK_GUARD(&w->o->fds.lock);
	return w->o->fds.open;
}

static void test_bounded_and_found_again(void **state)
{
	struct world *w = *state;
	struct world_at at[100];
	char name[32], buf[32];

	w->o->fds.max = 16;
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(world_make(w, WORLD_FILE, name, 0600, &at[i]), 0);
		assert_int_equal(
			ovl_write(w->o, world_rq(w), at[i].e.id, name, strlen(name), 0, false),
			strlen(name));
		assert_true(open_now(w) <= 16);
	}
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(
			ovl_read(w->o, world_rq(w), at[i].e.id, buf, sizeof(buf), 0), strlen(name));
		assert_memory_equal(buf, name, strlen(name));
		assert_true(open_now(w) <= 16);
	}
	for (unsigned i = 0; i < 100; i++)
		world_forget(w, &at[i]);
	assert_int_equal(open_now(w), 0);
}

/* Deeper than the LRU is long: every directory is opened beneath the one before. */
static void test_a_deep_path(void **state)
{
	struct world *w = *state;
	char path[400] = "d", buf[8];
	struct world_at at;

	w->o->fds.max = 16;
	assert_int_equal(world_make(w, WORLD_DIR, path, 0755, NULL), 0);
	for (unsigned i = 0; i < 60; i++) {
		(void)snprintf(path + strlen(path), 3, "/d");
		assert_int_equal(world_make(w, WORLD_DIR, path, 0755, NULL), 0);
	}
	(void)snprintf(path + strlen(path), 3, "/f");
	world_put(w, path, "deep");
	world_close(w);
	world_open(w);
	w->o->fds.max = 16;
	assert_int_equal(world_walk(w, path, &at), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, buf, sizeof(buf), 0), 4);
	assert_true(open_now(w) <= 16);
	world_forget(w, &at);
}

static void test_what_has_no_upper_has_no_descriptor(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct ovl_node *dir;
	int fd;

	assert_int_equal(world_walk(w, "lower", &at), 0);
	assert_int_equal(ovl_dir_get(w->o, world_rq(w), at.e.id, &dir), 0);
	assert_int_equal(ovl_fd_get(dir, &fd), -ENOENT);
	ovl_node_unpin(dir);
	assert_int_equal(ovl_dir_get(w->o, world_rq(w), ovl_ws_root_id(w->ws), &dir), 0);
	assert_int_equal(ovl_fd_get(dir, &fd), 0);
	assert_int_equal(fd, w->ws->upper_fd);
	ovl_fd_put(dir);
	ovl_node_unpin(dir);
	world_forget(w, &at);
}

/* Something else lies where the object should be: an error, after a while, never its content. */
static void test_a_changed_upper_is_not_read(void **state)
{
	struct world *w = *state;
	struct ovl_obj obj;
	struct world_at at;
	char buf[8];

	assert_int_equal(world_make(w, WORLD_FILE, "mine", 0600, &at), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "mine", 4, 0, false), 4);
	assert_int_equal(ovl_obj_get(w->o, world_rq(w), at.e.id, &obj), 0);
	ovl_fd_drop(obj.node);
	ovl_obj_put(&obj);
	assert_int_equal(symlinkat("/etc/passwd", w->ws->upper_fd, "other"), 0);
	assert_int_equal(renameat(w->ws->upper_fd, "other", w->ws->upper_fd, "mine"), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, buf, sizeof(buf), 0), -EIO);
	world_forget(w, &at);
}

struct mover {
	struct world *w;
	uint64_t root;
	_Atomic bool stop;
};

static void *swap(void *arg)
{
	struct mover *m = arg;
	struct ovl_req rq = {.unique = 1ull << 40};
	struct ovl_rename r = {.parent = m->root,
		.new_parent = m->root,
		.name = "a",
		.new_name = "b",
		.flags = RENAME_EXCHANGE};

	while (!atomic_load(&m->stop)) {
		rq.unique += 2;
		if (ovl_rename(m->w->o, &rq, &r) != 0)
			return (void *)(uintptr_t) "rename";
	}
	return NULL;
}

/* Two files change places for ever; each is read by its id through a descriptor that is dropped
 * every time. */
static void test_reading_under_rename(void **state)
{
	struct world *w = *state;
	struct mover m = {.w = w, .root = ovl_ws_root_id(w->ws)};
	struct world_at at[2];
	struct ovl_obj obj;
	pthread_t t;
	void *failed;
	char c;

	world_put(w, "a", "A");
	world_put(w, "b", "B");
	assert_int_equal(world_walk(w, "a", &at[0]), 0);
	assert_int_equal(world_walk(w, "b", &at[1]), 0);
	assert_int_equal(pthread_create(&t, NULL, swap, &m), 0);
	for (unsigned i = 0; i < 1500; i++) {
		assert_int_equal(ovl_obj_get(w->o, world_rq(w), at[i % 2].e.id, &obj), 0);
		ovl_fd_drop(obj.node);
		ovl_obj_put(&obj);
		assert_int_equal(ovl_read(w->o, world_rq(w), at[i % 2].e.id, &c, 1, 0), 1);
		assert_int_equal(c, i % 2 ? 'B' : 'A');
	}
	atomic_store(&m.stop, true);
	assert_int_equal(pthread_join(t, &failed), 0);
	assert_null(failed);
	world_forget(w, &at[0]);
	world_forget(w, &at[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_bounded_and_found_again),
		T(test_a_deep_path),
		T(test_what_has_no_upper_has_no_descriptor),
		T(test_a_changed_upper_is_not_read),
		T(test_reading_under_rename),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
