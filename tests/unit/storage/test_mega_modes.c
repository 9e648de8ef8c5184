/* SPDX-License-Identifier: Apache-2.0 */
/* origin/mega_modes.h: modes are found by the tree's id, or the listing is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "origin/mega_modes.h"
#include "origin/raw_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES 40

/* FILES files and some directories whose names sort differently as directories. */
struct world {
	struct mega_listing listing;
	struct mega_entry entries[FILES + 4];
	char names[FILES + 4][32];
	struct mega_hint modes[FILES]; /* the right ones */
	struct buf tree;               /* the right object */
	struct oid want;
};

static void add(struct world *w, const char *name, bool directory)
{
	struct mega_entry *e = &w->entries[w->listing.count];

	(void)snprintf(w->names[w->listing.count], sizeof(w->names[0]), "%s", name);
	e->name = w->names[w->listing.count];
	e->name_len = strlen(name);
	e->directory = directory;
	e->oid.len = 20;
	e->oid.bytes[0] = (uint8_t)w->listing.count++;
}

static void setup(struct world *w)
{
	*w = (struct world){0};
	w->listing.entries = w->entries;
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "file%02u", (i * 7) % FILES);
		add(w, name, false);
		w->modes[i] =
			(struct mega_hint){w->entries[i].name, w->entries[i].name_len, 0100644};
	}
	add(w, "sort.b", false);
	add(w, "sort", true);
	add(w, "sort-a", false);
	add(w, "sort0", false);
	buf_init(&w->tree, 1 << 20);
}

static void seal(struct world *w)
{
	assert_int_equal(mega_modes_guess(&w->listing, w->modes, FILES, &w->tree), 0);
	assert_int_equal(
		digest_object(DIGEST_SHA1, OBJECT_TREE, w->tree.data, w->tree.len, &w->want), 0);
}

/* Without any hint. */
static int solve(struct world *w)
{
	struct buf guess;
	int r;

	buf_init(&guess, 1 << 20);
	assert_int_equal(mega_modes_guess(&w->listing, NULL, 0, &guess), 0);
	r = mega_modes_solve(&guess, &w->want);
	if (r == 0) {
		assert_int_equal(guess.len, w->tree.len);
		assert_memory_equal(guess.data, w->tree.data, guess.len);
	}
	buf_fini(&guess);
	return r;
}

static void test_git_order(void **state)
{
	static const char *const tail[] = {"sort-a", "sort.b", "sort", "sort0"};
	struct raw_tree raw;
	struct raw_tree_entry entry;
	struct world w;
	unsigned n = 0;

	(void)state;
	setup(&w);
	seal(&w);
	raw = raw_tree_begin(w.tree.data, w.tree.len, 20);
	while (raw_tree_next(&raw, &entry) > 0) {
		if (n >= FILES)
			assert_string_equal(entry.name, tail[n - FILES]);
		n++;
	}
	assert_int_equal(n, FILES + 4);
	buf_fini(&w.tree);
}

static void test_modes_are_found(void **state)
{
	static const struct {
		int one, two; /* files with another mode; -1: none */
		uint32_t mode_one, mode_two;
	} rows[] = {
		{-1, -1, 0, 0},
		{0, -1, 0100755, 0},
		{FILES - 1, -1, 0120000, 0},
		{17, -1, 0160000, 0},
		{3, 4, 0100755, 0100755},
		{0, FILES - 1, 0120000, 0100755},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world w;

		setup(&w);
		if (rows[i].one >= 0)
			w.modes[rows[i].one].mode = rows[i].mode_one;
		if (rows[i].two >= 0)
			w.modes[rows[i].two].mode = rows[i].mode_two;
		seal(&w);
		assert_int_equal(solve(&w), 0);
		buf_fini(&w.tree);
	}
}

static void test_all_executable(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	w.listing.count = FILES; /* files only */
	for (unsigned i = 0; i < FILES; i++)
		w.modes[i].mode = 0100755;
	seal(&w);
	assert_int_equal(solve(&w), 0);
	buf_fini(&w.tree);
}

static void test_hints_of_the_head_help(void **state)
{
	struct buf guess;
	struct world w;

	(void)state;
	setup(&w);
	for (unsigned i = 0; i < FILES; i += 3)
		w.modes[i].mode = 0100755; /* too many to find without hints */
	seal(&w);
	assert_int_equal(solve(&w), -EBADMSG);
	buf_init(&guess, 1 << 20);
	/* the head lacks one of the scripts */
	assert_int_equal(mega_modes_guess(&w.listing, w.modes + 1, FILES - 1, &guess), 0);
	assert_int_equal(mega_modes_solve(&guess, &w.want), 0);
	assert_memory_equal(guess.data, w.tree.data, w.tree.len);
	buf_fini(&guess);
	buf_fini(&w.tree);
}

static void test_another_directory_is_refused(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	seal(&w);
	w.entries[5].oid.bytes[3] = 1;
	assert_int_equal(solve(&w), -EBADMSG);
	buf_fini(&w.tree);
}

static void test_twice_the_same_name_is_no_tree(void **state)
{
	struct buf guess;
	struct world w;

	(void)state;
	setup(&w);
	add(&w, "x", false);
	w.listing.count--;
	w.entries[1] = w.entries[0];
	buf_init(&guess, 1 << 20);
	assert_int_equal(mega_modes_guess(&w.listing, NULL, 0, &guess), -EIO);
	buf_fini(&guess);
	buf_fini(&w.tree);
}

static void test_empty(void **state)
{
	struct mega_listing none = {0};
	struct buf guess;
	struct oid want;

	(void)state;
	buf_init(&guess, 100);
	assert_int_equal(mega_modes_guess(&none, NULL, 0, &guess), 0);
	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_TREE, "", 0, &want), 0);
	assert_int_equal(mega_modes_solve(&guess, &want), 0);
	want.bytes[0] ^= 1;
	assert_int_equal(mega_modes_solve(&guess, &want), -EBADMSG);
	buf_fini(&guess);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_git_order),
		cmocka_unit_test(test_modes_are_found),
		cmocka_unit_test(test_all_executable),
		cmocka_unit_test(test_hints_of_the_head_help),
		cmocka_unit_test(test_another_directory_is_refused),
		cmocka_unit_test(test_twice_the_same_name_is_no_tree),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
