/* SPDX-License-Identifier: Apache-2.0 */
/* What docs/configuration.md and deploy/coppice.yaml.example show must load, and the page must name
 * every key and its default. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "config/config_internal.h"
#include "tmpdir.h"

#include <base/io.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_all(const char *path)
{
	char *text = NULL;
	size_t len;

	if (io_read_file(AT_FDCWD, path, 1 << 20, &text, &len))
		fail_msg("cannot read %s", path);
	return text;
}

static void expect_loads(const struct tmpdir *dir, const char *text, size_t len)
{
	struct cfg *cfg = NULL;
	struct err e = {0};
	char path[300];

	(void)tmpdir_path(dir, "example.yaml", path, sizeof(path));
	assert_int_equal(io_write_file(AT_FDCWD, path, text, len, 0600, false), 0);
	if (cfg_load(&cfg, path, NULL, 0, &e))
		fail_msg("%s\n%.*s", err_message(&e), (int)len, text);
	cfg_free(cfg);
}

static void test_examples_of_the_page_load(void **state)
{
	static const char fence[] = "```yaml\n";
	char *page = read_all(COPPICE_SOURCE_DIR "/docs/configuration.md");
	struct tmpdir dir;
	unsigned blocks = 0;

	(void)state;
	tmpdir_init(&dir);
	for (char *at = page; (at = strstr(at, fence)); blocks++) {
		char *start = at + strlen(fence), *end = strstr(start, "```");

		assert_non_null(end);
		expect_loads(&dir, start, (size_t)(end - start));
		at = end + 3;
	}
	assert_true(blocks >= 2);
	tmpdir_fini(&dir);
	free(page);
}

static void test_example_file_loads(void **state)
{
	char *text = read_all(COPPICE_SOURCE_DIR "/deploy/coppice.yaml.example");
	struct tmpdir dir;

	(void)state;
	tmpdir_init(&dir);
	expect_loads(&dir, text, strlen(text));
	tmpdir_fini(&dir);
	free(text);
}

/* Every key must stand on the page, as its last part in back quotes or after a dot. */
static void expect_named(const char *page, const struct cfg_field *fields)
{
	for (const struct cfg_field *f = fields; f->key; f++) {
		char plain[64], dotted[64], listed[64];

		if (f->fields)
			expect_named(page, f->fields);
		(void)snprintf(plain, sizeof(plain), "`%s", f->key);
		(void)snprintf(dotted, sizeof(dotted), ".%s`", f->key);
		(void)snprintf(listed, sizeof(listed), ".%s[]", f->key);
		if (!f->fields && !strstr(page, plain) && !strstr(page, dotted) &&
			!strstr(page, listed))
			fail_msg("docs/configuration.md does not name the key %s", f->key);
	}
}

static void test_page_names_every_key(void **state)
{
	char *page = read_all(COPPICE_SOURCE_DIR "/docs/configuration.md");

	(void)state;
	expect_named(page, cfg_schema);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples_of_the_page_load),
		cmocka_unit_test(test_example_file_loads),
		cmocka_unit_test(test_page_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
