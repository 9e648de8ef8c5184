// SPDX-License-Identifier: Apache-2.0
/* storage: a real repository through index, blob store and origin together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "storage_world.h"

static void test_resolve_remembers_the_commit(void **state)
{
	struct world *w = *state;
	struct oid commit = world_oid(w, "main"), root = world_oid(w, "main^{tree}");
	struct tree_commit known;
	struct err e = {0};

	assert_true(oid_equal(&w->rev.commit, &commit));
	assert_true(oid_equal(&w->rev.root, &root));
	assert_int_equal(tree_commit_get(storage_tree_index(w->st), &commit, &known), 0);
	assert_true(oid_equal(&known.root, &root));
	assert_true(known.time_s == 1700000000);
	assert_int_equal(
		storage_resolve(w->st, w->origin, "no-such", in_ms(5000), &w->rev, &e), -ENOENT);
	assert_string_equal(err_reason(&e), "REVISION_NOT_FOUND");
}

static void test_missing_then_fetched(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tree_view view;
	struct tree_entry entry;
	struct tally t;
	char buf[64];
	uint32_t idx;

	tally_init(&t);
	assert_int_equal(storage_tree_view(w->st, &w->rev.root, &view), -EAGAIN);
	assert_int_equal(
		storage_fetch_tree(w->st, w->origin, &w->rev.root, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 1);
	assert_int_equal(t.last, 0);
	assert_int_equal(storage_tree_view(w->st, &w->rev.root, &view), 0);
	assert_int_equal(view.count, 4);
	assert_true(tree_view_find(&view, "README", 6, &idx));
	tree_view_entry(&view, idx, &entry);
	assert_true(entry.size_known);
	assert_int_equal(entry.size, 8);
	tree_view_end(&view);
	assert_int_equal(storage_blob_read(w->st, &blob, buf, sizeof(buf), 0), -EAGAIN);
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 2);
	assert_int_equal(storage_blob_read(w->st, &blob, buf, sizeof(buf), 0), 8);
	assert_memory_equal(buf, "read me\n", 8);
	/* Asking again for what is there succeeds, too. */
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 3);
	assert_int_equal(t.ok, 3);
	tally_fini(&t);
}

static void test_find_subtree(void **state)
{
	struct world *w = *state;
	struct oid deeper = world_oid(w, "main:src/deep/er"), found;
	struct err e = {0};

	assert_int_equal(
		storage_find_subtree(w->st, w->origin, &w->rev.root, "", in_ms(5000), &found, &e),
		0);
	assert_true(oid_equal(&found, &w->rev.root));
	assert_int_equal(storage_find_subtree(w->st, w->origin, &w->rev.root, "src/deep/er",
				 in_ms(5000), &found, &e),
		0);
	assert_true(oid_equal(&found, &deeper));
}

static void expect_no_subtree(
	struct world *w, const char *path, int code, const char *reason, const char *named)
{
	struct oid found;
	struct err e = {0};

	assert_int_equal(
		storage_find_subtree(w->st, w->origin, &w->rev.root, path, in_ms(5000), &found, &e),
		code);
	assert_string_equal(err_reason(&e), reason);
	assert_non_null(strstr(err_message(&e), named));
}

static void test_find_subtree_names_what_is_wrong(void **state)
{
	struct world *w = *state;

	expect_no_subtree(w, "src/nowhere/er", -ENOENT, "PATH_NOT_FOUND", "\"nowhere\"");
	expect_no_subtree(w, "README", -ENOTDIR, "PATH_NOT_A_DIRECTORY", "\"README\"");
	expect_no_subtree(w, "src/link", -ENOTDIR, "PATH_NOT_A_DIRECTORY", "\"link\"");
	expect_no_subtree(w, "vendored", -ENOTDIR, "PATH_NOT_A_DIRECTORY", "\"vendored\"");
	expect_no_subtree(w, "../etc", -EINVAL, "INVALID_FIELD", "../etc");
}

