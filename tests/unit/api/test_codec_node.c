/* SPDX-License-Identifier: Apache-2.0 */
/* codec_node.c: numbers arrive in their fields, unlimited is 0, what did not occur is left out,
 * memory may end anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arena.h"
#include "base/quota.h"
#include "codec_node.h"
#include "storage/blob.h"
#include "storage/tree.h"

static const struct blob_stats blobs = {
	.tier = {{"memory", 1, 2, 3, 4, 5, 6, 7, 8, 9},
		{"disk", 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, "down", "h:1: gone"}},
	.tier_count = 2,
	.fetches = 20,
	.fetched_bytes = 21,
	.joined = 22,
	.failed = 23,
	.verify_failures = 24};
static const struct tree_stats trees = {
	.trees = 30, .blobs = 31, .used_bytes = 32, .max_bytes = 33};

static void test_cache(void **state)
{
	struct arena a;
	Coppice__V1__CacheStats *m;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	m = codec_cache_stats(&blobs, &trees, &a);
	assert_int_equal(m->n_tiers, 2);
	assert_string_equal(m->tiers[0]->name, "memory");
	assert_int_equal(m->tiers[1]->blobs, 11);
	assert_int_equal(m->tiers[1]->bytes, 12);
	assert_int_equal(m->tiers[1]->budget_bytes, 13);
	assert_int_equal(m->tiers[1]->hits, 14);
	assert_int_equal(m->tiers[1]->misses, 15);
	assert_int_equal(m->tiers[1]->evictions, 16);
	assert_int_equal(m->tiers[1]->evicted_bytes, 17);
	assert_int_equal(m->tiers[1]->errors, 18);
	assert_int_equal(m->tiers[1]->pinned, 19);
	assert_int_equal(m->tiers[1]->drops, 20);
	assert_string_equal(m->tiers[0]->state, "");
	assert_string_equal(m->tiers[1]->state, "down");
	assert_string_equal(m->tiers[1]->reason, "h:1: gone");
	assert_int_equal(m->joined, 22);
	assert_int_equal(m->verify_failures, 24);
	assert_int_equal(m->trees, 30);
	assert_int_equal(m->index_blobs, 31);
	assert_int_equal(m->index_bytes, 32);
	arena_fini(&a);
}

static void test_usage(void **state)
{
	struct quota q;
	struct arena a;
	Coppice__V1__TenantUsage *m;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	quota_init(&q, NULL);
	quota_set_limit(&q, QUOTA_BYTES, 100);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 60), 0);
	assert_int_equal(quota_charge(&q, QUOTA_MOUNTS, 2), 0);
	m = codec_tenant_usage("t", &q, &a);
	assert_string_equal(m->tenant, "t");
	assert_int_equal(m->bytes, 60);
	assert_int_equal(m->bytes_limit, 100);
	assert_int_equal(m->mounts, 2);
	assert_int_equal(m->mounts_limit, 0);
	assert_int_equal(m->inodes_limit, 0);
	quota_release(&q, QUOTA_BYTES, 60);
	quota_release(&q, QUOTA_MOUNTS, 2);
	quota_fini(&q);
	arena_fini(&a);
}

static const char *name_of(unsigned opcode)
{
	return opcode == 1 ? "LOOKUP" : NULL;
}

static void test_operations(void **state)
{
	uint64_t counts[64] = {[1] = 5, [62] = UINT64_MAX};
	Coppice__V1__Node node = COPPICE__V1__NODE__INIT;
	struct arena a;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	assert_true(codec_operations(counts, name_of, &node, &a));
	assert_int_equal(node.n_fuse_operations, 2);
	assert_string_equal(node.fuse_operations[0]->operation, "LOOKUP");
	assert_int_equal(node.fuse_operations[0]->count, 5);
	assert_string_equal(node.fuse_operations[1]->operation, "OPCODE_62");
	arena_fini(&a);
}

static void test_memory_ends(void **state)
{
	bool done = false;

	(void)state;
	for (size_t max = 0; !done; max += 32) {
		struct arena a;

		arena_init(&a, max);
		done = codec_cache_stats(&blobs, &trees, &a) != NULL &&
		       codec_origin("o", "git", "/x", NULL, &a) != NULL;
		arena_fini(&a);
		assert_true(max < 1 << 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_memory_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
