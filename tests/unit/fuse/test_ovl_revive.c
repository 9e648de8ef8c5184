/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takeover: the kernel's connection lives on, so its ids must too. A child opens the workspace,
 * looks everything up (and never forgets), and kills itself (SIGKILL) at the n-th stage of one
 * request, for n = 1, 2, ... The parent adopts what is left. Every id that was known must be what
 * it was, removed or not; the request, sent again, must succeed exactly as if nobody had died; and
 * when all is forgotten nothing must be left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "overlay/ovl_state.h"
#include "ovl_crash.h"

#include <sys/mman.h>

#define UNIQUE    77777u
#define KNOWN_MAX 16

enum what { MAKE_FILE, MAKE_DIR, SYMLINK, UNLINK, RMDIR, LINK, RENAME, WRITE };

struct request {
	const char *title;
	void (*before)(struct world *w);
	enum what what;
	const char *dir, *name, *dir2, *name2; /* LINK, WRITE: dir is the object itself */
	unsigned flags;
};

/* What the kernel knows, in memory that outlives the child. */
struct kernel {
	struct known {
		const char *path;
		uint64_t id;
		mode_t type, mode;
		uid_t uid;
		char content[32];
		ssize_t len;
	} known[KNOWN_MAX];
	unsigned count;
};

static const char *const paths[] = {"low", "low/file", "low/link", "low/sub", "low/sub/deep",
	"empty", "top", "mine", "low/other", "fresh", "fresh/in"};

static ssize_t content_of(struct world *w, const struct known *k, char buf[32])
{
	return S_ISREG(k->type) ? ovl_read(w->o, world_rq(w), k->id, buf, 32, 0) : 0;
}

static void learn(struct world *w, struct kernel *kernel)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct known *k = &kernel->known[kernel->count];
		struct world_at at;

		if (world_walk(w, paths[i], &at) < 0)
			continue;
		free(at.up); /* never forgotten, as what is above */
		*k = (struct known){.path = paths[i],
			.id = at.e.id,
			.type = at.e.attr.st_mode & S_IFMT,
			.mode = at.e.attr.st_mode,
			.uid = at.e.attr.st_uid};
		k->len = content_of(w, k, k->content);
		kernel->count++;
	}
}

static uint64_t id_of(struct world *w, const struct kernel *kernel, const char *path)
{
	for (unsigned i = 0; i < kernel->count; i++)
		if (strcmp(kernel->known[i].path, path) == 0)
			return kernel->known[i].id;
	return ovl_ws_root_id(w->ws);
}

static int run(struct world *w, const struct kernel *kernel, const struct request *q)
{
	uint64_t dir = id_of(w, kernel, q->dir), dir2 = q->dir2 ? id_of(w, kernel, q->dir2) : 0;
	struct ovl_req rq = {.unique = UNIQUE, .uid = 1000};
	struct ovl_entry e;

	switch (q->what) {
	case MAKE_FILE:
		return ovl_create(w->o, &rq, dir, q->name, 0640, O_EXCL, &e);
	case MAKE_DIR:
		return ovl_mkdir(w->o, &rq, dir, q->name, 0750, &e);
	case SYMLINK:
		return ovl_symlink(w->o, &rq, dir, q->name, "target", &e);
	case UNLINK:
		return ovl_unlink(w->o, &rq, dir, q->name);
	case RMDIR:
		return ovl_rmdir(w->o, &rq, dir, q->name);
	case LINK:
		return ovl_link(w->o, &rq, dir, dir2, q->name2, &e);
	case RENAME:
		return ovl_rename(w->o, &rq,
			&(struct ovl_rename){.parent = dir,
				.new_parent = dir2,
				.name = q->name,
				.new_name = q->name2,
				.flags = q->flags});
	case WRITE:
		return ovl_write(w->o, &rq, dir, "lower content", 13, 0, false) == 13 ? 0 : -EIO;
	}
	return -EINVAL;
}

/* ---- the child ---- */

/* True if it died, false if it reached the end; then it dies without having replied. */
static bool die_at_stage(
	struct world *w, struct kernel *kernel, const struct request *q, unsigned stage)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		world_open(w);
		learn(w, kernel);
		crash_arm(w, stage);
		_exit(run(w, kernel, q) == 0 ? 0 : 1);
	}
	return crash_died(pid, q->title);
}

/* ---- the parent ---- */

static char *state_after(const struct request *q)
{
	struct kernel kernel = {.count = 0};
	struct world w;
	char *dump;

	crash_set_up(&w, q->before);
	world_open(&w);
	learn(&w, &kernel);
	assert_int_equal(run(&w, &kernel, q), 0);
	dump = world_dump(&w);
	world_fini(&w);
	return dump;
}

