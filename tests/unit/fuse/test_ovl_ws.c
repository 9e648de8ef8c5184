/* SPDX-License-Identifier: Apache-2.0 */
/* Workspaces: added, refused, removed under running calls and open needs, opened again, and failing
 * allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "alloc_fault.h"
#include "overlay/ovl_state.h"
#include "ovl_world.h"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/f", S_IFREG | 0644, "x", 1);
	world_open(w);
	*state = w;
	return 0;
}

struct other {
	char dir[300];
	struct ovl_ws_config config;
};

static void other_init(struct other *x, struct world *w, const char *name, uint64_t serial)
{
	*x = (struct other){
		.config = {
			.name = name, .serial = serial, .root_tree = w->root, .quota = &w->quota}};
	x->config.dir = tmpdir_path(&w->tmp, "other", x->dir, sizeof(x->dir));
	x->config.lower = fake_lower_open(w->fake);
}

static void other_refused(struct world *w, const char *name, uint64_t serial, int expect)
{
	struct ovl_ws *ws = NULL;
	struct err e = {0};
	struct other x;

	other_init(&x, w, name, serial);
	assert_int_equal(ovl_ws_add(w->o, &x.config, &ws, &e), expect);
	assert_null(ws);
	assert_true(strlen(err_message(&e)) > 0);
	x.config.lower->ops->free(x.config.lower); /* stays the caller's */
}

static void test_refusals(void **state)
{
	struct world *w = *state;

	other_refused(w, "ws", 9, -EEXIST);
	other_refused(w, "other", WORLD_SERIAL, -EEXIST);
	other_refused(w, "other", 0, -EINVAL);
	other_refused(w, "other", 1ull << 23, -EINVAL);
	other_refused(w, "a/b", 9, -EINVAL);
	other_refused(w, "..", 9, -EINVAL);
	other_refused(w, "", 9, -EINVAL);
}

static void test_another_format(void **state)
{
	struct world *w = *state;
	char command[400];

	(void)snprintf(command, sizeof(command),
		"mkdir %s/other && cd %s/other && mkdir work && cd work && echo 99 > format",
		w->tmp.path, w->tmp.path);
	assert_int_equal(system(command), 0);
	other_refused(w, "other", 9, -EPROTO);
	(void)snprintf(command, sizeof(command), "rm -r %s/other && echo > %s/other", w->tmp.path,
		w->tmp.path);
	assert_int_equal(system(command), 0);
	other_refused(w, "other", 9, -ENOTDIR);
}

static void test_two_are_apart(void **state)
{
	struct world *w = *state;
	struct ovl_entry e;
	struct ovl_ws *ws;
	struct other x;

	other_init(&x, w, "other", 3);
	assert_int_equal(ovl_ws_add(w->o, &x.config, &ws, NULL), 0);
	world_put(w, "mine", "1");
	assert_int_equal(ovl_lookup(w->o, world_rq(w), ovl_ws_root_id(ws), "mine", &e), -ENOENT);
	assert_int_equal(ovl_lookup(w->o, world_rq(w), OVL_ROOT_ID, "other", &e), 0);
	assert_int_equal(e.id, ovl_ws_root_id(ws));
	assert_int_equal(e.id, 3ull << OVL_LOCAL_BITS | 1);
	ovl_ws_remove(w->o, ws);
	assert_int_equal(ovl_lookup(w->o, world_rq(w), OVL_ROOT_ID, "other", &e), -ENOENT);
	assert_int_equal(
		ovl_getattr(w->o, world_rq(w), 3ull << OVL_LOCAL_BITS | 1, &e.attr), -ESTALE);
	ovl_forget(w->o, 3ull << OVL_LOCAL_BITS | 1, 1);
}

static bool has_mark(const struct other *x, const char *name)
{
	char path[400];
	uint64_t mark;

	(void)snprintf(path, sizeof(path), "%s/upper/%s", x->dir, name); /* fits */
	return lgetxattr(path, OVL_XATTR_NODE, &mark, sizeof(mark)) == sizeof(mark);
}

/* An id mark is for the next start: without one it is not worth a write. */
static void test_nothing_is_written_for_a_directory_that_goes(void **state)
{
	struct world *w = *state;
	struct ovl_entry e;
	struct ovl_ws *ws;
	struct other x;

	for (unsigned discard = 0; discard < 2; discard++) {
		const char *name = discard ? "two" : "one";

		other_init(&x, w, "other", 3 + discard);
		assert_int_equal(ovl_ws_add(w->o, &x.config, &ws, NULL), 0);
		assert_int_equal(
			ovl_create(w->o, world_rq(w), ovl_ws_root_id(ws), name, 0644, O_EXCL, &e),
			0);
		(discard ? ovl_ws_discard : ovl_ws_remove)(w->o, ws);
		assert_int_equal(has_mark(&x, name), !discard);
	}
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(d);
	while (readdir(d))
		count++;
	(void)closedir(d);
	return count;
}

