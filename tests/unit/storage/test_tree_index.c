// SPDX-License-Identifier: Apache-2.0
/* storage/tree: the index keeps directories and facts, prefers records with sizes, and drops what
 * is damaged. */
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
#include <unistd.h>

#include "alloc_fault.h"
#include "base/err.h"
#include "storage/kv.h"
#include "storage/tree.h"
#include "tmpdir.h"
#include "tree/tree_internal.h"

struct world {
	struct tmpdir tmp;
	char dir[300];
	struct tree_index *ti;
};

static void world_open(struct world *w)
{
	struct err e = {0};

	assert_int_equal(tree_index_open(&w->ti, w->dir, 16 << 20, NULL, &e), 0);
}

static int setup(void **state)
{
	static struct world w;

	w = (struct world){0};
	tmpdir_init(&w.tmp);
	(void)tmpdir_path(&w.tmp, "index", w.dir, sizeof(w.dir));
	world_open(&w);
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

static struct oid oid_of(uint8_t seed, uint8_t len)
{
	struct oid o = {.len = len};

	memset(o.bytes, seed, len);
	return o;
}

/* A directory with one file called `name`. */
static void *pack(uint8_t oid_len, const char *name, bool size_known, size_t *ret_len)
{
	struct tree_builder *b = tree_builder_new(oid_len);
	const struct tree_builder_entry entry = {
		name,
		strlen(name),
		S_IFREG | 0644,
		oid_of(9, oid_len),
		size_known,
		77,
	};
	void *record;

	assert_int_equal(tree_builder_add(b, &entry), 0);
	assert_int_equal(tree_builder_finish(b, &record, ret_len), 0);
	tree_builder_free(b);
	return record;
}

static int put(struct world *w, const struct oid *tree, const char *name, bool size_known)
{
	size_t len;
	void *record = pack(tree->len, name, size_known, &len);
	int r = tree_put(w->ti, tree, record, len);

	free(record);
	return r;
}

static void test_put_then_view(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20), other = oid_of(2, 20);
	struct tree_view view;
	uint32_t idx;

	assert_int_equal(tree_view_begin(w->ti, &tree, &view), -EAGAIN);
	assert_int_equal(put(w, &tree, "name", true), 0);
	assert_int_equal(tree_view_begin(w->ti, &other, &view), -EAGAIN);
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), 0);
	assert_int_equal(view.count, 1);
	assert_true(tree_view_find(&view, "name", 4, &idx));
	tree_view_end(&view);
}

static void test_long_oids_have_their_own_trees(void **state)
{
	struct world *w = *state;
	struct oid short_one = oid_of(1, 20), long_one = oid_of(1, 32);
	struct tree_view view;

	assert_int_equal(put(w, &long_one, "long", true), 0);
	assert_int_equal(tree_view_begin(w->ti, &short_one, &view), -EAGAIN);
	assert_int_equal(tree_view_begin(w->ti, &long_one, &view), 0);
	assert_int_equal(view.oid_len, 32);
	tree_view_end(&view);
}

static bool sizes_known(struct world *w, const struct oid *tree)
{
	struct tree_view view;
	bool known;

	assert_int_equal(tree_view_begin(w->ti, tree, &view), 0);
	known = view.sizes_known;
	tree_view_end(&view);
	return known;
}

static void test_sizes_replace_no_sizes_and_stay(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20);

	assert_int_equal(put(w, &tree, "f", false), 0);
	assert_false(sizes_known(w, &tree));
	assert_int_equal(put(w, &tree, "f", true), 0);
	assert_true(sizes_known(w, &tree));
	assert_int_equal(put(w, &tree, "f", false), 0);
	assert_true(sizes_known(w, &tree));
}

static void test_bad_records_are_refused(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20), longer = oid_of(1, 32);
	struct tree_view view;
	size_t len;
	uint8_t *record = pack(20, "f", true, &len);

	assert_int_equal(tree_put(w->ti, &longer, record, len), -EBADMSG);
	record[len - 1] ^= 1;
	assert_int_equal(tree_put(w->ti, &tree, record, len), -EBADMSG);
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), -EAGAIN);
	free(record);
}

static void put_raw(
	struct world *w, enum tree_table table, const struct oid *key, const char *value)
{
	const struct kv_op op = {table, key->bytes, key->len, value, strlen(value), false};

	assert_int_equal(kv_write(w->ti->kv, &op, 1), 0);
}

static void test_damaged_records_are_dropped(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20), blob = oid_of(2, 20), commit = oid_of(3, 20);
	struct tree_view view;
	struct tree_commit c;
	struct content_digests digests;
	struct tree_lfs lfs;
	uint64_t size;

	put_raw(w, TABLE_TREES, &tree, "this is not a packed directory, not at all");
	put_raw(w, TABLE_SIZES, &blob, "nine char");
	put_raw(w, TABLE_DIGESTS, &blob, "short");
	put_raw(w, TABLE_COMMITS, &commit, "short");
	put_raw(w, TABLE_LFS, &blob, "short");
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), -EIO);
	assert_int_equal(tree_blob_size(w->ti, &blob, &size), -ENOENT);
	assert_int_equal(tree_blob_digests(w->ti, &blob, &digests), -ENOENT);
	assert_int_equal(tree_commit_get(w->ti, &commit, &c), -ENOENT);
	assert_int_equal(tree_lfs(w->ti, &blob, &lfs), -ENOENT);
	assert_int_equal(kv_flush(w->ti->kv), 0);
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), -EAGAIN);
	assert_int_equal(put(w, &tree, "again", false), 0);
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), 0);
	tree_view_end(&view);
}

