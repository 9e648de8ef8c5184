/* SPDX-License-Identifier: Apache-2.0 */
/* state.c: what is written is read, and nothing else. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tmpdir.h"
#include "workflow/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "1111111111111111111111111111111111111111"

static void test_written_is_read(void **state)
{
	struct wf_state s = {.bytes = 12345}, again;
	struct tmpdir dir;
	char path[300];
	uint64_t bytes = 1;
	int fd;

	(void)state;
	tmpdir_init(&dir);
	(void)tmpdir_path(&dir, "", path, sizeof(path));
	assert_int_equal(wf_state_charged(path, &bytes), 0);
	assert_int_equal(bytes, 0);
	(void)tmpdir_path(&dir, "git", path, sizeof(path));
	assert_int_equal(mkdir(path, 0700), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(wf_state_read(fd, &again), -ENOENT);
	assert_int_equal(oid_parse(HEAD, &s.head), 0);
	s.index = s.head;
	assert_int_equal(wf_state_write(fd, &s), 0);
	assert_int_equal(wf_state_read(fd, &again), 0);
	assert_true(oid_equal(&s.head, &again.head) && oid_is_none(&again.tree));
	assert_int_equal(again.bytes, 12345);
	(void)tmpdir_path(&dir, "", path, sizeof(path));
	assert_int_equal(wf_state_charged(path, &bytes), 0);
	assert_int_equal(bytes, 12345);
	(void)close(fd);
	tmpdir_fini(&dir);
}

static void test_damage_is_seen(void **state)
{
	static const char *const bad[] = {"", "coppice-git 2\n", "coppice-git 1\n",
		"coppice-git 1\nhead -\ntree -\nindex -\nbytes 0\n",
		"coppice-git 1\nhead " HEAD "\ntree -\nindex -\nbytes x\n",
		"coppice-git 1\nhead " HEAD "\ntree -\nindex -\nbytes 1\nmore\n",
		"coppice-git 1\nhead " HEAD "\ntree -\nindex -\nbytes 1",
		"coppice-git 1\nhead " HEAD "\nindex -\ntree -\nbytes 1\n"};
	struct wf_state s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wf_state_decode(bad[i], strlen(bad[i]), &s), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_is_read),
		cmocka_unit_test(test_damage_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
