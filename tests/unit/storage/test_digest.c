/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as text, and hashes against values that Git and others publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "storage/digest.h"

#include <errno.h>
#include <string.h>

#define EMPTY_BLOB   "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define EMPTY_TREE   "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
#define HELLO_BLOB   "ce013625030ba8dba906f756967f9e9ca394464a" /* "hello\n" */
#define EMPTY_BLOB_2 "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
#define ABC_SHA256   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_parse_and_print(void **state)
{
	static const char *const bad[] = {"", "12", "g69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
		"e69de29bb2d1d6434b8b29ae775ad8c2e48c539",
		"e69de29bb2d1d6434b8b29ae775ad8c2e48c53911", EMPTY_BLOB_2 "0",
		" 69de29bb2d1d6434b8b29ae775ad8c2e48c5391"};
	char hex[OID_HEX_MAX];
	struct oid a, b;

	(void)state;
	assert_int_equal(oid_parse(EMPTY_BLOB, &a), 0);
	assert_int_equal(a.len, 20);
	assert_string_equal(oid_hex(&a, hex), EMPTY_BLOB);
	assert_int_equal(oid_parse("E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391", &b), 0);
	assert_true(oid_equal(&a, &b));
	assert_int_equal(oid_parse(EMPTY_BLOB_2, &b), 0);
	assert_int_equal(b.len, 32);
	assert_string_equal(oid_hex(&b, hex), EMPTY_BLOB_2);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(oid_parse(bad[i], &a), -EINVAL);
}

static void expect_object(
	enum digest_kind kind, enum object_kind object, const char *data, const char *hex)
{
	struct oid want, is;

	assert_int_equal(oid_parse(hex, &want), 0);
	assert_int_equal(digest_object(kind, object, data, strlen(data), &is), 0);
	assert_true(oid_equal(&want, &is));
	assert_int_equal(digest_verify(&want, object, data, strlen(data)), 0);
	want.bytes[19] ^= 1;
	assert_int_equal(digest_verify(&want, object, data, strlen(data)), -EBADMSG);
}

static void test_git_objects(void **state)
{
	(void)state;
	expect_object(DIGEST_SHA1, OBJECT_BLOB, "", EMPTY_BLOB);
	expect_object(DIGEST_SHA1, OBJECT_TREE, "", EMPTY_TREE);
	expect_object(DIGEST_SHA1, OBJECT_BLOB, "hello\n", HELLO_BLOB);
	expect_object(DIGEST_SHA256, OBJECT_BLOB, "", EMPTY_BLOB_2);
}

static void test_streaming_equals_whole(void **state)
{
	struct digest *d;
	struct oid want;

	(void)state;
	assert_int_equal(oid_parse(HELLO_BLOB, &want), 0);
	assert_int_equal(digest_new_object(&d, DIGEST_SHA1, OBJECT_BLOB, 6), 0);
	assert_int_equal(digest_update(d, "hel", 3), 0);
	assert_int_equal(digest_update(d, NULL, 0), 0);
	assert_int_equal(digest_update(d, "lo\n", 3), 0);
	assert_int_equal(digest_matches(d, &want), 0);
	assert_int_equal(digest_update(d, "more", 4), -EINVAL);
	assert_int_equal(digest_matches(d, &want), -EINVAL);
	digest_free(d);
}

static void test_plain_bytes(void **state)
{
	struct oid want, is = {0};
	struct digest *d;

	(void)state;
	assert_int_equal(oid_parse(ABC_SHA256, &want), 0);
	assert_int_equal(digest_new(&d, DIGEST_SHA256), 0);
	assert_int_equal(digest_update(d, "abc", 3), 0);
	assert_int_equal(digest_final(d, is.bytes, &is.len), 0);
	assert_true(oid_equal(&want, &is));
	digest_free(d);
	assert_null(digest_free(NULL));
}

static void test_odd_ids_are_refused(void **state)
{
	struct oid none = {0}, odd = {.len = 7};
	enum digest_kind kind;

	(void)state;
	assert_int_equal(digest_kind_of(&none, &kind), -EINVAL);
	assert_int_equal(digest_kind_of(&odd, &kind), -EINVAL);
	assert_int_equal(digest_verify(&odd, OBJECT_BLOB, "", 0), -EINVAL);
}

static void test_no_memory(void **state)
{
	(void)state;
	for (unsigned n = 0;; n++) {
		struct digest *d = NULL;
		int r;

		alloc_fault_arm(n);
		r = digest_new_object(&d, DIGEST_SHA1, OBJECT_BLOB, 1);
		digest_free(d);
		if (!alloc_fault_disarm())
			break;
		assert_int_equal(r, -ENOMEM);
	}
}

/* A name of 32 bytes: of a Git blob, or of content by its SHA-256; never mixed up. */
static void test_content_by_its_sha256(void **state)
{
	static const char text[] = "content", as_git[] = "blob 7\0content";
	uint8_t sha256[32], back[32], len;
	struct oid content, git, plain = {.len = 32};
	struct digest *d;

	(void)state;
	assert_int_equal(digest_new(&d, DIGEST_SHA256), 0);
	assert_int_equal(digest_update(d, text, 7), 0);
	assert_int_equal(digest_final(d, sha256, &len), 0);
	digest_free(d);
	content = oid_of_sha256(sha256);
	oid_to_sha256(&content, back);
	assert_memory_equal(back, sha256, 32);
	assert_int_equal(digest_object(DIGEST_SHA256, OBJECT_BLOB, text, 7, &git), 0);
	assert_int_equal(digest_verify(&content, OBJECT_BLOB, text, 7), 0);
	assert_int_equal(digest_verify(&git, OBJECT_BLOB, text, 7), 0);
	assert_int_equal(digest_verify(&content, OBJECT_BLOB, text, 6), -EBADMSG);
	assert_int_equal(digest_verify(&content, OBJECT_TREE, text, 7), -EBADMSG);
	/* the bytes whose plain SHA-256 is the Git id, and the plain one itself */
	assert_int_equal(digest_verify(&git, OBJECT_BLOB, as_git, sizeof(as_git) - 1), -EBADMSG);
	memcpy(plain.bytes, sha256, 32);
	assert_int_equal(digest_verify(&plain, OBJECT_BLOB, text, 7), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_git_objects),
		cmocka_unit_test(test_streaming_equals_whole),
		cmocka_unit_test(test_plain_bytes),
		cmocka_unit_test(test_odd_ids_are_refused),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_content_by_its_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
