/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookup: ids that never change, the law upper over whiteout over lower, what is missing, and the
 * life of nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "README", S_IFREG | 0644, "hello\n", 6);
	fake_lower_add(w->fake, "bin/tool", S_IFREG | 0755, "#!/bin/sh\n", 10);
	fake_lower_add(w->fake, "src/a.c", S_IFREG | 0644, "int a;\n", 7);
	fake_lower_add(w->fake, "src/deep/er/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "src/deep/er/y", S_IFREG | 0644, "yy", 2);
	fake_lower_add(w->fake, "src/link", S_IFLNK | 0777, "a.c", 3);
	fake_lower_add(w->fake, "sub", S_IFDIR | 0755, "", 1);
	fake_lower_add(w->fake, "void", S_IFDIR | 0755, "", 0);
	world_open(w);
	*state = w;
	return 0;
}

static int lookup(struct world *w, uint64_t parent, const char *name, struct ovl_entry *e)
{
	return ovl_lookup(w->o, world_rq(w), parent, name, e);
}

static void test_lower_entries(void **state)
{
	struct world *w = *state;
	struct world_at e, tool;

	assert_int_equal(world_walk(w, "README", &e), 0);
	assert_int_equal(e.e.attr.st_mode, S_IFREG | 0644);
	assert_int_equal(e.e.attr.st_size, 6);
	assert_int_equal(e.e.attr.st_mtim.tv_sec, WORLD_TIME_S);
	assert_int_equal(e.e.attr.st_nlink, 1);
	assert_int_equal(e.e.id >> OVL_LOCAL_BITS, WORLD_SERIAL);
	assert_int_equal(world_walk(w, "bin/tool", &tool), 0);
	assert_int_equal(tool.e.attr.st_mode, S_IFREG | 0755);
	assert_int_not_equal(tool.e.id, e.e.id);
	assert_int_equal(ovl_refs_get(w->ws, tool.e.id & OVL_LOCAL_MASK), 1);
	world_forget(w, &tool);
	assert_int_equal(ovl_refs_get(w->ws, tool.e.id & OVL_LOCAL_MASK), 0);
	world_forget(w, &e);
	assert_int_equal(world_walk(w, "src/link", &e), 0);
	assert_int_equal(e.e.attr.st_mode, S_IFLNK | 0777);
	world_forget(w, &e);
	assert_int_equal(world_walk(w, "sub", &e), 0);
	assert_int_equal(e.e.attr.st_nlink, 2);
	world_forget(w, &e);
	assert_int_equal(world_walk(w, "src", &e), 0);
	assert_int_equal(e.e.attr.st_nlink, 3);
	world_forget(w, &e);
}

static void test_refusals(void **state)
{
	struct world *w = *state;
	uint64_t root = ovl_ws_root_id(w->ws), file = world_id(w, "README");
	char name[300];
	struct world_at e;

	memset(name, 'n', sizeof(name));
	name[256] = 0;
	assert_int_equal(lookup(w, root, name, &e.e), -ENAMETOOLONG);
	name[255] = 0;
	assert_int_equal(lookup(w, root, name, &e.e), -ENOENT);
	assert_int_equal(lookup(w, root, "", &e.e), -EINVAL);
	assert_int_equal(lookup(w, root, "..", &e.e), -EINVAL);
	assert_int_equal(lookup(w, root, "a/b", &e.e), -EINVAL);
	assert_int_equal(lookup(w, root, "absent", &e.e), -ENOENT);
	assert_int_equal(lookup(w, file, "x", &e.e), -ENOTDIR);
	assert_int_equal(lookup(w, root + 1000000, "x", &e.e), -ESTALE);
	assert_int_equal(lookup(w, 99ull << OVL_LOCAL_BITS | 1, "x", &e.e), -ESTALE);
	assert_int_equal(lookup(w, 0, "x", &e.e), -ESTALE);
	assert_int_equal(world_walk(w, "sub/x", &e), -ENOENT);
	assert_int_equal(world_walk(w, "void/x", &e), -ENOENT);
	assert_int_equal(lookup(w, OVL_ROOT_ID, "other", &e.e), -ENOENT);
	assert_int_equal(lookup(w, OVL_ROOT_ID, "ws", &e.e), 0);
	assert_int_equal(e.e.id, root);
	ovl_forget(w->o, e.e.id, 1);
	ovl_forget(w->o, 12345, 1);
	ovl_forget(w->o, root + 500000, UINT64_MAX);
	ovl_forget(w->o, file, UINT64_MAX);
}

/* Walked in another order after a restart, every id is what it was. */
static void test_ids_survive_restart(void **state)
{
	static const char *const paths[] = {
		"README", "bin", "bin/tool", "src/a.c", "src/deep/er/x", "src/deep/er/y"};
	struct world *w = *state;
	uint64_t id[6];

	for (unsigned i = 0; i < 6; i++)
		id[i] = world_id(w, paths[i]);
	world_close(w);
	world_open(w);
	for (unsigned i = 6; i-- > 0;)
		assert_int_equal(world_id(w, paths[i]), id[i]);
}