/* A failing origin is never taken for an absent path. */
static void test_find_subtree_when_the_origin_fails(void **state)
{
	struct world *w = *state;

	w->plan.tree_error = -EHOSTUNREACH;
	expect_no_subtree(w, "src/nowhere", -EHOSTUNREACH, "UNREACHABLE", "demo");
	w->plan.tree_error = -ENOENT;
	expect_no_subtree(w, "src", -EIO, "IO_ERROR", "demo");
}

static void test_object_that_the_origin_lacks_is_eio(void **state)
{
	struct world *w = *state;
	struct oid nowhere;
	struct tally t;

	tally_init(&t);
	assert_int_equal(oid_parse("1111111111111111111111111111111111111111", &nowhere), 0);
	assert_int_equal(storage_need_tree(w->st, w->origin, &nowhere, in_ms(5000)), -EIO);
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &nowhere, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 1);
	assert_int_equal(t.last, -EIO);
	tally_fini(&t);
}

static void test_corrupt_content_is_eio_and_repaired_later(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tally t;
	char buf[16];

	tally_init(&t);
	w->plan.corrupt = true;
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 1);
	assert_int_equal(t.last, -EIO);
	assert_int_equal(storage_blob_read(w->st, &blob, buf, sizeof(buf), 0), -EAGAIN);
	w->plan.corrupt = false;
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 2);
	assert_int_equal(t.last, 0);
	tally_fini(&t);
}

static void count_origin(void *arg, struct origin *o)
{
	(void)o;
	++*(unsigned *)arg;
}

static void test_origins_by_name(void **state)
{
	struct world *w = *state;
	struct origin *o = storage_origin(w->st, "demo");
	unsigned count = 0;

	assert_ptr_equal(o, w->origin);
	assert_null(storage_origin(w->st, "other"));
	assert_int_equal(storage_add_origin(w->st, o), -EEXIST);
	storage_each_origin(w->st, count_origin, &count);
	assert_int_equal(count, 1);
	origin_unref(o);
}

/* After a restart what was fetched is there although the origin is not. */
static void test_restart_needs_no_origin(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:src/deep/er/file.c"), found;
	struct err e = {0};
	struct tally t;
	char buf[16];

	tally_init(&t);
	assert_int_equal(storage_find_subtree(w->st, w->origin, &w->rev.root, "src/deep",
				 in_ms(5000), &found, &e),
		0);
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 1);
	w->st = storage_close(w->st);
	w->plan.tree_error = w->plan.blob_error = -EHOSTUNREACH;
	world_open_storage(w);
	assert_int_equal(storage_find_subtree(w->st, w->origin, &w->rev.root, "src/deep",
				 in_ms(5000), &found, &e),
		0);
	assert_int_equal(storage_blob_read(w->st, &blob, buf, sizeof(buf), 0), 7);
	assert_memory_equal(buf, "int x;\n", 7);
	tally_fini(&t);
}

static void test_open_without_memory(void **state)
{
	struct world *w = *state;
	const struct storage_config config = {
		.data_dir = w->tmp.path,
		.memory_bytes = 1 << 20,
		.disk_bytes = 16 << 20,
		.index_bytes = 64 << 20,
		.clock = &clock_system,
	};
	unsigned n;

	w->st = storage_close(w->st);
	for (n = 0; n < 1000; n++) {
		struct err e = {0};
		int r;

		alloc_fault_arm(n);
		r = storage_open(&w->st, &config, &e);
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			break;
		}
		/* Some parts can do without: then it must be whole. */
		assert_true(r == 0 || r == -ENOMEM);
		if (r == 0)
			w->st = storage_close(w->st);
	}
	assert_in_range(n, 5, 999);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_resolve_remembers_the_commit),
		T(test_missing_then_fetched),
		T(test_find_subtree),
		T(test_find_subtree_names_what_is_wrong),
		T(test_find_subtree_when_the_origin_fails),
		T(test_object_that_the_origin_lacks_is_eio),
		T(test_corrupt_content_is_eio_and_repaired_later),
		T(test_origins_by_name),
		T(test_restart_needs_no_origin),
		T(test_open_without_memory),
	};
#undef T

	return cmocka_run_group_tests(tests, repository_setup, repository_teardown);
}
