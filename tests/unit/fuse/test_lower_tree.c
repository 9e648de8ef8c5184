/* SPDX-License-Identifier: Apache-2.0 */
/* The lower over real storage and a real Git repository: fetched once, then local; and a workspace
 * that stands on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/lock.h"
#include "base/quota.h"
#include "fuse/overlay.h"
#include "git_fixture.h"
#include "storage/origin.h"
#include "storage/storage.h"

struct fixture {
	struct git_fixture git;
	struct tmpdir tmp;
	struct origin *origin;
	struct storage *st;
	struct origin_revision rev;
	struct lower *lower;
};

static void open_storage(struct fixture *f)
{
	const struct origin_config origin = {.name = "demo", .type = "git", .url = f->git.repo};
	const struct storage_config config = {
		.data_dir = f->tmp.path,
		.memory_bytes = 1 << 20,
		.disk_bytes = 16 << 20,
		.index_bytes = 64 << 20,
		.clock = &clock_system,
	};
	uint64_t deadline = clock_after(&clock_system, 10 * NS_PER_S);
	struct err e = {0};

	if (origin_open(&f->origin, &origin, &e) < 0 || storage_open(&f->st, &config, &e) < 0 ||
		storage_resolve(f->st, f->origin, "main", deadline, &f->rev, &e) < 0)
		fail_msg("%s", err_message(&e));
	f->lower = lower_tree_new(f->st, f->origin, 0);
	assert_non_null(f->lower);
}

static int setup(void **state)
{
	static const struct git_file files[] = {
		{"README", 0100644, "read me\n", 0},
		{"src/deep/file.c", 0100644, "int x;\n", 0},
		{"src/link", 0120000, "deep", 0},
		{"src/tool", 0100755, "#!/bin/sh\n", 0},
	};
	struct fixture *f = calloc(1, sizeof(*f));
	char commit[GIT_FIXTURE_HEX];
	struct err e = {0};

	assert_int_equal(origin_git_init(&e), 0);
	git_fixture_init(&f->git);
	git_fixture_commit(&f->git, "refs/heads/main", files, 4, commit);
	tmpdir_init(&f->tmp);
	open_storage(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->lower)
		f->lower->ops->free(f->lower);
	storage_close(f->st);
	origin_unref(f->origin);
	tmpdir_fini(&f->tmp);
	git_fixture_fini(&f->git);
	origin_git_fini();
	free(f);
	return 0;
}

/* A callback that can be waited for. */
struct answer {
	struct lock mu;
	struct cond cv;
	bool come;
	int result;
};

static void on_done(void *arg, int result)
{
	struct answer *a = arg;

	lock_acquire(&a->mu);
	a->come = true;
	a->result = result;
	cond_signal(&a->cv);
	lock_release(&a->mu);
}

static int wait_for(struct answer *a)
{
	uint64_t deadline = clock_after(&clock_system, 10 * NS_PER_S);

	lock_acquire(&a->mu);
	while (!a->come)
		assert_true(cond_wait_until(&a->cv, &a->mu, deadline));
	lock_release(&a->mu);
	cond_fini(&a->cv);
	lock_fini(&a->mu);
	return a->result;
}

static void answer_init(struct answer *a)
{
	*a = (struct answer){0};
	lock_init(&a->mu, LOCK_RANK_LEAF);
	cond_init(&a->cv);
}

static int fetch(struct fixture *f, enum lower_need_kind kind, const struct oid *oid)
{
	uint64_t deadline = clock_after(&clock_system, 10 * NS_PER_S);
	struct answer a;
	int r;

	answer_init(&a);
	r = f->lower->ops->fetch(f->lower, kind, oid, deadline, on_done, &a);
	return r ? r : wait_for(&a);
}

static struct oid entry_oid(struct fixture *f, const struct oid *tree, const char *name)
{
	struct tree_view view;
	struct tree_entry entry;
	struct oid oid;
	uint32_t idx;

	assert_int_equal(f->lower->ops->tree(f->lower, tree, &view), 0);
	assert_true(tree_view_find(&view, name, strlen(name), &idx));
	tree_view_entry(&view, idx, &entry);
	oid = oid_from_bytes(entry.oid, view.oid_len);
	tree_view_end(&view);
	return oid;
}

