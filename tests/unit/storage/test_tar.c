/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what tar programs write, and what strangers might. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 512

static char archive[64 * BLOCK];
static size_t length;

static void begin(void)
{
	memset(archive, 0, sizeof(archive));
	length = 0;
}

static void checksum(char *header)
{
	unsigned sum = 0;

	memset(header + 148, ' ', 8);
	for (unsigned i = 0; i < BLOCK; i++)
		sum += (unsigned char)header[i];
	(void)snprintf(header + 148, 8, "%06o", sum);
}

static char *add(const char *name, char type, const char *link, const char *data)
{
	char *header = archive + length;

	(void)snprintf(header, 100, "%s", name);
	(void)snprintf(header + 100, 8, "%07o", 0755);
	(void)snprintf(header + 124, 12, "%011o", (unsigned)strlen(data));
	header[156] = type;
	(void)snprintf(header + 157, 100, "%s", link);
	memcpy(header + 257, "ustar\00000", 8);
	checksum(header);
	memcpy(header + BLOCK, data, strlen(data));
	length += BLOCK + (strlen(data) + BLOCK - 1) / BLOCK * BLOCK;
	return header;
}

static struct tar_member member;

static int next(struct tar_reader *r)
{
	return tar_next(r, &member);
}

static struct tar_reader reader(void)
{
	return tar_begin(archive, length);
}

static void test_members(void **state)
{
	struct tar_reader r;

	(void)state;
	begin();
	add("./dir/", '5', "", "");
	add("./dir/file", '0', "", "hello");
	add("link", '2', "../anywhere", "");
	add("hard", '1', "./dir/file", "");
	r = reader();
	assert_int_equal(next(&r), 1);
	assert_int_equal(member.kind, TAR_DIRECTORY);
	assert_int_equal(next(&r), 1);
	assert_string_equal(member.path, "dir/file");
	assert_true(member.executable);
	assert_int_equal(member.len, 5);
	assert_memory_equal(member.data, "hello", 5);
	assert_int_equal(next(&r), 1);
	assert_string_equal(member.link, "../anywhere");
	assert_int_equal(next(&r), 1);
	assert_string_equal(member.link, "dir/file");
	assert_int_equal(next(&r), 0);
}

static void test_long_names(void **state)
{
	struct tar_reader r;

	(void)state;
	begin();
	add("pax", 'x', "", "19 path=long/n\xc3\xa4me\n13 size=0000\n");
	add("short", '0', "", "");
	add("././@LongLink", 'L', "", "gnu/long");
	add("short", '0', "", "x");
	r = reader();
	assert_int_equal(next(&r), 1);
	assert_string_equal(member.path, "long/n\xc3\xa4me");
	assert_int_equal(next(&r), 1);
	assert_string_equal(member.path, "gnu/long");
	assert_int_equal(member.len, 1);
	assert_int_equal(next(&r), 0);
}

static void refused(const char *name, char type, const char *link, const char *why)
{
	struct tar_reader r;

	begin();
	add(name, type, link, "");
	r = reader();
	assert_int_equal(next(&r), -EBADMSG);
	assert_non_null(strstr(r.why, why));
}

static void test_hostile(void **state)
{
	struct tar_reader r;
	char *header;

	(void)state;
	refused("/etc/passwd", '0', "", "absolute");
	refused("a/../../b", '0', "", "outside");
	refused("..", '5', "", "outside");
	refused("a", '1', "../b", "hard link");
	refused("a", '2', "", "nowhere");
	refused("a", '3', "", "device");
	refused("a", '6', "", "device");
	refused("a", 'S', "", "device");
	begin();
	header = add("large", '0', "", "x");
	(void)snprintf(header + 124, 12, "%011o", 077777777);
	checksum(header);
	r = reader();
	assert_int_equal(next(&r), -EBADMSG);
	assert_non_null(strstr(r.why, "longer than it is"));
	header[0] = 'L';
	r = reader();
	assert_int_equal(next(&r), -EBADMSG);
	assert_non_null(strstr(r.why, "damaged"));
	r = tar_begin("\x1f\x8b", 2);
	assert_int_equal(next(&r), -EBADMSG);
	begin();
	add("pax", 'x', "", "99 path=a\n");
	add("short", '0', "", "");
	r = reader();
	assert_int_equal(next(&r), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
