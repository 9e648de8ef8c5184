/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is killed at every stage of every change. A child opens the workspace and kills
 * itself (SIGKILL) at the n-th stage of one operation, for n = 1, 2, ... until the operation ends
 * by itself. Each time the parent opens what is left and finds the old state or the new one,
 * nothing else; the usage equals a recount; work/tmp and work/orphan are empty; what is found can
 * be used (every name can be removed).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "ovl_crash.h"

/* ---- the child ---- */

struct operation {
	const char *name;
	void (*before)(struct world *w); /* what must be there in the upper */
	int (*run)(struct world *w);
};

/* True if it died, false if it reached the end. */
static bool die_at_stage(struct world *w, const struct operation *op, unsigned stage)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		world_open(w);
		crash_arm(w, stage);
		_exit(op->run(w) == 0 ? 0 : 1);
	}
	return crash_died(pid, op->name);
}

/* ---- the parent ---- */

static char *state_after(const struct operation *op, bool run)
{
	struct world w;
	char *dump;

	crash_set_up(&w, op->before);
	world_open(&w);
	if (run)
		assert_int_equal(op->run(&w), 0);
	dump = world_dump(&w);
	world_fini(&w);
	return dump;
}

static void remove_all(struct world *w, const char *path)
{
	struct world_names l = {.count = 0};
	struct world_at at;

	assert_int_equal(world_walk(w, path, &at), 0);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), at.e.id, 0, false, world_fill, &l), 0);
	world_forget(w, &at);
	for (size_t i = 0; i < l.count; i++) {
		struct stat st;
		char sub[512];

		(void)snprintf(sub, sizeof(sub), "%s%s%s", path, *path ? "/" : "", l.name[i]);
		assert_int_equal(world_stat(w, sub, &st), 0);
		if (S_ISDIR(st.st_mode))
			remove_all(w, sub);
		assert_int_equal(world_remove(w, sub, S_ISDIR(st.st_mode)), 0);
		free(l.name[i]);
	}
}

static void check_left(struct world *w, const char *what, const char *old, const char *new)
{
	char *now = world_dump(w);

	if (strcmp(now, old) != 0 && strcmp(now, new) != 0)
		fail_msg("%s: neither old nor new\n--- old\n%s\n--- new\n%s\n--- is\n%s", what, old,
			new, now);
	free(now);
	world_check_usage(w);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	remove_all(w, "");
	world_check_usage(w);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
}

static void kill_everywhere(const struct operation *op)
{
	char *old = state_after(op, false), *new = state_after(op, true);
	bool died = true;
	unsigned stage;

	for (stage = 1; died && stage < STAGES_MAX; stage++) {
		struct world w;
		char what[100];

		(void)snprintf(what, sizeof(what), "%s, killed at stage %u", op->name, stage);
		crash_set_up(&w, op->before);
		died = die_at_stage(&w, op, stage);
		world_open(&w);
		check_left(&w, what, old, new);
		world_fini(&w);
	}
	assert_false(died);
	assert_true(stage > 2); /* the operation has stages at all */
	free(old);
	free(new);
}

/* ---- operations ---- */

static int create_fresh(struct world *w)
{
	w->rq.uid = 1000;
	w->rq.gid = 1001;
	return world_make(w, WORLD_FILE, "low/new", 0640, NULL);
}

static int create_over_whiteout(struct world *w)
{
	return world_make(w, WORLD_FILE, "top", 0640, NULL);
}

static void without_top(struct world *w)
{
	assert_int_equal(world_remove(w, "top", false), 0);
}

static int mkdir_fresh(struct world *w)
{
	w->rq.uid = 1000;
	return world_make(w, WORLD_DIR, "low/sub/new", 0750, NULL);
}

static void without_sub(struct world *w)
{
	assert_int_equal(world_remove(w, "low/sub/deep", false), 0);
	assert_int_equal(world_remove(w, "low/sub", true), 0);
}

static int mkdir_over_whiteout(struct world *w)
{
	return world_make(w, WORLD_DIR, "low/sub", 0700, NULL);
}

static int symlink_fresh(struct world *w)
{
	w->rq.uid = 1000;
	return world_symlink(w, "s", "low/file");
}

static int fifo_fresh(struct world *w)
{
	w->rq.uid = 1000;
	return world_make(w, WORLD_FIFO, "low/fifo", 0600, NULL);
}