static void check_known(struct world *w, const struct kernel *kernel, const char *what)
{
	for (unsigned i = 0; i < kernel->count; i++) {
		const struct known *k = &kernel->known[i];
		char now[32];
		struct stat st;
		int r = ovl_getattr(w->o, world_rq(w), k->id, &st);

		if (r < 0 || (st.st_mode & S_IFMT) != k->type || st.st_ino != k->id)
			fail_msg("%s: %s is lost (%d)", what, k->path, r);
		if (st.st_mode != k->mode || st.st_uid != k->uid)
			fail_msg("%s: %s has mode %o and owner %u", what, k->path, st.st_mode,
				st.st_uid);
		if (content_of(w, k, now) != k->len || memcmp(now, k->content, (size_t)k->len) != 0)
			fail_msg("%s: %s has another content", what, k->path);
	}
}

static void forget_all(struct world *w, const struct kernel *kernel)
{
	for (unsigned i = kernel->count; i-- > 0;)
		if (kernel->known[i].id != ovl_ws_root_id(w->ws))
			ovl_forget(w->o, kernel->known[i].id, 1000000);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
}

static uint64_t victim_of(const struct kernel *kernel, const struct request *q)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s%s%s", q->dir, *q->dir ? "/" : "", q->name);
	for (unsigned i = 0; i < kernel->count; i++)
		if (strcmp(kernel->known[i].path, path) == 0)
			return kernel->known[i].id;
	fail_msg("%s: nobody knew it", path);
	return 0;
}

static void check_left(struct world *w, const struct kernel *kernel, const struct request *q,
	const char *what, const char *want)
{
	bool done = ovl_was_done(w->o, id_of(w, kernel, q->dir), UNIQUE);
	int r;
	char *now;

	world_check_usage(w);
	check_known(w, kernel, what);
	r = done ? 0 : run(w, kernel, q);
	if (r < 0)
		fail_msg("%s: sent again: %s", what, strerror(-r));
	check_known(w, kernel, what);
	now = world_dump(w);
	if (strcmp(now, want) != 0)
		fail_msg("%s: sent again\n--- is\n%s\n--- should be\n%s", what, now, want);
	free(now);
	for (unsigned i = 0; i < kernel->count; i++) { /* names lead to the ids that were known */
		struct stat st;

		if (q->what <= SYMLINK || q->what == WRITE) {
			assert_int_equal(world_stat(w, kernel->known[i].path, &st), 0);
			assert_int_equal(st.st_ino, kernel->known[i].id);
		}
	}
	if (q->what == RMDIR) {
		struct stat st;

		assert_int_equal(ovl_getattr(w->o, world_rq(w), victim_of(kernel, q), &st), 0);
		if (st.st_nlink != 0)
			fail_msg("%s: what was removed has %u links", what, (unsigned)st.st_nlink);
	}
	forget_all(w, kernel);
	world_check_usage(w);
}

static void kill_everywhere(const struct request *q, struct kernel *kernel)
{
	char *want = state_after(q);
	bool died = true;
	unsigned stage;

	for (stage = 1; died && stage < STAGES_MAX; stage++) {
		struct world w;
		char what[100];

		(void)snprintf(what, sizeof(what), "%s, killed at stage %u", q->title, stage);
		*kernel = (struct kernel){.count = 0};
		crash_set_up(&w, q->before);
		died = die_at_stage(&w, kernel, q, stage);
		w.adopt = true;
		w.alone = stage % 2; /* all is asked for, or the chore is there too */
		world_open(&w);
		check_left(&w, kernel, q, what, want);
		world_fini(&w);
	}
	assert_false(died);
	free(want);
}

/* ---- requests ---- */

static void with_file(struct world *w)
{
	world_put(w, "mine", "my own bytes");
}

static void with_copy(struct world *w)
{
	assert_int_equal(world_write(w, "low/file", "L", 1, 0), 1);
}

static void with_both(struct world *w)
{
	with_file(w);
	with_copy(w);
}

static void with_links(struct world *w)
{
	with_file(w);
	assert_int_equal(world_link(w, "mine", "low/other"), 0);
}

static void with_dir(struct world *w)
{
	struct world_at at;

	assert_int_equal(world_make(w, WORLD_DIR, "fresh", 0755, &at), 0);
	world_forget(w, &at);
	world_put(w, "fresh/in", "inside");
}

