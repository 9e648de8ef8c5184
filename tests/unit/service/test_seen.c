/* SPDX-License-Identifier: Apache-2.0 */
/* seen.c: a file that has not changed is known again, any other is not. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tmpdir.h"
#include "workflow/seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)
#define LATER_NS (1000 * NS_PER_S)

static struct wf_seen_file file_of(uint64_t ino)
{
	return (struct wf_seen_file){ino, 10 * ino, {100, 5}, 1};
}

static struct oid oid_of(uint8_t byte)
{
	struct oid oid = {.len = 20};

	memset(oid.bytes, byte, 20);
	return oid;
}

struct world {
	struct tmpdir dir;
	int fd;
};

static void begin(struct world *w)
{
	char path[300];

	tmpdir_init(&w->dir);
	(void)tmpdir_path(&w->dir, "", path, sizeof(path));
	w->fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(w->fd >= 0);
}

static void end(struct world *w)
{
	(void)close(w->fd);
	tmpdir_fini(&w->dir);
}

/* Files of `count` inodes from `first` on, all with one content. */
static void add(const struct world *w, uint64_t first, uint64_t count, uint8_t byte)
{
	const struct oid oid = oid_of(byte);
	struct wf_seen *s;

	assert_int_equal(wf_seen_open(w->fd, &s), 0);
	for (uint64_t i = first + count; i-- > first;) { /* in any order */
		const struct wf_seen_file f = file_of(i);

		wf_seen_add(s, &f, &oid, LATER_NS);
	}
	assert_null(wf_seen_close(s));
}

static int known(struct wf_seen *s, const struct wf_seen_file *f)
{
	struct oid oid;

	return wf_seen_find(s, f, &oid) ? oid.bytes[7] : -1;
}

static void test_what_was_seen_is_known(void **state)
{
	struct wf_seen_file f;
	struct wf_seen *s;
	struct world w;

	(void)state;
	begin(&w);
	add(&w, 1, 100, 1);
	add(&w, 50, 100, 2); /* half of it anew */
	assert_int_equal(wf_seen_open(w.fd, &s), 0);
	for (uint64_t i = 1; i < 150; i++) {
		f = file_of(i);
		assert_int_equal(known(s, &f), i < 50 ? 1 : 2);
	}
	f = file_of(150);
	assert_int_equal(known(s, &f), -1);
	f = file_of(7);
	f.size++;
	assert_int_equal(known(s, &f), -1);
	f = file_of(7);
	f.ctime.tv_nsec++;
	assert_int_equal(known(s, &f), -1);
	f = file_of(7);
	f.how++;
	assert_int_equal(known(s, &f), -1);
	f = file_of(7);
	f.ctime.tv_sec--;
	assert_int_equal(known(s, &f), -1);
	assert_null(wf_seen_close(s));
	end(&w);
}

static void test_a_file_that_has_just_changed_is_not_remembered(void **state)
{
	const struct oid oid = oid_of(1);
	struct wf_seen *s;
	struct world w;

	(void)state;
	begin(&w);
	assert_int_equal(wf_seen_open(w.fd, &s), 0);
	for (uint64_t i = 1; i <= 40; i++) {
		const struct wf_seen_file f = file_of(i);

		wf_seen_add(s, &f, &oid, i <= 20 ? LATER_NS : 100 * NS_PER_S + 50000000);
	}
	assert_null(wf_seen_close(s));
	assert_int_equal(wf_seen_open(w.fd, &s), 0);
	for (uint64_t i = 1; i <= 40; i++) {
		const struct wf_seen_file f = file_of(i);

		assert_int_equal(known(s, &f), i <= 20 ? 1 : -1);
	}
	assert_null(wf_seen_close(s));
	end(&w);
}

static void test_what_nobody_asks_for_goes(void **state)
{
	struct wf_seen_file f = file_of(1);
	struct wf_seen *s;
	struct world w;

	(void)state;
	begin(&w);
	add(&w, 1, 200, 1);
	add(&w, 1000, 20, 2); /* of 200 none was looked at */
	assert_int_equal(wf_seen_open(w.fd, &s), 0);
	assert_int_equal(known(s, &f), -1);
	f = file_of(1019);
	assert_int_equal(known(s, &f), 2);
	assert_null(wf_seen_close(s));
	end(&w);
}

static void test_damage_is_an_empty_one(void **state)
{
	struct wf_seen_file f = file_of(3);
	struct wf_seen *s;
	struct world w;
	char path[300];
	FILE *file;

	(void)state;
	begin(&w);
	add(&w, 1, 100, 1);
	(void)tmpdir_path(&w.dir, "seen", path, sizeof(path));
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, 16 + 48 * 2 + 30, SEEK_SET), 0);
	assert_int_equal(fputc('x', file), 'x');
	assert_int_equal(fclose(file), 0);
	assert_int_equal(wf_seen_open(w.fd, &s), 0);
	assert_int_equal(known(s, &f), -1);
	assert_null(wf_seen_close(s));
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_seen_is_known),
		cmocka_unit_test(test_a_file_that_has_just_changed_is_not_remembered),
		cmocka_unit_test(test_what_nobody_asks_for_goes),
		cmocka_unit_test(test_damage_is_an_empty_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