static int unlink_lower(struct world *w)
{
	return world_remove(w, "low/file", false);
}

static int write_lower(struct world *w)
{
	/* the copy-up and the write are two changes; only the first has stages */
	return world_write(w, "low/file", "lower content", 13, 0) == 13 ? 0 : -EIO;
}

static void with_file(struct world *w)
{
	world_put(w, "mine", "my own bytes");
}

static int unlink_upper(struct world *w)
{
	return world_remove(w, "mine", false);
}

static void with_copy(struct world *w)
{
	assert_int_equal(world_write(w, "low/file", "L", 1, 0), 1);
}

static int unlink_copied(struct world *w)
{
	return world_remove(w, "low/file", false);
}

/* The kernel knows the file and never forgets it. */
static int keep_in_use(struct world *w, const char *path)
{
	struct world_at at;
	int r = world_walk(w, path, &at);

	if (r == 0)
		free(at.up);
	return r;
}

static int unlink_copied_in_use(struct world *w)
{
	return keep_in_use(w, "low/file") < 0 ? -EIO : world_remove(w, "low/file", false);
}

static void with_links(struct world *w)
{
	with_file(w);
	assert_int_equal(world_link(w, "mine", "low/other"), 0);
}

static int unlink_linked(struct world *w)
{
	return world_remove(w, "low/other", false);
}

static void with_last_link(struct world *w)
{
	with_links(w);
	assert_int_equal(world_remove(w, "low/other", false), 0);
}

static int rmdir_lower(struct world *w)
{
	return world_remove(w, "empty", true);
}

static void with_whiteouts(struct world *w)
{
	assert_int_equal(world_remove(w, "low/sub/deep", false), 0);
}

static int rmdir_merged(struct world *w)
{
	return world_remove(w, "low/sub", true);
}

static int link_upper(struct world *w)
{
	return world_link(w, "mine", "low/other");
}

static int link_lower_over_whiteout(struct world *w)
{
	return world_link(w, "low/file", "top");
}

static int rename_lower(struct world *w)
{
	return world_rename(w, "low/file", "low/renamed", 0);
}

static int rename_over(struct world *w)
{
	return world_rename(w, "mine", "low/file", 0);
}

static void with_both(struct world *w)
{
	with_file(w);
	with_copy(w);
}

static int rename_over_in_use(struct world *w)
{
	return keep_in_use(w, "low/file") < 0 ? -EIO : world_rename(w, "mine", "low/file", 0);
}

static int rename_lower_dir(struct world *w)
{
	return world_rename(w, "low", "elsewhere", 0);
}

static int rename_dir_over_whiteout(struct world *w)
{
	return world_rename(w, "low", "top", 0);
}

static int rename_dir_over_emptied(struct world *w)
{
	return world_rename(w, "empty", "low/sub", 0);
}

static int exchange(struct world *w)
{
	return world_rename(w, "low", "top", RENAME_EXCHANGE);
}

static int truncate_lower(struct world *w)
{
	/* copy-up without data and truncation are one visible change: the copy is empty already */
	return world_setattr(w, "low/file", &(struct stat){.st_size = 0}, OVL_SET_SIZE);
}

static int tmpfile_linked(struct world *w)
{
	struct ovl_entry e, named;
	int r = ovl_tmpfile(w->o, world_rq(w), ovl_ws_root_id(w->ws), 0600, &e);

	return r < 0 ? r
		     : ovl_link(w->o, world_rq(w), e.id, ovl_ws_root_id(w->ws), "named", &named);
}

static const struct operation operations[] = {
	{"create", NULL, create_fresh},
	{"create over a whiteout", without_top, create_over_whiteout},
	{"mkdir", NULL, mkdir_fresh},
	{"mkdir over a whiteout", without_sub, mkdir_over_whiteout},
	{"symlink", NULL, symlink_fresh},
	{"mknod", NULL, fifo_fresh},
	{"copy-up", NULL, write_lower},
	{"truncate", NULL, truncate_lower},
	{"unlink of a lower file", NULL, unlink_lower},
	{"unlink of an upper file", with_file, unlink_upper},
	{"unlink of a copied file", with_copy, unlink_copied},
	{"unlink of a copied file in use", with_copy, unlink_copied_in_use},
	{"unlink of one of two names", with_links, unlink_linked},
	{"unlink of the last of two names", with_last_link, unlink_upper},
	{"rmdir of a lower directory", NULL, rmdir_lower},
	{"rmdir of a merged directory", with_whiteouts, rmdir_merged},
	{"link", with_file, link_upper},
	{"link of a lower file over a whiteout", without_top, link_lower_over_whiteout},
	{"link of a tmpfile", NULL, tmpfile_linked},
	{"link of a tmpfile over nothing", with_file, tmpfile_linked},
	{"rename of a lower file", NULL, rename_lower},
	{"rename over a lower file", with_file, rename_over},
	{"rename over a file in use", with_both, rename_over_in_use},
	{"rename of a lower directory", NULL, rename_lower_dir},
	{"rename of a directory over a whiteout", without_top, rename_dir_over_whiteout},
	{"rename over a directory of whiteouts", with_whiteouts, rename_dir_over_emptied},
	{"exchange", NULL, exchange},
};