static void test_missing_then_local(void **state)
{
	struct fixture *f = *state;
	struct tree_view view;
	struct oid readme, nothing = {.len = 20, .bytes = {1}};
	char buf[32];

	assert_int_equal(f->lower->ops->tree(f->lower, &f->rev.root, &view), -EAGAIN);
	assert_int_equal(fetch(f, LOWER_NEED_TREE, &f->rev.root), 0);
	readme = entry_oid(f, &f->rev.root, "README");
	assert_int_equal(f->lower->ops->read(f->lower, &readme, buf, sizeof(buf), 0), -EAGAIN);
	assert_int_equal(fetch(f, LOWER_NEED_BLOB, &readme), 0);
	assert_int_equal(f->lower->ops->read(f->lower, &readme, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "read me\n", 8);
	assert_int_equal(f->lower->ops->read(f->lower, &readme, buf, 3, 5), 3);
	/* what the origin does not have is an error, never an absence */
	assert_int_equal(fetch(f, LOWER_NEED_TREE, &nothing), -EIO);
	assert_int_equal(fetch(f, LOWER_NEED_BLOB, &nothing), -EIO);
	assert_int_equal(fetch(f, LOWER_NEED_NONE, &nothing), -EINVAL);
	f->lower->ops->prefetch(f->lower, &nothing);
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	struct oid readme;
	char path[300], buf[16] = "";
	int fd = open(tmpdir_path(&f->tmp, "copy", path, sizeof(path)),
		O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fetch(f, LOWER_NEED_TREE, &f->rev.root), 0);
	readme = entry_oid(f, &f->rev.root, "README");
	assert_int_equal(f->lower->ops->copy(f->lower, &readme, fd, 8), -EAGAIN);
	assert_int_equal(fetch(f, LOWER_NEED_BLOB, &readme), 0);
	assert_int_equal(f->lower->ops->copy(f->lower, &readme, fd, 4), 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 4);
	assert_int_equal(f->lower->ops->copy(f->lower, &readme, fd, 1000), 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "read me\n", 8);
	(void)close(fd);
}

/* Repeats a call that answers -EAGAIN after fetching what it named. */
static bool fetched(struct ovl_req *rq, int64_t r)
{
	struct answer a;

	if (r != -EAGAIN)
		return false;
	answer_init(&a);
	assert_int_equal(
		ovl_fetch(&rq->need, clock_after(&clock_system, 10 * NS_PER_S), on_done, &a), 0);
	assert_int_equal(wait_for(&a), 0);
	return true;
}

static uint64_t lookup(struct overlay *o, uint64_t parent, const char *name)
{
	struct ovl_req rq = {.unique = 1};
	struct ovl_entry e;
	int r;

	do
		r = ovl_lookup(o, &rq, parent, name, &e);
	while (fetched(&rq, r));
	assert_int_equal(r, 0);
	return e.id;
}

static void test_a_workspace_on_it(void **state)
{
	struct fixture *f = *state;
	struct ovl_config config = {.tenant = "t", .clock = &clock_system};
	struct ovl_req rq = {.unique = 1};
	struct overlay *o;
	struct ovl_ws *ws;
	struct quota quota;
	char dir[300], buf[32];
	uint64_t id;
	ssize_t n;

	quota_init(&quota, NULL);
	assert_int_equal(ovl_new(&o, &config), 0);
	struct ovl_ws_config wc = {.name = "w",
		.serial = 1,
		.dir = tmpdir_path(&f->tmp, "w", dir, sizeof(dir)),
		.lower = f->lower,
		.root_tree = f->rev.root,
		.quota = &quota};
	assert_int_equal(ovl_ws_add(o, &wc, &ws, NULL), 0);
	f->lower = NULL;
	id = lookup(o, lookup(o, lookup(o, ovl_ws_root_id(ws), "src"), "deep"), "file.c");
	do
		n = ovl_read(o, &rq, id, buf, sizeof(buf), 0);
	while (fetched(&rq, n));
	assert_int_equal(n, 7);
	assert_memory_equal(buf, "int x;\n", 7);
	/* copied up from the blob store */
	assert_int_equal(ovl_write(o, &rq, id, "INT", 3, 0, false), 3);
	assert_int_equal(ovl_read(o, &rq, id, buf, sizeof(buf), 0), 7);
	assert_memory_equal(buf, "INT x;\n", 7);
	ovl_ws_remove(o, ws);
	ovl_free(o);
	quota_release(&quota, QUOTA_BYTES, quota_used(&quota, QUOTA_BYTES));
	quota_release(&quota, QUOTA_INODES, quota_used(&quota, QUOTA_INODES));
	quota_fini(&quota);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_missing_then_local),
		T(test_copy),
		T(test_a_workspace_on_it),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
