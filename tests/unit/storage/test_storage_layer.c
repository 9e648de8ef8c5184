/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers over the trees of a real repository: what comes out is what Git would commit, stays over a
 * restart without the origin, and a failing origin is a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/layer.h"
#include "storage_world.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct git_file before[] = {
	{"a", 0100644, "a file\n", 0},
	{"a.c", 0100644, "int a;\n", 0},
	{"dir/one", 0100644, "1\n", 0},
	{"dir/two", 0100755, "2\n", 0},
	{"dir-x", 0100644, "x\n", 0},
	{"deep/er/and/deeper", 0100644, "deep\n", 0},
	{"same/as", 0100644, "before\n", 0},
	{"link", 0120000, "dir", 0},
};
/* Files and directories change places; modes, links, new and removed ones. */
static const struct git_file after[] = {
	{"a/is/a/directory", 0100644, "a file\n", 0},
	{"a.c", 0100755, "int a;\n", 0},
	{"dir", 0100644, "now a file\n", 0},
	{"dir-x", 0120000, "link", 0},
	{"deep/er/and/new", 0100644, "", 0},
	{"same/as", 0100644, "before\n", 0},
	{"\xff odd \n", 0100644, "odd\n", 0},
};

struct fixture {
	struct repository repo;
	struct world w;
	struct oid from, to;
};

static int setup(void **state)
{
	static struct fixture f;
	struct origin_revision rev;
	struct err e = {0};

	git_fixture_init(&f.repo.git);
	git_fixture_commit(&f.repo.git, "refs/heads/main", before, COUNT(before), f.repo.commit);
	git_fixture_commit(&f.repo.git, "refs/heads/next", after, COUNT(after), f.repo.commit);
	world_init(&f.w, &f.repo);
	f.from = f.w.rev.root;
	assert_int_equal(storage_resolve(f.w.st, f.w.origin, "next", in_ms(5000), &rev, &e), 0);
	f.to = rev.root;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	world_fini(&f->w);
	git_fixture_fini(&f->repo.git);
	return 0;
}

static struct layer_entry entry_of(const struct git_file *file)
{
	size_t len = file->len ? file->len : strlen(file->data);
	struct layer_entry e = {.mode = file->mode == 0120000 ? S_IFLNK | 0777 : file->mode,
		.size_known = true,
		.size = len};

	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, file->data, len, &e.oid), 0);
	return e;
}