static void every_stage_of_every_change_leaves_old_or_new(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		kill_everywhere(&operations[i]);
}

static void ids_survive_a_kill(void **state)
{
	struct operation op = {"nothing", with_both, NULL};
	uint64_t mine, copied, deep;
	struct world w;
	pid_t pid;

	(void)state;
	crash_set_up(&w, op.before);
	world_open(&w);
	mine = world_id(&w, "mine");
	copied = world_id(&w, "low/file");
	deep = world_id(&w, "low/sub/deep");
	world_close(&w);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct world_at at, at2;

		world_open(&w);
		/* known to the kernel, so the id is in the journal only */
		if (world_walk(&w, "mine", &at) < 0 ||
			world_make(&w, WORLD_FILE, "fresh", 0600, &at2) < 0 ||
			world_rename(&w, "low", "moved", 0) < 0)
			_exit(1);
		_exit((int)(at2.e.id & 0x7f)); /* without closing anything: as if killed */
	}
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_open(&w);
	assert_int_equal(world_id(&w, "mine"), mine);
	assert_int_equal(world_id(&w, "fresh") & 0x7f, WEXITSTATUS(status));
	assert_int_equal(world_id(&w, "moved/file"), copied);
	assert_int_equal(world_id(&w, "moved/sub/deep"), deep);
	world_fini(&w);
}

#define NAMES 8 /* whichever of two records comes first: not always the right one */

static void with_names(struct world *w)
{
	for (unsigned i = 0; i < NAMES; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%u", i); /* fits */
		world_put(w, name, "old");
	}
}

/* A second name for the file, which loses its first one to a new file. */
static int give_name_away(struct world *w, unsigned i, uint64_t *ret_old, uint64_t *ret_new)
{
	struct world_at old, new;
	char name[16], other[16];
	int r;

	(void)snprintf(name, sizeof(name), "n%u", i); /* fits, as the next */
	(void)snprintf(other, sizeof(other), "other%u", i);
	r = world_walk(w, name, &old);
	if (r == 0)
		r = world_link(w, name, other);
	if (r == 0)
		r = world_remove(w, name, false);
	if (r == 0)
		r = world_make(w, WORLD_FILE, name, 0600, &new);
	if (r == 0) {
		*ret_old = old.e.id;
		*ret_new = new.e.id;
	}
	return r;
}

static void a_new_file_with_the_name_of_a_linked_one_keeps_its_id(void **state)
{
	uint64_t *ids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world w;
	int status;
	pid_t pid;

	(void)state;
	assert_true(ids != MAP_FAILED);
	crash_set_up(&w, with_names);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		world_open(&w);
		for (unsigned i = 0; i < NAMES; i++)
			if (give_name_away(&w, i, &ids[2 * i], &ids[2 * i + 1]) < 0)
				_exit(1);
		_exit(0); /* without closing anything: as if killed */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	world_open(&w);
	for (unsigned i = 0; i < NAMES; i++) {
		char name[16], other[16];

		(void)snprintf(name, sizeof(name), "n%u", i); /* as above */
		(void)snprintf(other, sizeof(other), "other%u", i);
		assert_int_equal(world_id(&w, other), ids[2 * i]);
		assert_int_equal(world_id(&w, name), ids[2 * i + 1]);
	}
	world_fini(&w);
	assert_int_equal(munmap(ids, 4096), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_stage_of_every_change_leaves_old_or_new),
		cmocka_unit_test(ids_survive_a_kill),
		cmocka_unit_test(a_new_file_with_the_name_of_a_linked_one_keeps_its_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