/* Hundreds of them lie idle on a node. */
static void test_an_idle_workspace_holds_two_descriptors(void **state)
{
	struct world *w = *state;
	unsigned before = open_descriptors();
	struct ovl_ws *ws;
	struct other x;

	other_init(&x, w, "other", 3);
	assert_int_equal(ovl_ws_add(w->o, &x.config, &ws, NULL), 0);
	assert_int_equal(open_descriptors(), before + 2);
	ovl_ws_remove(w->o, ws);
	assert_int_equal(open_descriptors(), before);
}

static void never(void *arg, int result)
{
	(void)arg;
	(void)result;
	fail_msg("a fetch was started");
}

/* A parked request may outlive the workspace that it asked. */
static void test_a_need_outlives_the_workspace(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w), other;
	struct ovl_entry e;

	fake_lower_set_missing(w->fake, true, true, false);
	assert_int_equal(ovl_lookup(w->o, rq, ovl_ws_root_id(w->ws), "d", &e), -EAGAIN);
	other = *world_rq(w);
	other.need = (struct ovl_need){0};
	assert_int_equal(ovl_lookup(w->o, &other, ovl_ws_root_id(w->ws), "d", &e), -EAGAIN);
	ovl_ws_remove(w->o, w->ws);
	w->ws = NULL;
	assert_int_equal(ovl_fetch(&rq->need, NS_NEVER, never, NULL), -ESTALE);
	ovl_need_drop(&other.need);
	ovl_need_drop(&other.need);
	assert_int_equal(ovl_fetch(&other.need, NS_NEVER, never, NULL), -EINVAL);
	w->o = ovl_free(w->o);
}

struct caller {
	struct world *w;
	uint64_t root;
	unsigned calls;
};

static void *call_until_stale(void *arg)
{
	struct caller *c = arg;
	struct ovl_req rq = {.unique = 1};
	struct ovl_entry d, f;
	int r;

	for (;; c->calls++) {
		r = ovl_lookup(c->w->o, &rq, c->root, "d", &d);
		if (!r)
			r = ovl_lookup(c->w->o, &rq, d.id, "f", &f);
		if (r)
			return (void *)(intptr_t)r;
		ovl_forget(c->w->o, f.id, 1);
		ovl_forget(c->w->o, d.id, 1);
	}
}

static void test_removed_under_calls(void **state)
{
	struct world *w = *state;
	struct caller c[2] = {
		{.w = w, .root = ovl_ws_root_id(w->ws)}, {.w = w, .root = ovl_ws_root_id(w->ws)}};
	pthread_t t[2];
	void *r;

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, call_until_stale, &c[i]), 0);
	(void)usleep(20000); /* so that calls are under way; right without it too */
	ovl_ws_remove(w->o, w->ws);
	w->ws = NULL;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(t[i], &r), 0);
		assert_int_equal((int)(intptr_t)r, -ESTALE);
	}
	w->o = ovl_free(w->o);
}

static void test_no_memory(void **state)
{
	struct world *w = *state;
	struct ovl_ws *ws;
	struct other x;
	unsigned failed = 0;
	int r;

	for (unsigned n = 0;; n++) {
		other_init(&x, w, "other", 9);
		ws = NULL;
		alloc_fault_arm(n);
		r = ovl_ws_add(w->o, &x.config, &ws, NULL);
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			break;
		}
		failed++;
		if (r == 0) { /* an allocation that can be done without */
			ovl_ws_remove(w->o, ws);
			continue;
		}
		assert_int_equal(r, -ENOMEM);
		x.config.lower->ops->free(x.config.lower);
	}
	assert_true(failed > 5);
	ovl_ws_remove(w->o, ws);
}

static void test_lookup_without_memory(void **state)
{
	struct world *w = *state;
	uint64_t root = ovl_ws_root_id(w->ws);
	struct ovl_entry d, f;
	int r;

	for (unsigned n = 0;; n++) {
		alloc_fault_arm(n);
		r = ovl_lookup(w->o, world_rq(w), root, "d", &d);
		if (r == 0) {
			r = ovl_lookup(w->o, world_rq(w), d.id, "f", &f);
			if (r == 0)
				ovl_forget(w->o, f.id, 1);
			ovl_forget(w->o, d.id, 1);
		}
		if (!alloc_fault_disarm())
			break;
		assert_true(r == 0 || r == -ENOMEM);
	}
	assert_int_equal(r, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_refusals),
		T(test_another_format),
		T(test_two_are_apart),
		T(test_nothing_is_written_for_a_directory_that_goes),
		T(test_an_idle_workspace_holds_two_descriptors),
		T(test_a_need_outlives_the_workspace),
		T(test_removed_under_calls),
		T(test_no_memory),
		T(test_lookup_without_memory),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