/* A directory that is not as the sources say. */
static void with_private(struct world *w)
{
	struct world_at at;
	struct stat st = {.st_mode = 0710, .st_uid = 4242, .st_gid = 4243};

	assert_int_equal(world_walk(w, "low/sub", &at), 0);
	assert_int_equal(ovl_setattr(w->o, world_rq(w), at.e.id, &st,
				 OVL_SET_MODE | OVL_SET_UID | OVL_SET_GID, &st),
		0);
	world_forget(w, &at);
}

static void with_both_and_private(struct world *w)
{
	with_both(w);
	with_private(w);
}

static void with_emptied(struct world *w)
{
	assert_int_equal(world_remove(w, "low/sub/deep", false), 0);
	with_private(w);
}

static void without_top(struct world *w)
{
	assert_int_equal(world_remove(w, "top", false), 0);
}

static const struct request requests[] = {
	{"create", with_dir, MAKE_FILE, "fresh", "new", NULL, NULL, 0},
	{"create in a lower directory", NULL, MAKE_FILE, "low/sub", "new", NULL, NULL, 0},
	{"create over a whiteout", without_top, MAKE_FILE, "", "top", NULL, NULL, 0},
	{"mkdir", with_links, MAKE_DIR, "low", "new", NULL, NULL, 0},
	{"mkdir over a whiteout", without_top, MAKE_DIR, "", "top", NULL, NULL, 0},
	{"symlink", with_both, SYMLINK, "", "new", NULL, NULL, 0},
	{"copy-up", NULL, WRITE, "low/file", NULL, NULL, NULL, 0},
	{"unlink of a lower file", NULL, UNLINK, "low", "file", NULL, NULL, 0},
	{"unlink of an upper file", with_file, UNLINK, "", "mine", NULL, NULL, 0},
	{"unlink of a copied file", with_copy, UNLINK, "low", "file", NULL, NULL, 0},
	{"unlink of one of two names", with_links, UNLINK, "", "mine", NULL, NULL, 0},
	{"rmdir of a lower directory", NULL, RMDIR, "", "empty", NULL, NULL, 0},
	{"rmdir of a merged directory", with_emptied, RMDIR, "low", "sub", NULL, NULL, 0},
	{"link", with_file, LINK, "mine", NULL, "low", "new", 0},
	{"third link", with_links, LINK, "mine", NULL, "low", "new", 0},
	{"link of a lower file over a whiteout", without_top, LINK, "low/file", NULL, "", "top", 0},
	{"rename", with_dir, RENAME, "fresh", "in", "low", "moved", 0},
	{"rename of a lower file", NULL, RENAME, "low", "file", "", "moved", 0},
	{"rename over a lower file", with_file, RENAME, "", "mine", "low", "file", 0},
	{"rename over a copied file", with_both, RENAME, "", "mine", "low", "file", 0},
	{"rename over one of two names", with_links, RENAME, "", "top", "low", "other", 0},
	{"rename of a fresh directory", with_dir, RENAME, "", "fresh", "low/sub", "moved", 0},
	{"rename of a lower directory", with_copy, RENAME, "", "low", "", "moved", 0},
	{"rename of a directory over a whiteout", without_top, RENAME, "", "low", "", "top", 0},
	{"rename over an emptied directory", with_emptied, RENAME, "", "empty", "low", "sub", 0},
	{"exchange", with_dir, RENAME, "", "fresh", "low", "file", RENAME_EXCHANGE},
};

