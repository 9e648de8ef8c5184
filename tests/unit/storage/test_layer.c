/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Laying changes over a tree, over trees in memory. The yardstick is that the way does not matter:
 * a base with changes is the tree that the resulting files give when they are laid over nothing.
 * That such a tree is Git's is shown in test_storage_layer.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layer_store.h"

#include <stdio.h>
#include <sys/stat.h>

#define FILE_MODE (S_IFREG | 0644)
#define EXEC_MODE (S_IFREG | 0755)
#define LINK_MODE (S_IFLNK | 0777)
#define DIR_MODE  (S_IFDIR | 0755)

struct file {
	char path[64];
	uint32_t mode;
	unsigned content;
};

static struct oid blob(unsigned content)
{
	struct oid o = {.len = 20};

	memcpy(o.bytes, &content, sizeof(content));
	o.bytes[19] = 1;
	return o;
}

static struct layer_entry entry_of(uint32_t mode, unsigned content)
{
	struct layer_entry e = {.mode = mode};

	if (mode)
		e.oid = blob(content);
	return e;
}

static void put(struct layer *l, const char *path, uint32_t mode, unsigned content)
{
	assert_int_equal(
		layer_add(l, &(struct layer_change){.path = path, .put = entry_of(mode, content)}),
		0);
}

static void expect(
	struct layer *l, const char *path, struct layer_entry old, struct layer_entry new)
{
	assert_int_equal(layer_add(l,
				 &(struct layer_change){
					 .path = path, .put = new, .expects = true, .old = old}),
		0);
}

/* The merge of `l`, which is freed. */
static int merged(
	struct layer_store *s, struct layer *l, const struct oid *base, struct oid *ret_root)
{
	struct layer_report report = {0};
	int r = layer_merge(l, &s->source, base, &report, ret_root);

	layer_free(l);
	return r;
}

static struct oid tree_of(struct layer_store *s, const struct file *files, size_t count)
{
	struct layer *l = layer_new(20);
	struct oid root;

	for (size_t i = 0; i < count; i++)
		if (files[i].mode)
			put(l, files[i].path, files[i].mode, files[i].content);
	assert_int_equal(merged(s, l, &(struct oid){0}, &root), 0);
	return root;
}

static void assert_oid(struct oid a, struct oid b)
{
	char x[OID_HEX_MAX], y[OID_HEX_MAX];

	assert_string_equal(oid_hex(&a, x), oid_hex(&b, y));
}

static const struct file base_files[] = {{"README", FILE_MODE, 1}, {"bin/tool", EXEC_MODE, 2},
	{"src/a.c", FILE_MODE, 3}, {"src/lib/b.c", FILE_MODE, 4}, {"src/lib/link", LINK_MODE, 5},
	{"src.h", FILE_MODE, 6}, {"src-old/x", FILE_MODE, 7}};
#define BASE_COUNT (sizeof(base_files) / sizeof(base_files[0]))

struct world {
	struct layer_store s;
	struct oid base;
	struct layer *l;
};

static int setup(void **state)
{
	static struct world w;

	layer_store_init(&w.s);
	w.base = tree_of(&w.s, base_files, BASE_COUNT);
	w.l = layer_new(20);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	layer_free(w->l);
	layer_store_fini(&w->s);
	return 0;
}

static void nothing_changes_nothing(void **state)
{
	struct world *w = *state;
	size_t before = w->s.count;
	struct layer_report report = {0};
	struct oid root;

	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, w->base);
	put(w->l, "src/lib/b.c", FILE_MODE, 4);
	put(w->l, "absent", 0, 0);
	put(w->l, "no/such/directory", 0, 0);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, w->base);
	assert_int_equal(w->s.count, before);
}

static void only_directories_on_the_way_are_written(void **state)
{
	struct world *w = *state;
	size_t before = w->s.count;
	struct layer_report report = {0};
	struct oid root;

	put(w->l, "src/lib/new.c", FILE_MODE, 9);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_int_equal(w->s.count - before, 3); /* src/lib, src, the root */
}

static void directories_that_become_empty_go(void **state)
{
	struct world *w = *state;
	struct file left[BASE_COUNT];
	struct layer_report report = {0};
	struct oid root;

	memcpy(left, base_files, sizeof(left));
	for (size_t i = 0; i < BASE_COUNT; i++) {
		if (i != 0)
			put(w->l, left[i].path, 0, 0);
		left[i].mode = i == 0 ? left[i].mode : 0;
	}
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, tree_of(&w->s, left, BASE_COUNT));
	put(w->l, "README", 0, 0);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, tree_of(&w->s, NULL, 0)); /* the empty tree */
}

