/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks: ids to directories and back, thousands of them, searched while they are being added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "overlay/ovl_state.h"
#include "tmpdir.h"

#define DIRS 3000u

struct fixture {
	struct tmpdir tmp;
	struct ovl_ws ws;
	uint64_t base[DIRS];
	_Atomic unsigned added;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	tmpdir_init(&f->tmp);
	f->ws.serial = 3;
	f->ws.work_fd = open(f->tmp.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
	assert_int_equal(ovl_blocks_open(&f->ws), 0);
	assert_int_equal(ovl_journal_open(&f->ws), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ovl_journal_close(&f->ws);
	ovl_blocks_close(&f->ws);
	ovl_refs_close(&f->ws, true);
	(void)close(f->ws.work_fd);
	tmpdir_fini(&f->tmp);
	free(f);
	return 0;
}

static struct oid tree_of(unsigned i)
{
	struct oid oid = {.len = 20};

	memcpy(oid.bytes, &i, sizeof(i));
	return oid;
}

static uint64_t dir_of(unsigned i)
{
	return 3ull << OVL_LOCAL_BITS | (i + 1);
}

static void add(struct fixture *f, unsigned i)
{
	struct oid tree = tree_of(i);

	assert_int_equal(ovl_block_get(&f->ws, dir_of(i), &tree, i % 7 + 1, &f->base[i]), 0);
}

static const char *check(struct fixture *f, unsigned i)
{
	struct ovl_block got;
	struct oid tree = tree_of(i);

	for (uint32_t at = 0; at < i % 7 + 1; at++)
		if (!ovl_block_of(&f->ws, f->base[i] + at, &got) || got.base != f->base[i] ||
			got.dir_id != dir_of(i) || !oid_equal(&got.tree, &tree))
			return "wrong block";
	return NULL;
}

static void test_find(void **state)
{
	struct fixture *f = *state;
	struct ovl_block got;
	uint64_t again;

	assert_false(ovl_block_of(&f->ws, 2, &got));
	for (unsigned i = 0; i < DIRS; i++) {
		add(f, i);
		if (i % 10 == 0) /* ids that belong to no block */
			assert_int_equal(ovl_ids_alloc(&f->ws, 1, &again), 0);
	}
	for (unsigned i = 0; i < DIRS; i++)
		assert_null(check(f, i));
	assert_false(ovl_block_of(&f->ws, 0, &got));
	assert_false(ovl_block_of(&f->ws, OVL_LOCAL_ROOT, &got));
	assert_false(ovl_block_of(&f->ws, UINT64_MAX, &got));
	assert_false(ovl_block_of(&f->ws, f->base[0] + 1, &got)); /* the single id behind block 0 */
}

static void test_a_directory_keeps_its_block(void **state)
{
	struct fixture *f = *state;
	struct oid tree = tree_of(1), other = tree_of(2);
	uint64_t a, b, c;

	assert_int_equal(ovl_block_get(&f->ws, dir_of(1), &tree, 4, &a), 0);
	assert_int_equal(ovl_block_get(&f->ws, dir_of(1), &tree, 4, &b), 0);
	assert_int_equal(a, b);
	assert_int_equal(
		ovl_block_get(&f->ws, dir_of(1), &other, 4, &c), 0); /* moved to another tree */
	assert_int_not_equal(a, c);
	assert_int_equal(ovl_block_get(&f->ws, dir_of(1), &other, 4, &b), 0);
	assert_int_equal(b, c);
}

static void *search(void *arg)
{
	struct fixture *f = arg;
	unsigned added;

	do {
		added = atomic_load(&f->added);
		for (unsigned i = added > 50 ? added - 50 : 0; i < added; i++)
			if (check(f, i))
				return (void *)(uintptr_t) "wrong block";
	} while (added < DIRS);
	return NULL;
}

static void test_search_while_growing(void **state)
{
	struct fixture *f = *state;
	pthread_t t;
	void *failed;

	assert_int_equal(pthread_create(&t, NULL, search, f), 0);
	for (unsigned i = 0; i < DIRS; i++) {
		add(f, i);
		atomic_store(&f->added, i + 1);
	}
	assert_int_equal(pthread_join(t, &failed), 0);
	assert_null(failed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_find),
		T(test_a_directory_keeps_its_block),
		T(test_search_while_growing),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