static void every_stage_of_every_request_is_taken_over(void **state)
{
	struct kernel *kernel = mmap(
		NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(kernel != MAP_FAILED);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		kill_everywhere(&requests[i], kernel);
	(void)munmap(kernel, sizeof(*kernel));
}

static int touch(struct world *w, uint64_t id, time_t seconds)
{
	struct stat st = {.st_mtim = {.tv_sec = seconds}};

	return ovl_setattr(w->o, world_rq(w), id, &st, OVL_SET_MTIME, &st);
}

/* Removed, but open: file, directory, and one that is removed by a rename over it. Taken over
 * twice: a removed directory keeps its attributes, also those that it got after its removal. */
static void what_was_removed_stays_open(void **state)
{
	struct request nothing = {.before = with_both_and_private};
	struct kernel *kernel = mmap(
		NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world w;
	struct stat st;
	pid_t pid;
	int status;

	(void)state;
	assert_true(kernel != MAP_FAILED);
	crash_set_up(&w, nothing.before);
	(void)fflush(NULL);
	for (int round = 0; round < 2; round++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			world_open(&w);
			if (round == 0)
				learn(&w, kernel);
			if (round == 0 && (world_remove(&w, "low/sub/deep", false) < 0 ||
						  world_remove(&w, "low/sub", true) < 0 ||
						  world_rename(&w, "mine", "low/file", 0) < 0 ||
						  world_remove(&w, "low/file", false) < 0))
				_exit(1);
			if (round == 1 && touch(&w, id_of(&w, kernel, "low/sub"), 12345) < 0)
				_exit(1);
			(void)kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		w.adopt = true;
	}
	world_open(&w);
	world_check_usage(&w);
	check_known(&w, kernel, "removed");
	assert_int_equal(ovl_getattr(w.o, world_rq(&w), id_of(&w, kernel, "low/sub"), &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 12345);
	assert_int_equal(st.st_gid, 4243);
	assert_int_equal(ovl_getattr(w.o, world_rq(&w), id_of(&w, kernel, "mine"), &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(
		ovl_write(w.o, world_rq(&w), id_of(&w, kernel, "mine"), "MY", 2, 0, false), 2);
	assert_int_equal(world_stat(&w, "low/file", &st), -ENOENT);
	/* fchmod of a removed directory, as of any other */
	assert_int_equal(ovl_setattr(w.o, world_rq(&w), id_of(&w, kernel, "low/sub"),
				 &(struct stat){.st_mode = 0711}, OVL_SET_MODE, &st),
		0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_getattr(w.o, world_rq(&w), id_of(&w, kernel, "low/sub"), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	forget_all(&w, kernel);
	world_fini(&w);
	(void)munmap(kernel, sizeof(*kernel));
}

static bool remake(struct world *w, uint64_t *ret_id)
{
	struct world_at at;

	if (world_remove(w, "empty", true) < 0 || world_make(w, WORLD_DIR, "empty", 0700, &at) < 0)
		return false;
	*ret_id = at.e.id;
	free(at.up); /* never forgotten, as what is above */
	return true;
}

/* A directory is removed, another made under its name, which the disk gives the same inode number
 * at once: neither is taken for the other. Killed again, so that what a takeover wrote is used. */
static void a_new_directory_is_not_the_one_removed_before_it(void **state)
{
	struct request nothing = {.before = with_both};
	size_t size = 3 * sizeof(uint64_t);
	uint64_t *ids = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world w;
	struct stat st;
	int status;

	(void)state;
	assert_true(ids != MAP_FAILED);
	crash_set_up(&w, nothing.before);
	(void)fflush(NULL);
	for (unsigned round = 0; round < 4; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			world_open(&w);
			if (round < 3 && !remake(&w, &ids[round]))
				_exit(1);
			(void)kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		w.adopt = true;
	}
	world_open(&w);
	assert_int_equal(world_id(&w, "empty"), ids[2]);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ovl_getattr(w.o, world_rq(&w), ids[i], &st), 0);
		assert_int_equal(st.st_nlink, i == 2 ? 2 : 0);
		ovl_forget(w.o, ids[i], 1);
	}
	world_check_usage(&w);
	world_fini(&w);
	(void)munmap(ids, size);
}

/* Without a connection that lived on there is nothing to adopt. */
static void another_boot_is_not_adopted(void **state)
{
	struct ovl_config config = {.tenant = "t", .clock = &clock_system};
	struct request nothing = {.before = with_file};
	struct ovl_ws_config ws = {.name = "ws", .serial = WORLD_SERIAL, .adopt = true};
	struct err e = {0};
	struct world w;
	char dir[300], refs[320];
	int fd;

	(void)state;
	crash_set_up(&w, nothing.before);
	(void)snprintf(
		refs, sizeof(refs), "%s/refs", tmpdir_path(&w.tmp, "ws/work", dir, sizeof(dir)));
	fd = open(refs, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "0", 1, 20), 1); /* into the boot id */
	assert_int_equal(close(fd), 0);
	ws.dir = dir;
	ws.root_tree = w.root;
	ws.lower = fake_lower_open(w.fake);
	ws.quota = &w.quota;
	assert_int_equal(ovl_new(&w.o, &config), 0);
	assert_int_equal(ovl_ws_add(w.o, &ws, &w.ws, &e), -ESTALE);
	ws.adopt = false;
	assert_int_equal(ovl_ws_add(w.o, &ws, &w.ws, &e), 0);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_stage_of_every_request_is_taken_over),
		cmocka_unit_test(what_was_removed_stays_open),
		cmocka_unit_test(a_new_directory_is_not_the_one_removed_before_it),
		cmocka_unit_test(another_boot_is_not_adopted),
	};

	return cmocka_run_group_tests_name("ovl_revive", tests, NULL, NULL);
}
