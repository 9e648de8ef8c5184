/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the node, and its id. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tmpdir.h"

#include <base/err.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <service/config.h>
#include <service/node.h>
#include <string.h>

static void test_id_is_made_once(void **state)
{
	struct tmpdir dir;
	char first[40], second[40];

	(void)state;
	tmpdir_init(&dir);
	assert_int_equal(node_id_load(dir.path, first, NULL), 0);
	assert_int_equal(strlen(first), 36);
	assert_int_equal(first[14], '4');
	assert_int_equal(node_id_load(dir.path, second, NULL), 0);
	assert_string_equal(first, second);
	tmpdir_fini(&dir);
}

static void test_damaged_id_is_not_replaced_silently(void **state)
{
	struct tmpdir dir;
	struct err e = {0};
	char path[300], id[40];

	(void)state;
	tmpdir_init(&dir);
	(void)tmpdir_path(&dir, "node_id", path, sizeof(path));
	assert_int_equal(io_write_file(AT_FDCWD, path, "nonsense\n", 9, 0600, false), 0);
	assert_int_equal(node_id_load(dir.path, id, &e), -EINVAL);
	assert_non_null(strstr(e.message, path));
	tmpdir_fini(&dir);
}

static void test_facts(void **state)
{
	struct cfg cfg = {.data_dir = (char[]){"/"}};
	struct node node = {.cfg = &cfg};
	struct node_facts facts;

	(void)state;
	node_facts(&node, &facts);
	assert_true(facts.hostname[0] && facts.kernel[0]);
	assert_true(facts.resident_bytes > 0);
	assert_true(facts.open_descriptors >= 3);
	assert_true(facts.disk_free_bytes > 0);
	assert_true(node_version()[0] != '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id_is_made_once),
		cmocka_unit_test(test_damaged_id_is_not_replaced_silently),
		cmocka_unit_test(test_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