static void files_and_directories_take_each_others_place(void **state)
{
	const struct file result[] = {{"README/now/deep", FILE_MODE, 10}, {"bin", FILE_MODE, 11},
		{"src", LINK_MODE, 12}, {"src.h", FILE_MODE, 6}, {"src-old/x", FILE_MODE, 7}};
	struct world *w = *state;
	struct layer_report report = {0};
	struct oid root;

	put(w->l, "README/now/deep", FILE_MODE, 10);
	put(w->l, "README", 0, 0);
	put(w->l, "bin", FILE_MODE, 11);
	put(w->l, "bin/tool", 0, 0);
	put(w->l, "src/lib/link", 0, 0);
	put(w->l, "src", LINK_MODE, 12);
	put(w->l, "src/a.c", 0, 0);
	put(w->l, "src/lib/b.c", 0, 0);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, tree_of(&w->s, result, sizeof(result) / sizeof(result[0])));
}

/* A directory is put in place by its tree's name, and edited in the same breath. */
static void whole_trees_are_grafted(void **state)
{
	const struct file part[] = {{"one", FILE_MODE, 20}, {"two/three", FILE_MODE, 21}};
	const struct file result[] = {{"src/one", FILE_MODE, 22}, {"src/two/three", FILE_MODE, 21},
		{"README", FILE_MODE, 1}, {"src.h", FILE_MODE, 6}, {"src-old/x", FILE_MODE, 7}};
	struct world *w = *state;
	struct layer_report report = {0};
	struct oid root, graft = tree_of(&w->s, part, 2);

	assert_int_equal(layer_add(w->l, &(struct layer_change){.path = "src",
						 .put = {.mode = DIR_MODE, .oid = graft}}),
		0);
	put(w->l, "src/one", FILE_MODE, 22);
	put(w->l, "bin", 0, 0); /* a directory goes with all in it */
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, tree_of(&w->s, result, 5));
}

struct told {
	char text[2048];
};

static void tell(void *arg, const char *path, const char *reason)
{
	struct told *t = arg;
	size_t at = strlen(t->text);

	(void)snprintf(t->text + at, sizeof(t->text) - at, "%s: %s\n", path, reason);
}

static void conflicts_are_told_all_and_nothing_is_written(void **state)
{
	struct world *w = *state;
	size_t before = w->s.count;
	struct told told = {""};
	struct layer_report report = {.fn = tell, .arg = &told};
	struct layer_entry none = {0};
	struct oid root = {0};

	expect(w->l, "README", entry_of(FILE_MODE, 99), entry_of(FILE_MODE, 100));
	expect(w->l, "absent", entry_of(FILE_MODE, 1), entry_of(FILE_MODE, 2));
	put(w->l, "bin", FILE_MODE, 11);
	expect(w->l, "src.h", none, entry_of(FILE_MODE, 100));
	put(w->l, "src.h/below", FILE_MODE, 1);
	put(w->l, "src/a.c/below", FILE_MODE, 1);
	put(w->l, "src/a.c/much/below", FILE_MODE, 1);
	put(w->l, "src/lib/fine", FILE_MODE, 1);
	put(w->l, "new", FILE_MODE, 1);
	put(w->l, "new/below", FILE_MODE, 1);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), -ESTALE);
	assert_string_equal(told.text,
		"README: was changed\n"
		"absent: is not there\n"
		"new/below: is below a file of the same change\n"
		"src/a.c/below: is below something that is not a directory\n"
		"src.h: is there already\n"
		"src.h/below: is below something that is not a directory\n"
		"bin: is a directory there, with files that the change does not know\n");
	assert_int_equal(report.conflicts, 7);
	assert_int_equal(w->s.count, before);
	assert_true(oid_is_none(&root));
}

/* A change that is there already is no conflict: a change list may have been merged in part. */
static void what_is_there_already_fits(void **state)
{
	struct world *w = *state;
	struct layer_report report = {0};
	struct oid root;

	expect(w->l, "README", entry_of(FILE_MODE, 99), entry_of(FILE_MODE, 1));
	expect(w->l, "gone", entry_of(FILE_MODE, 99), (struct layer_entry){0});
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_oid(root, w->base);
}

static void bad_input_is_refused(void **state)
{
	static const char *const paths[] = {
		"", "/abs", "a//b", "a/", "../up", "a/./b", ".git", "a/.git/config"};
	struct world *w = *state;
	struct layer_report report = {0};
	struct oid root;

	for (size_t i = 0; i < 8; i++)
		assert_int_equal(layer_add(w->l, &(struct layer_change){.path = paths[i],
							 .put = entry_of(FILE_MODE, 1)}),
			-EINVAL);
	assert_int_equal(layer_add(w->l, &(struct layer_change){.path = "x",
						 .put = entry_of(S_IFIFO | 0644, 1)}),
		-EINVAL);
	assert_int_equal(
		layer_add(w->l, &(struct layer_change){.path = "x", .put = {.mode = FILE_MODE}}),
		-EINVAL);
	assert_int_equal(layer_count(w->l), 0);
	put(w->l, "twice", FILE_MODE, 1);
	put(w->l, "twice", FILE_MODE, 2);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), -EINVAL);
}

