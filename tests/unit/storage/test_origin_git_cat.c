/* SPDX-License-Identifier: Apache-2.0 */
/* Large blobs of a repository come as a stream: all bytes, or an error, and no child is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cancel.h"
#include "git_world.h"
#include "origin/git_cat.h"

#include <sys/wait.h>

/* A sink that knows what should come: the pattern that fill() made. */
struct expecting {
	struct blob_sink sink; /* first: the sink is this */
	uint64_t size, done;
	size_t largest;
	int refuse; /* what write() answers once `refuse_at` bytes came */
	uint64_t refuse_at;
	struct cancel *cancel; /* fired with the first write */
};

#define LINE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n"

static int expect_begin(struct blob_sink *s, uint64_t size)
{
	struct expecting *x = (struct expecting *)s;

	x->size = size;
	return 0;
}

static int expect_write(struct blob_sink *s, const void *data, size_t len)
{
	struct expecting *x = (struct expecting *)s;
	const char *p = data;

	for (size_t i = 0; i < len; i += 997)
		assert_int_equal(p[i], LINE[(x->done + i) % (sizeof(LINE) - 1)]);
	x->done += len;
	if (len > x->largest)
		x->largest = len;
	if (x->cancel)
		cancel_fire(x->cancel);
	return x->refuse && x->done >= x->refuse_at ? x->refuse : 0;
}

#define EXPECTING                                                       \
	{                                                               \
		.sink = {.begin = expect_begin, .write = expect_write } \
	}

static struct git_world world;

static int read_large(struct expecting *x, const char *name, struct cancel *cancel)
{
	struct blob_source source = origin_blob_source(world.o);
	struct oid oid = git_says(&world, name);

	return source.produce(
		source.arg, &oid, &x->sink, cancel, clock_after(&clock_system, 20 * NS_PER_S));
}

static void assert_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int setup(void **state)
{
	(void)state;
	git_world_init(&world, NULL, 0);
	git_shell(&world,
		"yes '%.62s' | head -c 6400000 >file; git tag loose $(git hash-object -w "
		"file); head -c 6399999 file >less; git tag delta $(git hash-object -w "
		"less)",
		LINE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	git_world_fini(&world);
	return 0;
}

static void test_every_form_in_pieces(void **state)
{
	struct expecting loose = EXPECTING, whole = EXPECTING, delta = EXPECTING;

	(void)state;
	assert_int_equal(read_large(&loose, "loose", NULL), 0);
	git_shell(&world, "git repack -adq; test $(git count-objects | cut -c1) = 0");
	assert_int_equal(read_large(&whole, "loose", NULL), 0);
	assert_int_equal(read_large(&delta, "delta", NULL), 0);
	assert_int_equal(loose.done, 6400000);
	assert_int_equal(whole.done, 6400000);
	assert_int_equal(delta.done, 6399999);
	assert_int_equal(whole.size, 6400000);
	assert_true(loose.largest <= 256 << 10);
	assert_true(whole.largest <= 256 << 10);
	assert_no_child();
}

static void test_who_stops_leaves_no_child(void **state)
{
	struct expecting refusing = EXPECTING, cancelling = EXPECTING;

	(void)state;
	refusing.refuse = -ENOSPC;
	refusing.refuse_at = 1 << 20;
	assert_int_equal(read_large(&refusing, "loose", NULL), -ENOSPC);
	assert_true(refusing.done < 2 << 20);
	cancelling.cancel = cancel_new();
	assert_int_equal(read_large(&cancelling, "loose", cancelling.cancel), -ECANCELED);
	cancel_unref(cancelling.cancel);
	assert_no_child();
}

static void test_deadline(void **state)
{
	struct oid oid = git_says(&world, "loose");
	struct expecting x = EXPECTING;
	const struct git_cat cat = {.git_dir = world.git.repo,
		.blob = &oid,
		.size = 6400000,
		.deadline_ns = clock_after(&clock_system, 0)};

	(void)state;
	assert_int_equal(git_cat(&cat, &x.sink), -ETIMEDOUT);
	assert_no_child();
}

static void test_size_that_is_not_what_comes(void **state)
{
	struct oid oid = git_says(&world, "loose");
	uint64_t sizes[] = {6399999, 6400001};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct expecting x = EXPECTING;
		const struct git_cat cat = {.git_dir = world.git.repo,
			.blob = &oid,
			.size = sizes[i],
			.deadline_ns = clock_after(&clock_system, 20 * NS_PER_S)};

		assert_int_equal(git_cat(&cat, &x.sink), -EIO);
	}
	assert_no_child();
}

static void test_damage_is_an_error(void **state)
{
	struct expecting x = EXPECTING;
	struct oid gone = {.len = 20, .bytes = {1, 2, 3}};
	const struct git_cat cat = {.git_dir = world.git.repo,
		.blob = &gone,
		.size = 10,
		.deadline_ns = clock_after(&clock_system, 20 * NS_PER_S)};

	(void)state;
	assert_int_equal(git_cat(&cat, &x.sink), -EIO);
	git_shell(&world, "f=$(ls objects/pack/*.pack); chmod u+w $f; truncate -s 2000 $f");
	assert_int_equal(git_world_open(&world, world.git.repo, &(struct err){0}), 0);
	assert_true(read_large(&x, "loose", NULL) < 0);
	assert_no_child();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_in_pieces),
		cmocka_unit_test(test_who_stops_leaves_no_child),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_size_that_is_not_what_comes),
		cmocka_unit_test(test_damage_is_an_error),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
