/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switching the lower of a workspace that is in use: what stays, what the kernel is told, what is
 * open, what is being listed, what the upper has; restarts and kills. The two trees are directories
 * of one lower in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fuse/switch.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

#define TREES_MAX 6
#define LATER_NS  (1700000000ull * NS_PER_S)

struct sw_world {
	struct world w;
	struct oid tree[TREES_MAX];
	uint64_t time_ns;
};

static void add(struct sw_world *s, const char *path, const char *content)
{
	fake_lower_add(s->w.fake, path, S_IFREG | 0644, content, strlen(content));
}

static int setup_with(void **state, uint64_t nodes_max)
{
	static const char *const same[] = {"same", "dir/same", "dir/deep/same", "kept/x"};
	struct sw_world *s = calloc(1, sizeof(*s));
	char path[64];

	assert_non_null(s);
	world_init(&s->w);
	s->w.nodes_max = nodes_max;
	for (unsigned i = 0; i < sizeof(same) / sizeof(*same); i++) {
		(void)snprintf(path, sizeof(path), "a/%s", same[i]);
		add(s, path, "same");
		(void)snprintf(path, sizeof(path), "b/%s", same[i]);
		add(s, path, "same");
	}
	add(s, "a/edit", "old");
	add(s, "b/edit", "newer");
	add(s, "a/dir/edit", "old");
	add(s, "b/dir/edit", "newer");
	add(s, "a/dir/gone", "gone");
	add(s, "b/dir/added", "added");
	add(s, "a/lost/x", "x");
	add(s, "a/lost/sub/y", "y");
	add(s, "b/fresh/sub/z", "z");
	add(s, "a/turns", "file");
	add(s, "b/turns/into", "dir");
	(void)fake_lower_seal(s->w.fake);
	s->tree[0] = fake_lower_oid(s->w.fake, "a");
	s->tree[1] = fake_lower_oid(s->w.fake, "b");
	s->time_ns = LATER_NS;
	s->w.root = s->tree[0];
	world_open(&s->w);
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 0);
}

/* Directories of the lower alone are given up as soon as nobody uses them. */
static int setup_few(void **state)
{
	return setup_with(state, 1);
}

static int teardown(void **state)
{
	struct sw_world *s = *state;

	world_fini(&s->w);
	free(s);
	return 0;
}

static void switch_dropping(struct sw_world *s, unsigned to, bool (*drop)(void *, const char *),
	struct ovl_switched *ret)
{
	const struct ovl_switch_config config = {.ws = s->w.ws,
		.root = &s->tree[to],
		.time_ns = s->time_ns++,
		.drop = drop,
		.deadline_ns = clock_after(&clock_system, 5 * NS_PER_S)};

	assert_int_equal(ovl_switch(s->w.o, &config, ret), 0);
	s->w.root = s->tree[to];
}

static void switch_to(struct sw_world *s, unsigned to)
{
	struct ovl_switched done;

	switch_dropping(s, to, NULL, &done);
	ovl_switched_fini(&done);
}

static void walk_all(struct sw_world *s)
{
	free(world_dump(&s->w));
}

/* Content by id, as a reader of an open file gets it. */
static void assert_reads(struct sw_world *s, uint64_t id, const char *want)
{
	char data[64] = "";
	ssize_t n = ovl_read(s->w.o, world_rq(&s->w), id, data, sizeof(data) - 1, 0);

	assert_int_equal(n, strlen(want));
	assert_string_equal(data, want);
}

static void assert_content(struct sw_world *s, const char *path, const char *want)
{
	struct world_at at;

	assert_int_equal(world_walk(&s->w, path, &at), 0);
	assert_reads(s, at.e.id, want);
	world_forget(&s->w, &at);
}

/* ---- what is seen ---- */

