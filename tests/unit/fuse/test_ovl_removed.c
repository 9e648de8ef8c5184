/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes in which a removed directory's attributes outlive the process; hostile ones too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "overlay/ovl_removed.h"

#include <string.h>
#include <sys/stat.h>

static const struct stat some = {
	.st_mode = S_IFDIR | 02770,
	.st_uid = UINT32_MAX - 1,
	.st_gid = 7,
	.st_atim = {.tv_sec = -5, .tv_nsec = 999999999},
	.st_mtim = {.tv_sec = 1ll << 40, .tv_nsec = 1},
	.st_ctim = {.tv_sec = 3, .tv_nsec = 4},
	.st_size = 12288,
	.st_blocks = 24,
};

static void what_was_written_is_read(void **state)
{
	uint8_t bytes[OVL_REMOVED_BYTES];
	struct stat now;

	(void)state;
	ovl_removed_encode(&some, bytes);
	assert_true(ovl_removed_decode(bytes, sizeof(bytes), &now));
	assert_int_equal(now.st_mode, some.st_mode);
	assert_int_equal(now.st_uid, some.st_uid);
	assert_int_equal(now.st_gid, some.st_gid);
	assert_memory_equal(&now.st_atim, &some.st_atim, sizeof(now.st_atim));
	assert_memory_equal(&now.st_mtim, &some.st_mtim, sizeof(now.st_mtim));
	assert_memory_equal(&now.st_ctim, &some.st_ctim, sizeof(now.st_ctim));
	assert_int_equal(now.st_size, some.st_size);
	assert_int_equal(now.st_blocks, some.st_blocks);
	assert_int_equal(now.st_nlink, 0);
}

static void other_bytes_are_refused(void **state)
{
	uint8_t bytes[OVL_REMOVED_BYTES];
	struct stat file = some, now, late = some;

	(void)state;
	ovl_removed_encode(&some, bytes);
	for (size_t len = 0; len < sizeof(bytes); len++)
		assert_false(ovl_removed_decode(bytes, len, &now));
	assert_false(ovl_removed_decode(NULL, 0, &now));
	file.st_mode = S_IFREG | 0644;
	ovl_removed_encode(&file, bytes);
	assert_false(ovl_removed_decode(bytes, sizeof(bytes), &now));
	late.st_mtim.tv_nsec = 1000000000;
	ovl_removed_encode(&late, bytes);
	assert_false(ovl_removed_decode(bytes, sizeof(bytes), &now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(other_bytes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
