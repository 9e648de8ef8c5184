/* SPDX-License-Identifier: Apache-2.0 */
/* A blob that neither disk nor memory takes is read through a window, and only if it is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blob_world.h"

#define KIB  1024u
#define MIB  (1024u * KIB)
#define SIZE (9u * MIB + 123)
#define READ (1u * MIB)

struct fixture {
	struct blob_world w;
	struct content big;
	struct source source;
};

/* A disk cache of 1 MiB: the blob never fits. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	blob_world_init(&f->w, MIB, MIB);
	f->big = content_make(7, SIZE);
	f->source.content = &f->big;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	content_free(&f->big);
	blob_world_fini(&f->w);
	free(f);
	return 0;
}

/* As a reader does: what is not there is fetched, then asked for again. Returns the fetches. */
static unsigned read_at(struct fixture *f, uint64_t offset)
{
	size_t want = offset < SIZE ? SIZE - offset < READ ? SIZE - offset : READ : 0;
	uint8_t *buf = malloc(READ);
	unsigned fetches = 0;
	ssize_t n;

	assert_non_null(buf);
	while ((n = blob_read(f->w.bs, &f->big.oid, buf, READ, offset)) == -EAGAIN) {
		assert_true(fetches++ < 3);
		assert_int_equal(world_fetch(&f->w, &f->source), 0);
	}
	assert_int_equal(n, want);
	assert_memory_equal(buf, f->big.data + offset, want);
	free(buf);
	return fetches;
}

static const struct blob_tier_stats *window(struct blob_stats *stats)
{
	for (unsigned i = 0; i < stats->tier_count; i++)
		if (strcmp(stats->tier[i].name, "window") == 0)
			return &stats->tier[i];
	fail_msg("there is no window");
	return NULL;
}

static void test_read_from_beginning_to_end(void **state)
{
	struct fixture *f = *state;
	struct blob_stats stats;
	unsigned fetches = 0;

	for (uint64_t offset = 0; offset < SIZE; offset += READ) {
		fetches += read_at(f, offset);
		blob_stats(f->w.bs, &stats);
		assert_true(window(&stats)->bytes <= 2 * MIB);
	}
	assert_int_equal(fetches, 5); /* windows of 2 MiB */
	assert_int_equal(f->source.calls, fetches);
	assert_int_equal(read_at(f, SIZE), 0);
	assert_false(blob_is_local(f->w.bs, &f->big.oid));
	assert_true(blob_is_windowed(f->w.bs, &f->big.oid));
}

static void test_read_here_and_there(void **state)
{
	static const uint64_t at[] = {5 * MIB + 1, 17, 8 * MIB, 5 * MIB - 3, SIZE - 1};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		assert_true(read_at(f, at[i]) <= 2); /* the first fetch cannot know where */
}

/* Two readers far from each other: whoever is in front is served first, and no one for ever. */
static void test_two_readers(void **state)
{
	struct fixture *f = *state;

	(void)read_at(f, 0);
	for (uint64_t offset = 0; offset < 4 * MIB; offset += READ) {
		(void)read_at(f, offset);
		(void)read_at(f, offset + 4 * MIB);
	}
}

static void test_a_lie_is_not_shown(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;

	f->source.flip = true;
	assert_int_equal(world_fetch(&f->w, &f->source), -EBADMSG);
	assert_int_equal(blob_read(f->w.bs, &f->big.oid, &byte, 1, 0), -EAGAIN);
	f->source.flip = false;
	(void)read_at(f, 0);
}

/* More blobs than there are windows: the one that was used least recently goes. */
static void test_windows_are_few(void **state)
{
	struct fixture *f = *state;
	struct blob_stats stats;

	(void)read_at(f, 0);
	for (uint32_t n = 100; n < 106; n++) {
		struct content other = content_make(n, 2 * MIB);
		struct source source = {.content = &other};
		uint8_t byte;

		assert_int_equal(world_fetch(&f->w, &source), 0);
		assert_int_equal(blob_read(f->w.bs, &other.oid, &byte, 1, MIB), 1);
		assert_int_equal(byte, other.data[MIB]);
		content_free(&other);
		blob_stats(f->w.bs, &stats);
		assert_true(window(&stats)->bytes <= 6 * MIB);
	}
	assert_int_equal(read_at(f, 0), 1);
}

static void test_what_is_given_away_must_be_kept(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(blob_put(f->w.bs, &f->big.oid, f->big.data, f->big.size), -ENOSPC);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_read_from_beginning_to_end),
		T(test_read_here_and_there),
		T(test_two_readers),
		T(test_a_lie_is_not_shown),
		T(test_windows_are_few),
		T(test_what_is_given_away_must_be_kept),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
