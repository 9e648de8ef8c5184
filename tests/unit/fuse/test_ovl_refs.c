/* SPDX-License-Identifier: Apache-2.0 */
/* Ids and lookup counts: never an id twice, whatever happened to the files; counts that clamp; a
 * full reserve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "overlay/ovl_state.h"
#include "tmpdir.h"

struct fixture {
	struct tmpdir tmp;
	struct ovl_ws ws;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	tmpdir_init(&f->tmp);
	f->ws.work_fd = open(f->tmp.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ovl_refs_close(&f->ws, true);
	(void)close(f->ws.work_fd);
	tmpdir_fini(&f->tmp);
	free(f);
	return 0;
}

static void reopen(struct fixture *f, bool clean)
{
	ovl_refs_close(&f->ws, clean);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
}

static uint64_t alloc(struct fixture *f, uint32_t count)
{
	uint64_t local = 0;

	assert_int_equal(ovl_ids_alloc(&f->ws, count, &local), 0);
	return local;
}

static void test_marks_about_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 10);

	assert_false(ovl_refs_has_pages(&f->ws, id));
	ovl_refs_add(&f->ws, id, 2);
	ovl_refs_pages_come(&f->ws, id);
	assert_true(ovl_refs_has_pages(&f->ws, id));
	assert_int_equal(ovl_refs_get(&f->ws, id), 2);
	ovl_refs_pages_go(&f->ws, id);
	assert_true(ovl_refs_has_pages(&f->ws, id)); /* until they are gone */
	ovl_refs_pages_gone(&f->ws, id);
	assert_false(ovl_refs_has_pages(&f->ws, id));
	/* one comes while others go */
	ovl_refs_pages_go(&f->ws, id);
	ovl_refs_pages_come(&f->ws, id);
	ovl_refs_pages_gone(&f->ws, id);
	assert_true(ovl_refs_has_pages(&f->ws, id));
	/* lookups are counted beside the marks, which go with the last one */
	assert_int_equal(ovl_refs_sub(&f->ws, id, 1), 1);
	assert_true(ovl_refs_has_pages(&f->ws, id));
	assert_int_equal(ovl_refs_sub(&f->ws, id, 1), 0);
	assert_false(ovl_refs_has_pages(&f->ws, id));
	assert_false(ovl_refs_has_pages(&f->ws, id + 10)); /* nobody was given it */
}

/* Who lists for days without the kernel forgetting: the count stays, and one FORGET ends it. */
static void test_a_count_does_not_wrap(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 1);

	for (unsigned i = 0; i < 10; i++)
		ovl_refs_add(&f->ws, id, 1u << 28);
	assert_true(ovl_refs_get(&f->ws, id) >= 1u << 29);
	assert_false(ovl_refs_has_pages(&f->ws, id));
	assert_int_equal(ovl_refs_sub(&f->ws, id, 10ull << 28), 0);
}

static void test_counts(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 10);

	assert_int_equal(id, OVL_LOCAL_ROOT + 1);
	ovl_refs_add(&f->ws, id + 3, 2);
	assert_int_equal(ovl_refs_get(&f->ws, id + 3), 2);
	assert_int_equal(ovl_refs_get(&f->ws, id + 4), 0);
	assert_int_equal(ovl_refs_sub(&f->ws, id + 3, 1), 1);
	assert_int_equal(ovl_refs_sub(&f->ws, id + 3, UINT64_MAX), 0);
	assert_int_equal(ovl_refs_sub(&f->ws, id + 3, 1), 0);
	/* ids that nobody was given */
	ovl_refs_add(&f->ws, id + 10, 1);
	assert_int_equal(ovl_refs_get(&f->ws, id + 10), 0);
	assert_int_equal(ovl_refs_sub(&f->ws, UINT64_MAX, 1), 0);
	assert_false(ovl_ids_known(&f->ws, OVL_LOCAL_ROOT));
	assert_true(ovl_ids_known(&f->ws, id));
	assert_false(ovl_ids_known(&f->ws, id + 10));
}

static void test_ids_go_on_after_a_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 1000);

	ovl_refs_add(&f->ws, id, 7);
	reopen(f, false); /* as after kill -9: nothing was said at the end */
	assert_int_equal(ovl_refs_get(&f->ws, id), 0);
	assert_int_equal(alloc(f, 1), id + 1000);
	reopen(f, true);
	assert_int_equal(alloc(f, 1), id + 1001);
}

/* A crash of the machine may bring back an old refs file, or none. */
static void test_ids_go_on_after_the_file_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 70000), next;

	assert_int_equal(unlinkat(f->ws.work_fd, "refs", 0), 0);
	reopen(f, false);
	next = alloc(f, 1);
	assert_true(next >= id + 70000);
	assert_int_equal(unlinkat(f->ws.work_fd, "refs", 0), 0);
	reopen(f, true); /* a clean end writes the exact limit */
	assert_int_equal(alloc(f, 1), next + 1);
}

static void test_garbage_is_not_believed(void **state)
{
	struct fixture *f = *state;
	uint64_t id = alloc(f, 100), limit = UINT64_MAX;
	int fd;

	ovl_refs_close(&f->ws, true);
	fd = openat(f->ws.work_fd, "refs", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "garbage garbage garbage", 23, 0), 23);
	assert_int_equal(ftruncate(fd, 30), 0);
	(void)close(fd);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
	assert_int_equal(alloc(f, 1), id + 100);
	ovl_refs_close(&f->ws, true);
	assert_int_equal(
		fsetxattr(f->ws.work_fd, "trusted.coppice.ids", &limit, sizeof(limit), 0), 0);
	assert_int_equal(unlinkat(f->ws.work_fd, "refs", 0), 0);
	assert_int_equal(ovl_refs_open(&f->ws), -EPROTO);
	assert_int_equal(fremovexattr(f->ws.work_fd, "trusted.coppice.ids"), 0);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
}

static void test_the_end_of_the_ids(void **state)
{
	struct fixture *f = *state;
	uint64_t id = 0;

	assert_int_equal(ovl_ids_alloc(&f->ws, UINT32_MAX, &id), -ENOSPC);
	assert_int_equal(id, 0);
	assert_int_equal(alloc(f, 1), OVL_LOCAL_ROOT + 1);
}

static void *count_up(void *arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; i < 20000; i++) {
		ovl_refs_add(&f->ws, OVL_LOCAL_ROOT + 1, 2);
		(void)ovl_refs_sub(&f->ws, OVL_LOCAL_ROOT + 1, 1);
		if (i % 1000 == 0)
			(void)alloc(f, 5000);
	}
	return NULL;
}

static void test_counting_while_the_file_grows(void **state)
{
	struct fixture *f = *state;
	pthread_t t[2];

	(void)alloc(f, 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count_up, f), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(ovl_refs_get(&f->ws, OVL_LOCAL_ROOT + 1), 40000);
	assert_int_equal(alloc(f, 1), OVL_LOCAL_ROOT + 2 + 2 * 20 * 5000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_counts),
		T(test_marks_about_pages),
		T(test_a_count_does_not_wrap),
		T(test_ids_go_on_after_a_kill),
		T(test_ids_go_on_after_the_file_is_lost),
		T(test_garbage_is_not_believed),
		T(test_the_end_of_the_ids),
		T(test_counting_while_the_file_grows),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