static const struct git_file *find(const struct git_file *files, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

/* As a patch would say it: what was, what is. */
static void fill(struct layer *l, bool sizes)
{
	for (size_t i = 0; i < COUNT(after); i++) {
		const struct git_file *old = find(before, COUNT(before), after[i].path);
		struct layer_change c = {
			.path = after[i].path, .put = entry_of(&after[i]), .expects = true};

		c.put.size_known = sizes;
		if (old)
			c.old = entry_of(old);
		assert_int_equal(layer_add(l, &c), 0);
	}
	for (size_t i = 0; i < COUNT(before); i++) {
		struct layer_change c = {
			.path = before[i].path, .expects = true, .old = entry_of(&before[i])};

		if (!find(after, COUNT(after), before[i].path))
			assert_int_equal(layer_add(l, &c), 0);
	}
}

static int lay(struct fixture *f, bool sizes, struct oid *ret_root)
{
	struct layer *l = layer_new(20);
	struct layer_report report = {0};
	int r;

	fill(l, sizes);
	r = storage_lay_over(f->w.st, f->w.origin, &f->from, l, in_ms(5000), &report, ret_root);
	layer_free(l);
	return r;
}

static void assert_oid(const struct oid *a, const struct oid *b)
{
	char x[OID_HEX_MAX], y[OID_HEX_MAX];

	assert_string_equal(oid_hex(a, x), oid_hex(b, y));
}

static void a_layer_makes_the_tree_that_git_makes(void **state)
{
	struct fixture *f = *state;
	struct oid root;

	assert_int_equal(lay(f, true, &root), 0);
	assert_oid(&root, &f->to);
}

static void sizes_that_a_change_does_not_tell_come_from_the_origin(void **state)
{
	struct fixture *f = *state;
	struct tree_entry e;
	struct tree_view v;
	struct oid root;
	uint32_t idx;

	assert_int_equal(lay(f, false, &root), 0);
	assert_int_equal(storage_tree_view(f->w.st, &root, &v), 0);
	assert_true(v.sizes_known);
	assert_true(tree_view_find(&v, "dir", 3, &idx));
	tree_view_entry(&v, idx, &e);
	assert_int_equal(e.size, strlen("now a file\n"));
	tree_view_end(&v);
}

/* Nobody but the index has the merged tree. */
static void what_came_out_stays_over_a_restart_without_the_origin(void **state)
{
	struct fixture *f = *state;
	struct layer *l = layer_new(20);
	struct layer_report report = {0};
	const struct git_file file = {"deep/er/only here", 0100644, "deep\n", 0};
	struct layer_change c = {.path = file.path, .put = entry_of(&file)};
	struct oid root, sub;
	struct err e = {0};

	assert_int_equal(layer_add(l, &c), 0);
	assert_int_equal(
		storage_lay_over(f->w.st, f->w.origin, &f->from, l, in_ms(5000), &report, &root),
		0);
	layer_free(l);
	storage_close(f->w.st);
	f->w.plan.tree_error = -EHOSTUNREACH;
	world_open_storage(&f->w);
	assert_int_equal(
		storage_find_subtree(f->w.st, f->w.origin, &root, "deep/er", in_ms(100), &sub, &e),
		0);
	f->w.plan.tree_error = 0;
}

static void an_origin_that_fails_is_not_an_empty_tree(void **state)
{
	struct fixture *f = *state;
	struct oid root = {0};

	storage_close(f->w.st);
	f->w.plan.tree_error = -EHOSTUNREACH;
	tmpdir_fini(&f->w.tmp); /* with all that was known */
	tmpdir_init(&f->w.tmp);
	world_open_storage(&f->w);
	assert_int_equal(lay(f, true, &root), -EHOSTUNREACH);
	assert_true(oid_is_none(&root));
	f->w.plan.tree_error = 0;
	assert_int_equal(lay(f, true, &root), 0);
	assert_oid(&root, &f->to);
}

static void the_difference_of_two_trees_laid_over_one_gives_the_other(void **state)
{
	struct fixture *f = *state;
	struct oid from = f->from, to = f->to, root;

	for (unsigned way = 0; way < 2; way++) {
		struct layer_report report = {0};
		struct layer *l;

		assert_int_equal(
			storage_diff(f->w.st, f->w.origin, &from, &to, 20, in_ms(5000), &l), 0);
		assert_true(layer_count(l) > 0);
		assert_int_equal(storage_lay_over(f->w.st, f->w.origin, &from, l, in_ms(5000),
					 &report, &root),
			0);
		assert_oid(&root, &to);
		layer_free(l);
		from = f->to;
		to = f->from;
	}
	/* "same/as" is not among them */
	struct layer *l;
	assert_int_equal(storage_diff(f->w.st, f->w.origin, &from, &from, 20, in_ms(100), &l), 0);
	assert_int_equal(layer_count(l), 0);
	layer_free(l);
}

/* A range of commits on top of another revision: what that changed elsewhere stays. */
static void a_difference_is_laid_over_a_third_tree(void **state)
{
	static const struct git_file third[] = {{"a", 0100644, "a file\n", 0},
		{"a.c", 0100644, "int a;\n", 0}, {"dir/one", 0100644, "1\n", 0},
		{"dir/two", 0100755, "2\n", 0}, {"dir-x", 0100644, "x\n", 0},
		{"deep/er/and/deeper", 0100644, "deep\n", 0}, {"deep/mine", 0100644, "mine\n", 0},
		{"link", 0120000, "dir", 0}};
	struct fixture *f = *state;
	struct layer_report report = {0};
	struct origin_revision rev;
	struct oid root, sub;
	struct layer *l;
	struct err e = {0};

	git_fixture_commit(&f->repo.git, "refs/heads/third", third, COUNT(third), f->repo.commit);
	assert_int_equal(storage_resolve(f->w.st, f->w.origin, "third", in_ms(5000), &rev, &e), 0);
	assert_int_equal(
		storage_diff(f->w.st, f->w.origin, &f->from, &f->to, 20, in_ms(5000), &l), 0);
	assert_int_equal(
		storage_lay_over(f->w.st, f->w.origin, &rev.root, l, in_ms(5000), &report, &root),
		0);
	layer_free(l);
	assert_int_equal(storage_find_subtree(
				 f->w.st, f->w.origin, &root, "deep/er/and", in_ms(100), &sub, &e),
		0);
	assert_int_equal(
		storage_find_subtree(f->w.st, f->w.origin, &root, "same", in_ms(100), &sub, &e),
		-ENOENT); /* the third has none, and the range did not touch it */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_layer_makes_the_tree_that_git_makes),
		TEST(sizes_that_a_change_does_not_tell_come_from_the_origin),
		TEST(what_came_out_stays_over_a_restart_without_the_origin),
		TEST(the_difference_of_two_trees_laid_over_one_gives_the_other),
		TEST(a_difference_is_laid_over_a_third_tree),
		TEST(an_origin_that_fails_is_not_an_empty_tree),
	};
#undef TEST

	return cmocka_run_group_tests_name("storage_layer", tests, NULL, NULL);
}