/* The kernel may ask for a child of a directory whose nodes are all gone: all that is known is the
 * id. */
static void test_enter_by_id_alone(void **state)
{
	struct world *w = *state;
	uint64_t er = world_id(w, "src/deep/er"), x = world_id(w, "src/deep/er/x");
	struct ovl_ws_stats stats;
	struct ovl_entry e;

	world_close(w);
	world_open(w);
	ovl_ws_stats(w->ws, &stats);
	assert_int_equal(stats.nodes, 1);
	assert_int_equal(lookup(w, er, "x", &e), 0);
	assert_int_equal(e.id, x);
	ovl_ws_stats(w->ws, &stats);
	assert_true(stats.directories >= 1);
	ovl_forget(w->o, e.id, 1);
}

static void fetched(void *arg, int result)
{
	*(int *)arg = result;
}

static void fetch(struct world *w, struct ovl_req *rq, int expect)
{
	int result = 1;

	assert_int_equal(ovl_fetch(&rq->need, NS_NEVER, fetched, &result), 0);
	assert_int_equal(result, expect);
	assert_null(rq->need.ws);
	(void)w;
}

static void test_missing_tree_is_never_absence(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w);
	uint64_t root = ovl_ws_root_id(w->ws);
	struct oid src = fake_lower_oid(w->fake, "src");
	struct ovl_entry e;

	fake_lower_set_missing(w->fake, true, true, false);
	assert_int_equal(ovl_lookup(w->o, rq, root, "absent", &e), -EAGAIN);
	assert_int_equal(rq->need.kind, LOWER_NEED_TREE);
	assert_true(oid_equal(&rq->need.oid, &w->root));
	/* asked again without a fetch: the need is replaced, not leaked */
	assert_int_equal(ovl_lookup(w->o, rq, root, "absent", &e), -EAGAIN);
	fake_lower_set_fetch_error(w->fake, -EIO);
	fetch(w, rq, -EIO);
	assert_int_equal(ovl_lookup(w->o, rq, root, "absent", &e), -EAGAIN);
	fake_lower_set_fetch_error(w->fake, 0);
	fetch(w, rq, 0);
	assert_int_equal(ovl_lookup(w->o, rq, root, "absent", &e), -ENOENT);
	/* a directory is looked up without its tree; it is asked for ahead of the listing */
	assert_int_equal(ovl_lookup(w->o, rq, root, "src", &e), 0);
	assert_int_equal(e.attr.st_nlink, 1);
	assert_int_equal(fake_lower_stats(w->fake)->prefetches, 1);
	assert_int_equal(ovl_lookup(w->o, rq, e.id, "a.c", &(struct ovl_entry){0}), -EAGAIN);
	assert_true(oid_equal(&rq->need.oid, &src));
	fetch(w, rq, 0);
	assert_int_equal(ovl_lookup(w->o, rq, e.id, "none", &(struct ovl_entry){0}), -ENOENT);
	ovl_forget(w->o, e.id, 1);
}

/* Who wants a directory's links counted is told what to fetch; others get an answer at once. */
static void test_links_are_counted_for_who_asks(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w);
	uint64_t root = ovl_ws_root_id(w->ws);
	struct oid src = fake_lower_oid(w->fake, "src");
	struct ovl_entry e;
	struct stat st;

	fake_lower_set_missing(w->fake, true, true, false);
	assert_int_equal(ovl_lookup(w->o, rq, root, "src", &e), -EAGAIN);
	fetch(w, rq, 0);
	rq->count_links = true;
	assert_int_equal(ovl_lookup(w->o, rq, root, "src", &e), -EAGAIN);
	assert_true(rq->need.optional);
	assert_true(oid_equal(&rq->need.oid, &src));
	ovl_need_drop(&rq->need);
	rq->count_links = false;
	assert_int_equal(ovl_lookup(w->o, rq, root, "src", &e), 0);
	assert_int_equal(e.attr.st_nlink, 1);
	rq->count_links = true;
	assert_int_equal(ovl_getattr(w->o, rq, e.id, &st), -EAGAIN);
	fetch(w, rq, 0);
	assert_int_equal(ovl_getattr(w->o, rq, e.id, &st), 0);
	assert_int_equal(st.st_nlink, 3);
	ovl_forget(w->o, e.id, 1);
}

static void test_unknown_size_is_never_zero(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w);
	uint64_t root = ovl_ws_root_id(w->ws);
	struct ovl_entry e;

	fake_lower_set_missing(w->fake, false, false, true);
	assert_int_equal(
		ovl_lookup(w->o, rq, root, "src", &e), 0); /* a directory has no size to wait for */
	ovl_forget(w->o, e.id, 1);
	assert_int_equal(ovl_lookup(w->o, rq, root, "README", &e), -EAGAIN);
	fetch(w, rq, 0);
	assert_int_equal(ovl_lookup(w->o, rq, root, "README", &e), 0);
	assert_int_equal(e.attr.st_size, 6);
	ovl_forget(w->o, e.id, 1);
}

