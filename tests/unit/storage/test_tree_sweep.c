// SPDX-License-Identifier: Apache-2.0
/* storage/tree: a sweep drops what is not to be kept, and nothing that is put meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "storage/tree.h"
#include "tmpdir.h"
#include "tree/tree_sweep.h"

#define TREES 3000u /* several stretches */

struct world {
	struct tmpdir tmp;
	char dir[300];
	struct tree_index *ti;
	_Atomic bool stop;
};

static int setup(void **state)
{
	static struct world w;
	struct err e = {0};

	w = (struct world){0};
	tmpdir_init(&w.tmp);
	(void)tmpdir_path(&w.tmp, "index", w.dir, sizeof(w.dir));
	assert_int_equal(tree_index_open(&w.ti, w.dir, 64 << 20, NULL, &e), 0);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	tree_index_close(w->ti);
	tmpdir_fini(&w->tmp);
	return 0;
}

static struct oid name_of(const char *kind, unsigned n)
{
	char text[40];
	struct oid oid;
	int len = snprintf(text, sizeof(text), "%s %u", kind, n);

	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, text, (size_t)len, &oid), 0);
	return oid;
}

/* Directory n: one file, whose size and digests are known, too. */
static void put(struct world *w, unsigned n)
{
	struct tree_builder *b = tree_builder_new(20);
	const struct tree_builder_entry entry = {
		.name = "f", .name_len = 1, .mode = S_IFREG | 0644, .oid = name_of("blob", n)};
	struct content_digests digests = {.oid = name_of("blob", n)};
	struct tree_commit commit = {.root = name_of("tree", n), .time_s = n};
	struct oid tree = name_of("tree", n), blob = name_of("blob", n), c = name_of("commit", n);
	void *record;
	size_t len;

	assert_int_equal(tree_builder_add(b, &entry), 0);
	assert_int_equal(tree_builder_finish(b, &record, &len), 0);
	assert_int_equal(tree_put(w->ti, &tree, record, len), 0);
	free(record);
	tree_builder_free(b);
	assert_int_equal(tree_put_blob_size(w->ti, &blob, n), 0);
	assert_int_equal(tree_put_blob_digests(w->ti, &digests), 0);
	assert_int_equal(tree_commit_put(w->ti, &c, &commit), 0);
}

static bool has_tree(struct world *w, unsigned n)
{
	struct oid tree = name_of("tree", n);
	struct tree_view view;
	int r = tree_view_begin(w->ti, &tree, &view);

	if (r == 0)
		tree_view_end(&view);
	else
		assert_int_equal(r, -EAGAIN);
	return r == 0;
}

static bool has_commit(struct world *w, unsigned n)
{
	struct oid commit = name_of("commit", n);
	struct tree_commit c;

	return tree_commit_get(w->ti, &commit, &c) == 0;
}

static bool has_facts(struct world *w, unsigned n)
{
	struct oid blob = name_of("blob", n);
	struct content_digests digests;
	uint64_t size;
	bool has = tree_blob_size(w->ti, &blob, &size) == 0;

	assert_int_equal(has, tree_blob_digests(w->ti, &blob, &digests) == 0);
	return has;
}

/* Of a multiple of `step` all is kept, of the others nothing but a few facts too many. */
static void check(struct world *w, unsigned step, const struct tree_swept *swept)
{
	unsigned too_many = 0, gone = TREES - (TREES + step - 1) / step;

	for (unsigned n = 0; n < TREES; n++) {
		assert_int_equal(has_tree(w, n), n % step == 0);
		assert_int_equal(has_commit(w, n), n % step == 0);
		if (n % step == 0)
			assert_true(has_facts(w, n));
		else
			too_many += has_facts(w, n);
	}
	assert_true(too_many < 10);
	assert_int_equal(swept->seen, 4 * TREES);
	assert_int_equal(swept->dropped, 4 * gone - 2 * too_many);
}

static void what_is_not_kept_goes(void **state)
{
	struct world *w = *state;
	struct tree_stats before, after;
	struct tree_sweep *s;
	struct tree_swept swept;

	for (unsigned n = 0; n < TREES; n++)
		put(w, n);
	assert_int_equal(tree_stats(w->ti, &before), 0);
	assert_int_equal(tree_sweep_begin(w->ti, &s), 0);
	for (unsigned n = 0; n < TREES; n += 7) {
		struct oid tree = name_of("tree", n), blob = name_of("blob", n);

		assert_int_equal(tree_sweep_keep_tree(s, &tree), 1);
		assert_int_equal(tree_sweep_keep_tree(s, &tree), 0);
		tree_sweep_keep_blob(s, &blob);
	}
	assert_int_equal(tree_sweep_drop(s, &w->stop, &swept), 0);
	tree_sweep_end(s);
	check(w, 7, &swept);
	assert_int_equal(tree_stats(w->ti, &after), 0);
	assert_true(after.live_bytes < before.live_bytes / 2);
	assert_int_equal(after.used_bytes >= after.live_bytes, 1);
}

/* It was there before, so that nothing is written: all the same it must stay. */
static void what_is_put_meanwhile_stays(void **state)
{
	struct world *w = *state;
	struct tree_sweep *s, *other;
	struct tree_swept swept;

	for (unsigned n = 0; n < 10; n++)
		put(w, n);
	assert_int_equal(tree_sweep_begin(w->ti, &s), 0);
	assert_int_equal(tree_sweep_begin(w->ti, &other), -EBUSY);
	put(w, 3);
	put(w, 11);
	assert_int_equal(tree_sweep_drop(s, &w->stop, &swept), 0);
	tree_sweep_end(s);
	for (unsigned n = 0; n < 12; n++) {
		assert_int_equal(has_tree(w, n), n == 3 || n == 11);
		assert_int_equal(has_commit(w, n), n == 3 || n == 11);
		assert_int_equal(has_facts(w, n), n == 3 || n == 11);
	}
	assert_int_equal(tree_sweep_begin(w->ti, &s), 0);
	tree_sweep_end(s);
}

/* Who walks must look into what was put meanwhile: it may lead to more. */
static void what_was_put_is_still_looked_into(void **state)
{
	struct world *w = *state;
	struct oid tree = name_of("tree", 1), other = name_of("tree", 2);
	struct tree_sweep *s;

	assert_int_equal(tree_sweep_begin(w->ti, &s), 0);
	put(w, 1);
	assert_int_equal(tree_sweep_keep_tree(s, &tree), 1);
	assert_int_equal(tree_sweep_keep_alone(s, &other), 0);
	assert_int_equal(tree_sweep_keep_alone(s, &other), -EEXIST);
	assert_int_equal(tree_sweep_keep_tree(s, &other), 1);
	assert_int_equal(tree_sweep_keep_tree(s, &other), 0);
	tree_sweep_end(s);
}

static void a_stop_ends_it(void **state)
{
	struct world *w = *state;
	struct tree_sweep *s;
	struct tree_swept swept;

	for (unsigned n = 0; n < TREES; n++)
		put(w, n);
	atomic_store(&w->stop, true);
	assert_int_equal(tree_sweep_begin(w->ti, &s), 0);
	assert_int_equal(tree_sweep_drop(s, &w->stop, &swept), -ECANCELED);
	tree_sweep_end(s);
	assert_true(swept.dropped < TREES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_not_kept_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_put_meanwhile_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_put_is_still_looked_into, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stop_ends_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
