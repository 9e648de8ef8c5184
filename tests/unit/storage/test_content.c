// SPDX-License-Identifier: Apache-2.0
/* content: all names of some bytes from one pass, and nothing for bytes that are not all there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	const uint8_t *data;
	size_t len;
	size_t piece; /* no read gives more */
	int error_at; /* this read fails; 0: none */
	int reads;
};

static ssize_t read_bytes(void *arg, void *buf, size_t len, uint64_t offset)
{
	struct bytes *b = arg;

	if (++b->reads == b->error_at)
		return -EIO;
	if (offset >= b->len)
		return 0;
	if (len > b->len - offset)
		len = b->len - (size_t)offset;
	if (len > b->piece)
		len = b->piece;
	memcpy(buf, b->data + offset, len);
	return (ssize_t)len;
}

static void assert_hex(const uint8_t *bytes, size_t len, const char *want)
{
	char hex[2 * 32 + 1];

	for (size_t i = 0; i < len; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	assert_string_equal(hex, want);
}

/* The values are those of sha256sum, sha1sum and git hash-object. */
static void test_known_names(void **state)
{
	struct bytes hello = {.data = (const uint8_t *)"hello\n", .len = 6, .piece = 4};
	struct bytes empty = {.data = (const uint8_t *)"", .piece = 1};
	struct content_digests d;

	(void)state;
	assert_int_equal(content_digest(DIGEST_SHA1, 6, read_bytes, &hello, &d), 0);
	assert_hex(
		d.sha256, 32, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
	assert_hex(d.sha1, 20, "f572d396fae9206628714fb2ce00f72e94f2258f");
	assert_hex(d.oid.bytes, d.oid.len, "ce013625030ba8dba906f756967f9e9ca394464a");
	assert_int_equal(content_digest(DIGEST_SHA256, 0, read_bytes, &empty, &d), 0);
	assert_hex(
		d.sha256, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_hex(d.sha1, 20, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	assert_hex(d.oid.bytes, d.oid.len,
		"473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813");
}

static void test_pieces_do_not_matter(void **state)
{
	enum { LEN = (600 << 10) + 17 };
	uint8_t *data = malloc(LEN);
	struct content_digests whole, parts;
	struct bytes b = {.data = data, .len = LEN, .piece = LEN};

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i * 31 + i / 7);
	assert_int_equal(content_digest(DIGEST_SHA1, LEN, read_bytes, &b, &whole), 0);
	b.piece = 1009;
	assert_int_equal(content_digest(DIGEST_SHA1, LEN, read_bytes, &b, &parts), 0);
	assert_memory_equal(&whole, &parts, sizeof(whole));
	free(data);
}

static void test_another_length_or_a_failure_gives_nothing(void **state)
{
	struct bytes b = {.data = (const uint8_t *)"hello\n", .len = 6, .piece = 2};
	struct content_digests d = {.oid.len = 99};

	(void)state;
	assert_int_equal(content_digest(DIGEST_SHA1, 5, read_bytes, &b, &d), -EBADMSG);
	assert_int_equal(content_digest(DIGEST_SHA1, 7, read_bytes, &b, &d), -EBADMSG);
	assert_int_equal(content_digest(DIGEST_SHA1, 0, read_bytes, &b, &d), -EBADMSG);
	b.reads = 0;
	b.error_at = 3;
	assert_int_equal(content_digest(DIGEST_SHA1, 6, read_bytes, &b, &d), -EIO);
	assert_int_equal(d.oid.len, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_names),
		cmocka_unit_test(test_pieces_do_not_matter),
		cmocka_unit_test(test_another_length_or_a_failure_gives_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