static void unknown_sizes_are_asked_for_once_per_file(void **state)
{
	struct world *w = *state;
	struct layer_report report = {0};
	struct tree_entry e;
	struct tree_view v;
	struct oid root;

	w->s.asked = 0;
	put(w->l, "src/lib/new.c", FILE_MODE, 9);
	assert_int_equal(layer_merge(w->l, &w->s.source, &w->base, &report, &root), 0);
	assert_int_equal(w->s.asked, 1);
	assert_int_equal(layer_store_tree(&w->s.source, &root, &v), 0);
	assert_true(v.sizes_known);
	tree_view_entry(&v, 0, &e);
	assert_int_equal(e.size, 1);
}

/* Whatever fails while it is merged: an error, no root, no leak; and it can be done again. */
static void a_source_that_fails_fails_the_merge(void **state)
{
	struct world *w = *state;
	struct layer_report report = {0};
	struct oid root = {0};
	unsigned long at;
	int r = -1;

	put(w->l, "src/lib/new.c", FILE_MODE, 9);
	put(w->l, "bin", FILE_MODE, 9);
	put(w->l, "bin/tool", 0, 0);
	for (at = 1; r != 0; at++) {
		w->s.fail_at = at;
		r = layer_merge(w->l, &w->s.source, &w->base, &report, &root);
		assert_true(r == 0 || r == -ETIMEDOUT || r == -ENOSPC);
		assert_true((r == 0) == !oid_is_none(&root));
	}
	assert_in_range(at, 8, 100);
}

/* ---- at random ---- */

#define NAMES 5u
#define FILES 40u

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void random_path(uint64_t *rng, char path[64])
{
	static const char *const names[NAMES] = {"a", "a-", "a.c", "b", "ab"};
	unsigned depth = 1 + (unsigned)(next_random(rng) % 4);

	path[0] = '\0';
	for (unsigned i = 0; i < depth; i++) {
		size_t at = strlen(path);

		(void)snprintf(
			path + at, 64 - at, "%s%s", i ? "/" : "", names[next_random(rng) % NAMES]);
	}
}

static bool is_above(const char *a, const char *b)
{
	size_t len = strlen(a);

	return strncmp(a, b, len) == 0 && b[len] == '/';
}

/* Files no two of which are in each other's way. */
static size_t random_files(uint64_t *rng, struct file files[FILES])
{
	size_t count = 0;

	for (unsigned i = 0; i < FILES; i++) {
		struct file f = {.mode = next_random(rng) % 4 ? FILE_MODE : EXEC_MODE,
			.content = (unsigned)(next_random(rng) % 3)};
		bool fits = true;

		random_path(rng, f.path);
		for (size_t k = 0; k < count && fits; k++)
			fits = strcmp(f.path, files[k].path) != 0 &&
			       !is_above(f.path, files[k].path) && !is_above(files[k].path, f.path);
		if (fits)
			files[count++] = f;
	}
	return count;
}

static const struct file *find(const struct file *files, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

static struct layer *difference(
	const struct file *from, size_t from_count, const struct file *to, size_t to_count)
{
	struct layer *l = layer_new(20);

	for (size_t i = 0; i < to_count; i++) {
		const struct file *old = find(from, from_count, to[i].path);

		expect(l, to[i].path,
			old ? entry_of(old->mode, old->content) : (struct layer_entry){0},
			entry_of(to[i].mode, to[i].content));
	}
	for (size_t i = 0; i < from_count; i++)
		if (!find(to, to_count, from[i].path))
			expect(l, from[i].path, entry_of(from[i].mode, from[i].content),
				(struct layer_entry){0});
	return l;
}

static void the_way_does_not_matter(void **state)
{
	uint64_t rng = 42;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct file from[FILES], to[FILES];
		size_t from_count = random_files(&rng, from), to_count = random_files(&rng, to);
		struct layer_store s;
		struct oid a, b, root = {0};

		layer_store_init(&s);
		a = tree_of(&s, from, from_count);
		b = tree_of(&s, to, to_count);
		assert_int_equal(
			merged(&s, difference(from, from_count, to, to_count), &a, &root), 0);
		assert_oid(root, b);
		assert_int_equal(merged(&s, difference(to, to_count, to, to_count), &b, &root), 0);
		assert_oid(root, b);
		layer_store_fini(&s);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_changes_nothing),
		TEST(only_directories_on_the_way_are_written),
		TEST(directories_that_become_empty_go),
		TEST(files_and_directories_take_each_others_place),
		TEST(whole_trees_are_grafted),
		TEST(conflicts_are_told_all_and_nothing_is_written),
		TEST(what_is_there_already_fits),
		TEST(bad_input_is_refused),
		TEST(unknown_sizes_are_asked_for_once_per_file),
		TEST(a_source_that_fails_fails_the_merge),
		TEST(the_way_does_not_matter),
	};
#undef TEST

	return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