static void test_a_put_repairs_a_damaged_record(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20);

	put_raw(w, TABLE_TREES, &tree, "damaged");
	assert_int_equal(put(w, &tree, "again", false), 0);
	assert_false(sizes_known(w, &tree));
}

static void test_facts_survive_a_restart(void **state)
{
	struct world *w = *state;
	struct oid blob = oid_of(2, 20), commit = oid_of(3, 20), tree = oid_of(1, 20);
	struct tree_commit c = {.root = oid_of(4, 20), .time_s = -5}, back;
	struct tree_stats stats;
	struct content_digests digests = {.oid = blob}, digests_back = {0};
	uint64_t size;

	memset(digests.sha256, 0xab, sizeof(digests.sha256));
	memset(digests.sha1, 0xcd, sizeof(digests.sha1));
	assert_int_equal(tree_blob_size(w->ti, &blob, &size), -ENOENT);
	assert_int_equal(tree_blob_digests(w->ti, &blob, &digests_back), -ENOENT);
	assert_int_equal(tree_commit_get(w->ti, &commit, &back), -ENOENT);
	assert_int_equal(tree_put_blob_size(w->ti, &blob, 1ull << 33), 0);
	assert_int_equal(tree_put_blob_digests(w->ti, &digests), 0);
	assert_int_equal(tree_commit_put(w->ti, &commit, &c), 0);
	assert_int_equal(put(w, &tree, "f", true), 0);
	w->ti = tree_index_close(w->ti);
	world_open(w);
	assert_int_equal(tree_blob_size(w->ti, &blob, &size), 0);
	assert_true(size == 1ull << 33);
	assert_int_equal(tree_blob_digests(w->ti, &blob, &digests_back), 0);
	assert_memory_equal(&digests_back, &digests, sizeof(digests));
	assert_int_equal(tree_commit_get(w->ti, &commit, &back), 0);
	assert_true(oid_equal(&back.root, &c.root));
	assert_true(back.time_s == -5);
	assert_int_equal(tree_stats(w->ti, &stats), 0);
	assert_int_equal(stats.trees, 1);
	assert_int_equal(stats.blobs, 1);
	assert_int_equal(stats.commits, 1);
	assert_false(stats.set_aside);
}

static void test_damaged_index_starts_empty_and_says_so(void **state)
{
	struct world *w = *state;
	struct oid tree = oid_of(1, 20);
	struct tree_stats stats;
	struct tree_view view;
	char path[400];

	assert_int_equal(put(w, &tree, "f", true), 0);
	w->ti = tree_index_close(w->ti);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", w->dir);
	assert_int_equal(truncate(path, 5000), 0);
	world_open(w);
	assert_int_equal(tree_stats(w->ti, &stats), 0);
	assert_true(stats.set_aside);
	assert_int_equal(stats.trees, 0);
	assert_int_equal(tree_view_begin(w->ti, &tree, &view), -EAGAIN);
	assert_int_equal(put(w, &tree, "f", true), 0);
}

static void test_bad_keys_are_refused(void **state)
{
	struct world *w = *state;
	struct oid none = {0}, odd = {.len = 7};
	struct tree_view view;
	struct tree_commit c = {.root = oid_of(1, 32)};
	struct oid commit = oid_of(1, 20);

	assert_int_equal(tree_put_blob_size(w->ti, &none, 1), -EINVAL);
	assert_int_equal(tree_put_blob_size(w->ti, &odd, 1), -EINVAL);
	assert_int_equal(tree_view_begin(w->ti, &none, &view), -EINVAL);
	assert_int_equal(tree_commit_put(w->ti, &commit, &c), -EINVAL);
}

static void test_open_without_memory(void **state)
{
	struct world *w = *state;
	unsigned n;

	w->ti = tree_index_close(w->ti);
	for (n = 0; n < 1000; n++) {
		struct err e = {0};
		int r;

		alloc_fault_arm(n);
		r = tree_index_open(&w->ti, w->dir, 16 << 20, NULL, &e);
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
	assert_in_range(n, 2, 999);
}

static void test_lfs_pointers(void **state)
{
	struct world *w = *state;
	struct oid blob = oid_of(2, 20), other = oid_of(3, 20), bad = {.len = 5};
	struct tree_lfs lfs = {.size = 1ull << 40, .sha256 = {1, 2, 3}}, found;

	assert_int_equal(tree_put_lfs(w->ti, &blob, &lfs), 0);
	assert_int_equal(tree_lfs(w->ti, &blob, &found), 0);
	assert_int_equal(found.size, lfs.size);
	assert_memory_equal(found.sha256, lfs.sha256, sizeof(lfs.sha256));
	assert_int_equal(tree_lfs(w->ti, &other, &found), -ENOENT);
	assert_int_equal(tree_put_lfs(w->ti, &bad, &lfs), -EINVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_put_then_view),
		T(test_long_oids_have_their_own_trees),
		T(test_sizes_replace_no_sizes_and_stay),
		T(test_bad_records_are_refused),
		T(test_damaged_records_are_dropped),
		T(test_a_put_repairs_a_damaged_record),
		T(test_facts_survive_a_restart),
		T(test_lfs_pointers),
		T(test_damaged_index_starts_empty_and_says_so),
		T(test_bad_keys_are_refused),
		T(test_open_without_memory),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