static void test_the_new_tree_is_shown(void **state)
{
	struct sw_world *s = *state;

	walk_all(s);
	switch_to(s, 1);
	assert_content(s, "edit", "newer");
	assert_content(s, "dir/edit", "newer");
	assert_content(s, "dir/added", "added");
	assert_content(s, "fresh/sub/z", "z");
	assert_content(s, "turns/into", "dir");
	assert_int_equal(world_id(&s->w, "dir/gone"), 0);
	assert_int_equal(world_id(&s->w, "lost"), 0);
	switch_to(s, 0);
	assert_content(s, "dir/gone", "gone");
	assert_content(s, "turns", "file");
	assert_int_equal(world_id(&s->w, "fresh"), 0);
}

static void test_inode_numbers_stay_for_paths_that_stay(void **state)
{
	static const char *const stay[] = {
		"same", "dir", "dir/same", "dir/deep", "dir/deep/same", "kept", "kept/x"};
	struct sw_world *s = *state;
	uint64_t before[7];
	uint64_t edit = world_id(&s->w, "dir/edit");

	for (unsigned i = 0; i < 7; i++)
		before[i] = world_id(&s->w, stay[i]);
	for (unsigned round = 1; round < 5; round++) {
		switch_to(s, round % 2);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(world_id(&s->w, stay[i]), before[i]);
		assert_int_not_equal(world_id(&s->w, "dir/edit"), edit);
	}
	world_close(&s->w);
	world_open(&s->w);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(world_id(&s->w, stay[i]), before[i]);
}

