/* SPDX-License-Identifier: Apache-2.0 */
/* Ids after a crash: what the kernel knew keeps its id, wherever it is and however deep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <sys/wait.h>

#define DEEP 300

static const char *const paths[] = {"low", "low/file", "low/new", "low/sub", "low/sub/deep",
	"low/sub/made", "low/sub/made/below", "moved", "moved/inside", "moved/inside/leaf",
	"moved/added", "top", "plain", "second"};
#define COUNT (sizeof(paths) / sizeof(paths[0]))

static void build(struct world *w)
{
	assert_int_equal(world_write(w, "low/file", "x", 1, 0), 1);
	world_put(w, "low/new", "new");
	assert_int_equal(world_write(w, "low/sub/deep", "x", 1, 0), 1);
	assert_int_equal(world_make(w, WORLD_DIR, "low/sub/made", 0755, NULL), 0);
	world_put(w, "low/sub/made/below", "below");
	assert_int_equal(world_rename(w, "tree", "moved", 0), 0);
	assert_int_equal(world_write(w, "moved/inside/leaf", "x", 1, 0), 1);
	world_put(w, "moved/added", "added");
	world_put(w, "plain", "plain");
	assert_int_equal(world_link(w, "plain", "second"), 0);
}

/* By the process after that one: directories at their own place have no mark, but
 * that of the first process. */
static void build_more(struct world *w)
{
	assert_int_equal(world_remove(w, "low/new", false), 0);
	world_put(w, "low/new", "newer");
	assert_int_equal(world_remove(w, "low/sub/made/below", false), 0);
	world_put(w, "low/sub/made/below", "newer");
	assert_int_equal(world_write(w, "top", "x", 1, 0), 1);
}

/* Depth levels below one another; the deepest stays known, and so does all above it. */
static void descend(struct world *w, unsigned depth, uint64_t *ret_id)
{
	uint64_t id = ovl_ws_root_id(w->ws);
	struct ovl_entry e;

	for (unsigned i = 0; i < depth; i++) {
		int r = ovl_lookup(w->o, world_rq(w), id, "deep", &e);

		if (r == -ENOENT)
			r = ovl_mkdir(w->o, world_rq(w), id, "deep", 0755, &e);
		assert_int_equal(r, 0);
		id = e.id;
	}
	*ret_id = id;
}

struct ids {
	uint64_t id[COUNT], bottom;
};

/* In a process of its own, which ends without a word and with everything known to its kernel. */
static void crash(struct world *w, void (*change)(struct world *w), struct ids *ret_ids)
{
	int answer[2], status;
	pid_t pid;

	assert_int_equal(pipe(answer), 0);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct ids ids;
		struct world_at at;

		world_open(w);
		change(w);
		for (size_t i = 0; i < COUNT; i++) {
			assert_int_equal(world_walk(w, paths[i], &at), 0);
			ids.id[i] = at.e.id; /* never forgotten */
		}
		descend(w, DEEP, &ids.bottom);
		_exit(write(answer[1], &ids, sizeof(ids)) == (ssize_t)sizeof(ids) ? 0 : 1);
	}
	(void)close(answer[1]);
	assert_int_equal(read(answer[0], ret_ids, sizeof(*ret_ids)), sizeof(*ret_ids));
	(void)close(answer[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void open_lower(struct world *w)
{
	world_init(w);
	fake_lower_add(w->fake, "low/file", S_IFREG | 0644, "file", 4);
	fake_lower_add(w->fake, "low/sub/deep", S_IFREG | 0644, "deep", 4);
	fake_lower_add(w->fake, "tree/inside/leaf", S_IFREG | 0644, "leaf", 4);
	fake_lower_add(w->fake, "top", S_IFREG | 0644, "top", 3);
	w->root = fake_lower_seal(w->fake);
}

static void assert_ids(struct world *w, const struct ids *ids)
{
	uint64_t bottom;

	world_open(w);
	for (size_t i = 0; i < COUNT; i++)
		if (world_id(w, paths[i]) != ids->id[i])
			fail_msg("%s has another id", paths[i]);
	descend(w, DEEP, &bottom);
	assert_int_equal(bottom, ids->bottom);
	world_check_usage(w);
	world_close(w);
}

static void ids_stay_after_a_crash(void **state)
{
	struct world w;
	struct ids ids;

	(void)state;
	open_lower(&w);
	crash(&w, build, &ids);
	assert_ids(&w, &ids);
	crash(&w, build_more, &ids);
	assert_ids(&w, &ids);
	world_fini(&w);
}

static void ids_stay_after_an_orderly_end_and_a_crash(void **state)
{
	struct world w;
	struct ids ids;

	(void)state;
	open_lower(&w);
	world_open(&w);
	build(&w);
	world_close(&w);
	crash(&w, build_more, &ids);
	assert_ids(&w, &ids);
	world_fini(&w);
}

/* Another object has the name now: the id is not its. */
static void an_id_is_not_given_to_another(void **state)
{
	char from[300], to[300];
	struct world w;
	struct ids ids;

	(void)state;
	open_lower(&w);
	crash(&w, build, &ids);
	assert_int_equal(mkdir(tmpdir_path(&w.tmp, "ws/upper/other", to, sizeof(to)), 0755), 0);
	(void)tmpdir_path(&w.tmp, "ws/upper/low/new", from, sizeof(from));
	assert_int_equal(unlink(from), 0);
	assert_int_equal(rename(to, from), 0); /* a directory where a file was */
	world_open(&w);
	for (size_t i = 0; i < COUNT; i++)
		if (strcmp(paths[i], "low/new") == 0)
			assert_int_not_equal(world_id(&w, paths[i]), ids.id[i]);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_stay_after_a_crash),
		cmocka_unit_test(ids_stay_after_an_orderly_end_and_a_crash),
		cmocka_unit_test(an_id_is_not_given_to_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
