/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index is kept within its size: what is shown stays, what is made stays until somebody shows
 * it, and the rest makes room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/collect.h"
#include "storage/layer.h"
#include "storage_world.h"

#define INDEX_BYTES (8u << 20)
#define ENTRIES     200u /* of a directory: a record of about 10 KiB */
#define MANY        1500u

struct fixture {
	struct world w;
	struct oid shown;
};

static void open_storage(struct world *w)
{
	struct err e = {0};
	const struct storage_config config = {
		.data_dir = w->tmp.path,
		.memory_bytes = 1 << 20,
		.disk_bytes = 16 << 20,
		.index_bytes = INDEX_BYTES,
		.clock = &clock_system,
	};

	if (storage_open(&w->st, &config, &e) < 0)
		fail_msg("%s", err_message(&e));
	assert_int_equal(storage_add_origin(w->st, w->origin), 0);
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){0};
	world_init(&f.w, *state);
	storage_close(f.w.st);
	open_storage(&f.w);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	world_fini(&f->w);
	return 0;
}

static struct oid name_of(unsigned n)
{
	struct oid oid;

	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, &n, sizeof(n), &oid), 0);
	return oid;
}

/* A directory of this name with a directory `child` and files. */
static int put(struct fixture *f, unsigned n, unsigned child)
{
	struct tree_builder *b = tree_builder_new(20);
	struct tree_builder_entry entry = {
		.name = "child", .name_len = 5, .mode = S_IFDIR | 0755, .oid = name_of(child)};
	struct oid tree = name_of(n);
	char name[32];
	void *record;
	size_t len;
	int r;

	assert_int_equal(tree_builder_add(b, &entry), 0);
	for (unsigned i = 0; i < ENTRIES; i++) {
		(void)snprintf(name, sizeof(name), "file %u of %u", i, n);
		entry = (struct tree_builder_entry){.name = name,
			.name_len = strlen(name),
			.mode = S_IFREG | 0644,
			.oid = name_of(n * ENTRIES + i)};
		assert_int_equal(tree_builder_add(b, &entry), 0);
	}
	assert_int_equal(tree_builder_finish(b, &record, &len), 0);
	r = tree_put(storage_tree_index(f->w.st), &tree, record, len);
	free(record);
	tree_builder_free(b);
	return r;
}

static bool has(struct fixture *f, const struct oid *tree)
{
	struct tree_view view;
	int r = storage_tree_view(f->w.st, tree, &view);

	if (r == 0)
		tree_view_end(&view);
	else
		assert_int_equal(r, -EAGAIN);
	return r == 0;
}

static void each(void *arg, storage_root_fn fn, void *fn_arg)
{
	fn(fn_arg, &((struct fixture *)arg)->shown);
}

static void start(struct fixture *f)
{
	assert_int_equal(
		storage_collect_start(f->w.st, &(struct storage_roots){.each = each, .arg = f}), 0);
}

static uint64_t live_bytes(struct fixture *f)
{
	struct tree_stats s;

	assert_int_equal(tree_stats(storage_tree_index(f->w.st), &s), 0);
	assert_true(s.used_bytes <= INDEX_BYTES + INDEX_BYTES / 8 + (1 << 20));
	assert_int_equal(s.max_bytes, INDEX_BYTES);
	return s.live_bytes;
}

static void what_is_shown_stays_while_more_than_fits_goes_through(void **state)
{
	struct fixture *f = *state;
	struct oid child = name_of(2), old = name_of(100);

	f->shown = name_of(1);
	assert_int_equal(put(f, 1, 2), 0);
	assert_int_equal(put(f, 2, 3), 0); /* nobody ever had the third */
	start(f);
	for (unsigned n = 100; n < 100 + MANY; n++) {
		assert_int_equal(put(f, n, n - 1), 0);
		assert_true(has(f, &f->shown) && has(f, &child));
	}
	assert_false(has(f, &old));
	assert_true(live_bytes(f) < INDEX_BYTES);
}

/* The way from a merge to a mount that shows it: nobody but the index has its directories. */
static void what_was_made_stays_until_somebody_shows_it(void **state)
{
	struct fixture *f = *state;
	struct layer *l = layer_new(20);
	const struct layer_change c = {.path = "src/deep/er/made",
		.put = {.mode = S_IFREG | 0644, .oid = name_of(7), .size_known = true, .size = 7}};
	struct layer_report report = {0};
	struct oid root, dir;
	struct err e = {0};

	start(f);
	assert_int_equal(layer_add(l, &c), 0);
	assert_int_equal(storage_lay_over(f->w.st, f->w.origin, &f->w.rev.root, l, in_ms(5000),
				 &report, &root),
		0);
	layer_free(l);
	for (unsigned n = 100; n < 100 + MANY; n++)
		assert_int_equal(put(f, n, n - 1), 0);
	f->w.plan.tree_error = -EHOSTUNREACH;
	assert_int_equal(storage_find_subtree(
				 f->w.st, f->w.origin, &root, "src/deep/er", in_ms(1000), &dir, &e),
		0);
	assert_true(has(f, &dir));
}

static void nothing_goes_before_it_is_known_what_is_shown(void **state)
{
	struct fixture *f = *state;
	struct oid first = name_of(100);
	unsigned n = 100;
	int r = 0;

	for (; r == 0 && n < 100 + MANY; n++)
		r = put(f, n, n - 1);
	assert_int_equal(r, -ENOSPC);
	assert_true(has(f, &first));
	f->shown = first;
	start(f);
	assert_int_equal(put(f, n, n - 1), 0);
	assert_true(has(f, &first));
}

/* More is shown than fits: what else comes is refused, at once. */
static void what_is_shown_does_not_fit(void **state)
{
	struct fixture *f = *state;
	struct oid last;
	unsigned n = 100;
	int r = 0;

	f->shown = name_of(MANY);
	start(f);
	for (unsigned i = MANY; r == 0 && i > 0; i--)
		r = put(f, i, i - 1); /* each leads to the next */
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(put(f, MANY + n, 0), -ENOSPC);
	last = name_of(MANY - 100);
	assert_true(has(f, &f->shown) && has(f, &last));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_is_shown_stays_while_more_than_fits_goes_through, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_was_made_stays_until_somebody_shows_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			nothing_goes_before_it_is_known_what_is_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_shown_does_not_fit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, repository_setup, repository_teardown);
}
