/* SPDX-License-Identifier: Apache-2.0 */
/* The durable tables: records, job ids, serials, and numbers of events, over a real environment. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_journal.h"
#include "tmpdir.h"

#include <base/err.h>
#include <stdio.h>
#include <string.h>

static struct mount_record record(const char *id, const char *job)
{
	struct mount_record r = {.state = MOUNT_READY, .serial = 9, .tenant = "t"};

	(void)snprintf(r.mount_id, sizeof(r.mount_id), "%s", id);
	(void)snprintf(r.job_id, sizeof(r.job_id), "%s", job);
	return r;
}

static struct mount_journal *open_journal(const struct tmpdir *dir)
{
	struct mount_journal *j = NULL;
	struct err e = {0};
	char path[300];

	if (mount_journal_open(&j, tmpdir_path(dir, "mounts", path, sizeof(path)), NULL, &e))
		fail_msg("%s", err_message(&e));
	return j;
}

static int count(void *arg, const char *mount_id, struct mount_record *r, int error)
{
	(void)mount_id;
	assert_int_equal(error, 0);
	mount_record_fini(r);
	++*(unsigned *)arg;
	return 0;
}

static void test_survives_closing(void **state)
{
	struct mount_record a = record("id-a", "j1"), b = record("id-b", "j1");
	struct tmpdir dir;
	struct mount_journal *j;
	unsigned records = 0;
	uint32_t serial;
	char owner[40];

	(void)state;
	tmpdir_init(&dir);
	j = open_journal(&dir);
	assert_int_equal(mount_journal_put(j, &a, JOURNAL_JOB_SET | JOURNAL_SERIAL), 0);
	assert_int_equal(mount_journal_put(j, &b, JOURNAL_JOB_SET), 0);
	mount_journal_close(j);
	j = open_journal(&dir);
	assert_int_equal(mount_journal_each(j, count, &records), 0);
	assert_int_equal(records, 2);
	assert_int_equal(mount_journal_job(j, "t", "j1", owner), 0);
	assert_string_equal(owner, "id-b");
	assert_int_equal(mount_journal_job(j, "t", "j2", owner), 0);
	assert_string_equal(owner, "");
	assert_int_equal(mount_journal_serial(j, "t", &serial), 0);
	assert_int_equal(serial, 9);
	assert_int_equal(mount_journal_serial(j, "u", &serial), 0);
	assert_int_equal(serial, 0);
	assert_int_equal(mount_journal_remove(j, &b, true), 0);
	assert_int_equal(mount_journal_job(j, "t", "j1", owner), 0);
	assert_string_equal(owner, "");
	records = 0;
	assert_int_equal(mount_journal_each(j, count, &records), 0);
	assert_int_equal(records, 1);
	mount_journal_close(j);
	tmpdir_fini(&dir);
}

/* Two creations at once: the one with the lower number is journaled last. */
static void test_a_serial_is_remembered_when_its_record_goes(void **state)
{
	struct mount_record a = record("id-a", "j1"), b = record("id-b", "j2");
	struct tmpdir dir;
	struct mount_journal *j;
	uint32_t serial;

	(void)state;
	tmpdir_init(&dir);
	j = open_journal(&dir);
	b.serial = a.serial + 1;
	assert_int_equal(mount_journal_put(j, &b, JOURNAL_JOB_SET | JOURNAL_SERIAL), 0);
	assert_int_equal(mount_journal_put(j, &a, JOURNAL_JOB_SET | JOURNAL_SERIAL), 0);
	assert_int_equal(mount_journal_remove(j, &b, true), 0);
	assert_int_equal(mount_journal_serial(j, "t", &serial), 0);
	assert_int_equal(serial, b.serial);
	assert_int_equal(mount_journal_remove(j, &a, true), 0);
	assert_int_equal(mount_journal_serial(j, "t", &serial), 0);
	assert_int_equal(serial, b.serial);
	mount_journal_close(j);
	tmpdir_fini(&dir);
}

static void test_numbers_are_never_given_out_twice(void **state)
{
	struct tmpdir dir;
	struct mount_journal *j;
	uint64_t first, second;

	(void)state;
	tmpdir_init(&dir);
	j = open_journal(&dir);
	assert_int_equal(mount_journal_reserve(j, 1000, &first), 0);
	mount_journal_close(j);
	j = open_journal(&dir);
	assert_int_equal(mount_journal_reserve(j, 1000, &second), 0);
	assert_int_equal(first, 1);
	assert_int_equal(second, 1001);
	mount_journal_close(j);
	tmpdir_fini(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_survives_closing),
		cmocka_unit_test(test_a_serial_is_remembered_when_its_record_goes),
		cmocka_unit_test(test_numbers_are_never_given_out_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