static void test_what_changed_is_newer_and_what_stayed_is_not(void **state)
{
	struct sw_world *s = *state;
	struct stat st;

	walk_all(s);
	switch_to(s, 1);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(world_stat(&s->w, "dir/same", &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, WORLD_TIME_S);
		assert_int_equal(world_stat(&s->w, "dir/edit", &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, LATER_NS / NS_PER_S);
		assert_int_equal(world_stat(&s->w, "dir", &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, LATER_NS / NS_PER_S);
		world_close(&s->w);
		world_open(&s->w);
	}
}

static void test_an_open_file_keeps_what_it_was(void **state)
{
	struct sw_world *s = *state;
	struct world_at edit, gone, lost;
	struct stat st;

	assert_int_equal(world_walk(&s->w, "dir/edit", &edit), 0);
	assert_int_equal(world_walk(&s->w, "dir/gone", &gone), 0);
	assert_int_equal(world_walk(&s->w, "lost/sub/y", &lost), 0);
	switch_to(s, 1);
	assert_reads(s, edit.e.id, "old");
	assert_reads(s, gone.e.id, "gone");
	assert_reads(s, lost.e.id, "y");
	assert_int_equal(ovl_getattr(s->w.o, world_rq(&s->w), gone.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_getattr(s->w.o, world_rq(&s->w), edit.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	world_forget(&s->w, &edit);
	world_forget(&s->w, &gone);
	world_forget(&s->w, &lost);
	world_check_usage(&s->w);
}

static void test_a_write_to_an_open_file_that_was_switched_away_hits_nobody(void **state)
{
	static const char *const paths[] = {"dir/edit", "dir/gone", "lost/sub/y"};
	struct sw_world *s = *state;
	struct world_at at[3];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_walk(&s->w, paths[i], &at[i]), 0);
	switch_to(s, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(
			ovl_write(s->w.o, world_rq(&s->w), at[i].e.id, "W", 1, 0, false), 1);
		world_forget(&s->w, &at[i]);
	}
	assert_content(s, "dir/edit", "newer");
	assert_int_equal(world_id(&s->w, "dir/gone"), 0);
	assert_int_equal(world_count_in(&s->w, "work/orphan"), 0);
	world_check_usage(&s->w);
}

/* ---- what the kernel is told ---- */

static bool is_told(
	const struct ovl_switched *done, uint64_t parent, const char *name, uint64_t child)
{
	for (size_t i = 0; i < done->notice_count; i++) {
		const struct ovl_notice *n = &done->notices[i];

		if (n->parent == parent && n->child == child && !n->name == !name &&
			(!name || strcmp(n->name, name) == 0))
			return true;
	}
	return false;
}

static void test_the_kernel_is_told_what_differs_and_no_more(void **state)
{
	struct sw_world *s = *state;
	struct world_at edit, same, lost;
	struct ovl_switched done;
	uint64_t dir, root = ovl_ws_root_id(s->w.ws);

	assert_int_equal(world_walk(&s->w, "dir/edit", &edit), 0);
	assert_int_equal(world_walk(&s->w, "kept/x", &same), 0);
	assert_int_equal(world_walk(&s->w, "lost/x", &lost), 0);
	ovl_refs_add(s->w.ws, OVL_LOCAL_ROOT, 1); /* as after the lookup of its name */
	dir = edit.up[0];
	switch_dropping(s, 1, NULL, &done);
	assert_true(is_told(&done, dir, "edit", edit.e.id));
	assert_true(is_told(&done, dir, "added", 0));
	assert_true(is_told(&done, dir, NULL, 0));
	assert_false(is_told(&done, dir, "gone", 0)); /* it was never looked up */
	assert_true(is_told(&done, root, "fresh", 0));
	assert_true(is_told(&done, root, "lost", lost.up[0]));
	assert_true(is_told(&done, lost.up[0], "x", lost.e.id));
	for (size_t i = 0; i < done.notice_count; i++)
		assert_int_not_equal(done.notices[i].parent, same.up[0]);
	/* root: itself, fresh, lost; dir: itself, edit, added; lost: x */
	assert_int_equal(done.notice_count, 7);
	/* what was in a directory goes before it */
	for (size_t i = 0, seen = 0; i < done.notice_count; i++) {
		seen += done.notices[i].parent == lost.up[0];
		if (done.notices[i].child == lost.up[0])
			assert_int_equal(seen, 1);
	}
	ovl_switched_fini(&done);
	world_forget(&s->w, &edit);
	world_forget(&s->w, &same);
	world_forget(&s->w, &lost);
}

static void test_a_removed_directory_is_dead_for_who_stands_in_it(void **state)
{
	struct sw_world *s = *state;
	struct world_at sub;
	struct ovl_entry e;
	struct stat st;

	assert_int_equal(world_walk(&s->w, "lost/sub", &sub), 0);
	assert_int_not_equal(world_id(&s->w, "lost/sub/y"), 0);
	walk_all(s); /* looks long enough for the directory to be given up, where few are kept */
	switch_to(s, 1);
	assert_int_equal(ovl_lookup(s->w.o, world_rq(&s->w), sub.e.id, "y", &e), -ENOENT);
	assert_int_equal(
		ovl_create(s->w.o, world_rq(&s->w), sub.e.id, "n", 0644, O_EXCL, &e), -ENOENT);
	assert_int_equal(ovl_getattr(s->w.o, world_rq(&s->w), sub.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	world_forget(&s->w, &sub);
}

/* ---- listings ---- */

struct some {
	unsigned room, count;
	uint64_t next;
	char names[16][32];
};

static int take(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next)
{
	struct some *l = arg;

	(void)entry;
	if (!l->room)
		return 1;
	l->room--;
	l->next = next;
	if (name[0] != '.')
		(void)snprintf(l->names[l->count++], sizeof(l->names[0]), "%s", name);
	return 0;
}

static bool has(const struct some *l, const char *name)
{
	unsigned count = 0;

	for (unsigned i = 0; i < l->count; i++)
		count += strcmp(l->names[i], name) == 0;
	assert_true(count <= 1);
	return count == 1;
}

static void list_on(struct sw_world *s, uint64_t id, struct some *l, unsigned calls)
{
	for (unsigned i = 0; i < calls; i++) {
		l->room = 1;
		assert_int_equal(
			ovl_readdir(s->w.o, world_rq(&s->w), id, l->next, false, take, l), 0);
	}
}

static void test_a_listing_that_was_begun_goes_on_as_it_was(void **state)
{
	struct sw_world *s = *state;
	struct world_at dir;

	world_put(&s->w, "dir/mine", "mine");
	assert_int_equal(world_walk(&s->w, "dir", &dir), 0);
	for (unsigned begun = 3; begun < 8; begun++) { /* two calls are the dots */
		struct some old = {.count = 0}, new = {.count = 0};

		list_on(s, dir.e.id, &old, begun);
		switch_to(s, 1);
		list_on(s, dir.e.id, &old, 10);
		list_on(s, dir.e.id, &new, 12);
		assert_true(has(&old, "gone") && has(&old, "edit") && has(&old, "mine"));
		assert_true(has(&old, "same") && has(&old, "deep") && !has(&old, "added"));
		assert_int_equal(old.count, 5);
		assert_true(has(&new, "added") && has(&new, "mine") && !has(&new, "gone"));
		assert_int_equal(new.count, 5);
		switch_to(s, 0);
	}
	world_forget(&s->w, &dir);
}

/* ---- the upper ---- */

static void test_what_the_upper_has_stays_on_top(void **state)
{
	struct sw_world *s = *state;

	walk_all(s);
	assert_int_equal(world_write(&s->w, "edit", "mine!", 5, 0), 5);
	world_put(&s->w, "dir/added", "mine too");
	assert_int_equal(world_remove(&s->w, "dir/edit", false), 0);
	world_put(&s->w, "lost/mine", "m");
	assert_int_equal(world_make(&s->w, WORLD_DIR, "fresh", 0755, NULL), 0);
	world_put(&s->w, "fresh/own", "o");
	assert_int_equal(world_rename(&s->w, "kept", "moved", 0), 0);
	switch_to(s, 1);
	assert_content(s, "edit", "mine!");
	assert_content(s, "dir/added", "mine too");
	assert_int_equal(world_id(&s->w, "dir/edit"), 0);
	assert_content(s, "lost/mine", "m");
	assert_int_equal(world_id(&s->w, "lost/x"), 0);
	assert_content(s, "fresh/own", "o");
	assert_content(s, "fresh/sub/z", "z");
	assert_content(s, "moved/x", "same");
	assert_int_equal(world_id(&s->w, "kept"), 0);
	switch_to(s, 0);
	assert_content(s, "lost/x", "x");
	assert_int_equal(world_id(&s->w, "fresh/sub"), 0);
	assert_content(s, "fresh/own", "o");
	world_check_usage(&s->w);
}

static void test_directories_keep_their_numbers_when_a_lower_comes_and_goes(void **state)
{
	struct sw_world *s = *state;
	uint64_t fresh, lost;

	world_put(&s->w, "lost/mine", "m");
	assert_int_equal(world_make(&s->w, WORLD_DIR, "fresh", 0755, NULL), 0);
	fresh = world_id(&s->w, "fresh");
	lost = world_id(&s->w, "lost");
	for (unsigned round = 1; round < 6; round++) {
		switch_to(s, round % 2);
		assert_int_equal(world_id(&s->w, "fresh"), fresh);
		assert_int_equal(world_id(&s->w, "lost"), lost);
		if (round == 3) {
			world_close(&s->w);
			world_open(&s->w);
		}
	}
}

static bool drop_edit(void *arg, const char *path)
{
	(void)arg;
	return strcmp(path, "dir/edit") == 0 || strcmp(path, "edit") == 0;
}

static void test_what_is_dropped_gives_its_quota_back(void **state)
{
	struct sw_world *s = *state;
	struct ovl_switched done;
	struct world_at open;
	uint64_t used;

	walk_all(s);
	assert_int_equal(world_remove(&s->w, "edit", false), 0);
	used = quota_used(&s->w.quota, QUOTA_BYTES);
	assert_int_equal(world_write(&s->w, "dir/edit", "newer", 5, 0), 5);
	assert_int_equal(world_walk(&s->w, "dir/edit", &open), 0);
	switch_dropping(s, 1, drop_edit, &done);
	assert_int_equal(done.dropped, 2);
	assert_true(is_told(&done, open.up[0], "edit", open.e.id));
	ovl_switched_fini(&done);
	assert_content(s, "edit", "newer");
	assert_content(s, "dir/edit", "newer");
	assert_int_equal(ovl_write(s->w.o, world_rq(&s->w), open.e.id, "W", 1, 0, false), 1);
	assert_content(s, "dir/edit", "newer");
	world_forget(&s->w, &open);
	assert_int_equal(quota_used(&s->w.quota, QUOTA_BYTES), used);
	world_check_usage(&s->w);
}

/* ---- failures ---- */

static void count_done(void *arg, int result)
{
	assert_int_equal(result, 0);
	++*(unsigned *)arg;
}

static void test_missing_trees_are_named_and_nothing_has_changed(void **state)
{
	struct sw_world *s = *state;
	struct ovl_switched done;
	struct ovl_switch_config config = {.ws = s->w.ws,
		.root = &s->tree[1],
		.time_ns = LATER_NS,
		.deadline_ns = clock_after(&clock_system, 5 * NS_PER_S)};
	unsigned fetched = 0, rounds = 0;
	int r;

	walk_all(s);
	fake_lower_set_missing(s->w.fake, true, false, false);
	while ((r = ovl_switch(s->w.o, &config, &done)) == -EAGAIN) {
		unsigned want = fetched + (unsigned)done.missing_count;

		assert_true(done.missing_count > 0 && ++rounds < 10);
		assert_int_equal(done.notice_count, 0);
		assert_true(oid_equal(&s->w.ws->root_tree, &s->tree[0]));
		for (size_t i = 0; i < done.missing_count; i++)
			assert_int_equal(ovl_switch_fetch(s->w.ws, &done.missing[i],
						 config.deadline_ns, count_done, &fetched),
				0);
		assert_int_equal(fetched, want);
		ovl_switched_fini(&done);
	}
	assert_int_equal(r, 0);
	assert_true(rounds > 1);
	ovl_switched_fini(&done);
	s->w.root = s->tree[1];
}

static void test_a_call_that_does_not_end_stops_a_switch_and_nothing_else(void **state)
{
	struct sw_world *s = *state;
	struct ovl_switched done;
	struct ovl_switch_config config = {.ws = s->w.ws,
		.root = &s->tree[1],
		.time_ns = LATER_NS,
		.deadline_ns = clock_after(&clock_system, 30 * NS_PER_MS)};

	ovl_enter(s->w.o);
	assert_int_equal(ovl_switch(s->w.o, &config, &done), -EBUSY);
	ovl_switched_fini(&done);
	assert_content(s, "edit", "old");
	ovl_leave(s->w.o);
	switch_to(s, 1);
}

static const char *crash_at;

static void crash(struct ovl_ws *ws, const char *point)
{
	(void)ws;
	if (strcmp(point, crash_at) == 0)
		(void)raise(SIGKILL);
}

/* In a process of its own, which is killed there. The next one asks for the old root, with the new
 * one as where it may be. */
static void kill_in_switch(struct sw_world *s, const char *point)
{
	pid_t pid;
	int status;

	crash_at = point;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		world_open(&s->w);
		walk_all(s);
		s->w.ws->crash_hook = crash;
		switch_to(s, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_a_kill_leaves_the_old_or_the_new_view(void **state)
{
	static const char *const points[] = {"switch:runs", "switch:recorded"};
	struct sw_world *s = *state;
	uint64_t same = world_id(&s->w, "dir/same");

	world_close(&s->w);
	for (unsigned i = 0; i < 2; i++) {
		kill_in_switch(s, points[i]);
		s->w.switched = s->tree[1];
		world_open(&s->w);
		assert_content(s, "dir/edit", i ? "newer" : "old");
		assert_int_equal(world_id(&s->w, "dir/same"), same);
		assert_true(oid_equal(&s->w.ws->root_tree, &s->tree[i]));
		switch_to(s, 1);
		assert_content(s, "dir/added", "added");
		assert_int_equal(world_id(&s->w, "dir/same"), same);
		switch_to(s, 0);
		s->w.switched = (struct oid){0};
		world_close(&s->w);
	}
	world_open(&s->w);
}

static void test_what_was_not_told_before_a_kill_is_told_after(void **state)
{
	struct sw_world *s = *state;
	struct ovl_switched done;
	uint64_t root = ovl_ws_root_id(s->w.ws), dir;
	const struct ovl_switch_config config = {.ws = s->w.ws,
		.root = &s->tree[1],
		.deadline_ns = clock_after(&clock_system, 5 * NS_PER_S)};
	struct world_at same;

	walk_all(s);
	assert_int_equal(world_walk(&s->w, "dir/same", &same), 0);
	dir = same.up[0];
	ovl_refs_add(s->w.ws, OVL_LOCAL_ROOT, 1); /* as after the lookup of its name */
	switch_to(s, 1);
	assert_int_equal(ovl_switch_recall(s->w.o, &config, &s->tree[0], &done), 0);
	assert_true(is_told(&done, dir, "edit", 0) && is_told(&done, dir, "gone", 0));
	assert_true(is_told(&done, dir, "added", 0) && is_told(&done, dir, NULL, 0));
	assert_true(is_told(&done, root, "lost", 0) && is_told(&done, root, "turns", 0));
	assert_false(is_told(&done, dir, "same", 0) || is_told(&done, root, "dir", 0));
	ovl_switched_fini(&done);
	assert_content(s, "dir/edit", "newer");
	world_forget(&s->w, &same);
}

static void test_a_thousand_switches_do_not_fill_the_journal(void **state)
{
	struct sw_world *s = *state;

	walk_all(s);
	for (unsigned i = 1; i <= 1000; i++)
		switch_to(s, i % 2);
	assert_int_equal(world_id(&s->w, "dir/added"), 0);
	/* 8 entries come new with each: their parts stay, the runs do not */
	assert_true(s->w.ws->journal && ovl_journal_bytes(s->w.ws) < 2u << 20);
	walk_all(s);
	world_close(&s->w);
	world_open(&s->w);
	assert_content(s, "dir/edit", "old");
}

#define ALL(T)                                                             \
	T(test_the_new_tree_is_shown)                                      \
	T(test_inode_numbers_stay_for_paths_that_stay)                     \
	T(test_what_changed_is_newer_and_what_stayed_is_not)               \
	T(test_an_open_file_keeps_what_it_was)                             \
	T(test_a_write_to_an_open_file_that_was_switched_away_hits_nobody) \
	T(test_the_kernel_is_told_what_differs_and_no_more)                \
	T(test_a_removed_directory_is_dead_for_who_stands_in_it)           \
	T(test_a_listing_that_was_begun_goes_on_as_it_was)                 \
	T(test_what_the_upper_has_stays_on_top)                            \
	T(test_directories_keep_their_numbers_when_a_lower_comes_and_goes) \
	T(test_what_is_dropped_gives_its_quota_back)                       \
	T(test_missing_trees_are_named_and_nothing_has_changed)            \
	T(test_a_call_that_does_not_end_stops_a_switch_and_nothing_else)   \
	T(test_a_kill_leaves_the_old_or_the_new_view)                      \
	T(test_what_was_not_told_before_a_kill_is_told_after)              \
	T(test_a_thousand_switches_do_not_fill_the_journal)
#define USUAL(f) cmocka_unit_test_setup_teardown(f, setup, teardown),
#define FEW(f)   cmocka_unit_test_setup_teardown(f, setup_few, teardown),

int main(void)
{
	const struct CMUnitTest tests[] = {ALL(USUAL) ALL(FEW)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
