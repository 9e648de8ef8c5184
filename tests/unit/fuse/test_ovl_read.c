/* SPDX-License-Identifier: Apache-2.0 */
/* Content by what the object is now: lower, upper, copied up under a reader, removed; symlinks;
 * holes; what is not local. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char target[4095];

	memset(target, 't', sizeof(target));
	world_init(w);
	fake_lower_add(w->fake, "f", S_IFREG | 0644, "0123456789", 10);
	fake_lower_add(w->fake, "nothing", S_IFREG | 0644, "", 0);
	fake_lower_add(w->fake, "l", S_IFLNK | 0777, "../a b", 6);
	fake_lower_add(w->fake, "long", S_IFLNK | 0777, target, sizeof(target));
	fake_lower_add(w->fake, "d/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "less", S_IFREG | 0644, "01234567ab", 10);
	fake_lower_tell_size(w->fake, 8);
	fake_lower_add(w->fake, "more", S_IFREG | 0644, "01234567cd", 10);
	fake_lower_tell_size(w->fake, 12);
	fake_lower_add(w->fake, "linkless", S_IFLNK | 0777, "to/there", 8);
	fake_lower_tell_size(w->fake, 2);
	world_open(w);
	*state = w;
	return 0;
}

static void test_lower(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "f");
	char buf[32];

	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, sizeof(buf), 0), 10);
	assert_memory_equal(buf, "0123456789", 10);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, 3, 4), 3);
	assert_memory_equal(buf, "456", 3);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, 3, 10), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, 3, UINT64_MAX), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), world_id(w, "d"), buf, 3, 0), -EISDIR);
	assert_int_equal(ovl_read(w->o, world_rq(w), OVL_ROOT_ID, buf, 3, 0), -EISDIR);
	assert_int_equal(ovl_read(w->o, world_rq(w), world_id(w, "l"), buf, 3, 0), -EINVAL);
	assert_int_equal(ovl_read(w->o, world_rq(w), 77, buf, 3, 0), -ESTALE);
}

static void test_a_size_that_was_a_lie_is_no_part_of_a_file(void **state)
{
	struct world *w = *state;
	uint64_t less = world_id(w, "less"), more = world_id(w, "more");
	char buf[32];

	assert_int_equal(ovl_read(w->o, world_rq(w), less, buf, 4, 2), 4); /* right so far */
	assert_memory_equal(buf, "2345", 4);
	assert_int_equal(ovl_read(w->o, world_rq(w), less, buf, sizeof(buf), 0), -EIO);
	assert_int_equal(ovl_read(w->o, world_rq(w), less, buf, 4, 4), -EIO); /* to its end */
	assert_int_equal(ovl_read(w->o, world_rq(w), more, buf, 10, 0), 10);
	assert_int_equal(ovl_read(w->o, world_rq(w), more, buf, sizeof(buf), 0), -EIO);
	assert_int_equal(ovl_read(w->o, world_rq(w), more, buf, 2, 10), -EIO);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "linkless"), buf, 20), -EIO);
	/* nor of a copy */
	assert_int_equal(ovl_write(w->o, world_rq(w), less, "A", 1, 0, false), -EIO);
	assert_int_equal(ovl_write(w->o, world_rq(w), more, "A", 1, 0, false), -EIO);
	assert_int_equal(world_rename(w, "linkless", "moved", 0), -EIO);
}

static void fetched(void *arg, int result)
{
	*(int *)arg = result;
}

static void test_not_local(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w);
	struct oid blob = fake_lower_oid(w->fake, "f");
	int result = 1;
	char buf[32];

	fake_lower_set_missing(w->fake, false, true, false);
	assert_int_equal(ovl_read(w->o, rq, world_id(w, "f"), buf, sizeof(buf), 0), -EAGAIN);
	assert_int_equal(rq->need.kind, LOWER_NEED_BLOB);
	assert_true(oid_equal(&rq->need.oid, &blob));
	assert_int_equal(ovl_fetch(&rq->need, NS_NEVER, fetched, &result), 0);
	assert_int_equal(result, 0);
	assert_int_equal(ovl_read(w->o, rq, world_id(w, "f"), buf, sizeof(buf), 0), 10);
	/* nothing is fetched for what has no bytes there */
	assert_int_equal(ovl_read(w->o, rq, world_id(w, "nothing"), buf, sizeof(buf), 0), 0);
	assert_int_equal(ovl_readlink(w->o, rq, world_id(w, "l"), buf, sizeof(buf)), -EAGAIN);
	ovl_need_drop(&rq->need);
}

static void test_a_reader_sees_the_copy_up(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "f");
	struct world_at e;
	char buf[32];

	assert_int_equal(world_walk(w, "f", &e), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), id, "AB", 2, 3, false), 2);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, sizeof(buf), 0), 10);
	assert_memory_equal(buf, "012AB56789", 10);
	/* opened again from nothing: through the parent's descriptor */
	world_forget(w, &e);
	assert_int_equal(world_walk(w, "f", &e), 0);
	assert_int_equal(e.e.id, id);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, sizeof(buf), 8), 2);
	/* removed and still open */
	assert_int_equal(world_remove(w, "f", false), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), id, buf, sizeof(buf), 0), 10);
	world_forget(w, &e);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
}

static void test_readlink(void **state)
{
	struct world *w = *state;
	static char buf[4097];
	struct world_at up;

	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "l"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "../a b");
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "long"), buf, sizeof(buf)), 0);
	assert_int_equal(strlen(buf), 4095);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "l"), buf, 7), 0);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "l"), buf, 6), -ENAMETOOLONG);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "l"), buf, 0), -ENAMETOOLONG);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "f"), buf, 9), -EINVAL);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), world_id(w, "d"), buf, 9), -EINVAL);
	assert_int_equal(world_symlink(w, "d/up", "/etc/passwd"), 0);
	assert_int_equal(world_walk(w, "d/up", &up), 0);
	assert_int_equal(ovl_readlink(w->o, world_rq(w), up.e.id, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "/etc/passwd");
	assert_int_equal(ovl_readlink(w->o, world_rq(w), up.e.id, buf, 11), -ENAMETOOLONG);
	/* what a symlink of the job points to is never opened by us */
	assert_int_equal(ovl_read(w->o, world_rq(w), up.e.id, buf, 9, 0), -EINVAL);
	world_forget(w, &up);
}

static void test_holes(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "f");
	struct world_at e;

	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, 3, SEEK_DATA), 3);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, 3, SEEK_HOLE), 10);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, 10, SEEK_DATA), -ENXIO);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, 10, SEEK_HOLE), -ENXIO);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, 0, SEEK_SET), -EINVAL);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), id, UINT64_MAX, SEEK_DATA), -EINVAL);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), world_id(w, "d"), 0, SEEK_DATA), -EINVAL);
	assert_int_equal(world_make(w, WORLD_FILE, "sparse", 0644, &e), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), e.e.id, "x", 1, 1 << 20, false), 1);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), e.e.id, 0, SEEK_DATA), 1 << 20);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), e.e.id, 0, SEEK_HOLE), 0);
	assert_int_equal(ovl_lseek(w->o, world_rq(w), e.e.id, 2 << 20, SEEK_DATA), -ENXIO);
	world_forget(w, &e);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_lower),
		T(test_a_size_that_was_a_lie_is_no_part_of_a_file),
		T(test_not_local),
		T(test_a_reader_sees_the_copy_up),
		T(test_readlink),
		T(test_holes),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