static void test_upper_whiteout_lower(void **state)
{
	struct world *w = *state;
	uint64_t a = world_id(w, "src/a.c"), made;
	struct stat st;

	world_put(w, "src/new", "fresh");
	made = world_id(w, "src/new");
	assert_int_not_equal(made, 0);
	assert_int_equal(world_write(w, "src/a.c", "INT", 3, 0), 3);
	assert_int_equal(world_id(w, "src/a.c"), a);
	assert_int_equal(world_remove(w, "src/link", false), 0);
	assert_int_equal(world_stat(w, "src/link", &st), -ENOENT);
	world_close(w);
	world_open(w);
	assert_int_equal(world_stat(w, "src/link", &st), -ENOENT);
	assert_int_equal(world_id(w, "src/a.c"), a);
	assert_int_equal(world_id(w, "src/new"), made);
	assert_int_equal(world_stat(w, "src/new", &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(world_stat(w, "src/deep", &st), 0);
}

/* The id of a file that was copied, mark and all, belongs to one of the two. */
static void test_a_copied_mark_is_not_believed_twice(void **state)
{
	struct world *w = *state;
	struct world_at a, b;
	char command[900];

	world_put(w, "one", "1");
	world_close(w);
	(void)snprintf(command, sizeof(command), "cp -a %s/ws/upper/one %s/ws/upper/two",
		w->tmp.path, w->tmp.path);
	assert_int_equal(system(command), 0);
	world_open(w);
	assert_int_equal(world_walk(w, "one", &a), 0);
	assert_int_equal(world_walk(w, "two", &b), 0);
	assert_int_not_equal(a.e.id, b.e.id);
	world_forget(w, &a);
	world_forget(w, &b);
	/* and it stays so, in whatever order they are seen next */
	assert_int_equal(world_id(w, "two"), b.e.id);
	assert_int_equal(world_id(w, "one"), a.e.id);
}

static void test_nodes_go_with_forget(void **state)
{
	struct world *w = *state;
	struct ovl_ws_stats before, after;
	struct world_at e[50];
	char name[16];

	ovl_ws_stats(w->ws, &before);
	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(world_make(w, WORLD_FILE, name, 0600, &e[i]), 0);
	}
	ovl_ws_stats(w->ws, &after);
	assert_int_equal(after.nodes, before.nodes + 50);
	for (unsigned i = 0; i < 50; i++)
		ovl_forget(w->o, e[i].e.id, 1);
	ovl_ws_stats(w->ws, &after);
	assert_int_equal(after.nodes, before.nodes);
	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(world_id(w, name), e[i].e.id);
	}
}

struct racer {
	struct world *w;
	unsigned seed;
	uint64_t id[8];
};

static void *race(void *arg)
{
	struct racer *r = arg;
	struct ovl_req rq = {.unique = 1};
	struct ovl_entry e, dir;
	char name[8];

	for (unsigned i = 0; i < 3000; i++) {
		unsigned n = (i * 7 + r->seed) % 8;

		(void)snprintf(name, sizeof(name), "r%u", n);
		if (ovl_lookup(r->w->o, &rq, ovl_ws_root_id(r->w->ws), "src", &dir) != 0)
			return (void *)(uintptr_t) "lookup of src";
		if (ovl_lookup(r->w->o, &rq, dir.id, name, &e) != 0)
			return (void *)(uintptr_t) "lookup";
		if (r->id[n] != e.id)
			return (void *)(uintptr_t) "another id";
		ovl_forget(r->w->o, e.id, 1);
		ovl_forget(r->w->o, dir.id, 1);
	}
	return NULL;
}

/* Nodes that come and go under two threads: always one id per file, nothing leaked, nothing freed
 * in use. */
static void test_lookup_against_forget(void **state)
{
	struct world *w = *state;
	struct racer r[2] = {{.w = w, .seed = 1}, {.w = w, .seed = 4}};
	struct ovl_ws_stats stats;
	pthread_t t[2];
	char name[16];
	void *failed;

	for (unsigned i = 0; i < 8; i++) {
		(void)snprintf(name, sizeof(name), "src/r%u", i);
		world_put(w, name, "x");
		r[0].id[i] = r[1].id[i] = world_id(w, name);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(t[i], &failed), 0);
		if (failed)
			fail_msg("%s", (char *)failed);
	}
	ovl_evict_pending(w->ws);
	ovl_ws_stats(w->ws, &stats);
	assert_int_equal(stats.nodes, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_lower_entries),
		T(test_refusals),
		T(test_ids_survive_restart),
		T(test_enter_by_id_alone),
		T(test_missing_tree_is_never_absence),
		T(test_links_are_counted_for_who_asks),
		T(test_unknown_size_is_never_zero),
		T(test_upper_whiteout_lower),
		T(test_a_copied_mark_is_not_believed_twice),
		T(test_nodes_go_with_forget),
		T(test_lookup_against_forget),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
