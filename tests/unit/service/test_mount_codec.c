/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a mount on disk: what goes in comes out, and what is damaged is seen. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "alloc_fault.h"
#include "mount/mount_codec.h"

#include <base/buf.h>
#include <base/crc32c.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct mount_label labels[] = {{"a", "1"}, {"b/c", ""}};

static struct mount_record sample(void)
{
	struct mount_record r = {
		.mount_id = "4b922de8-7f60-4ba4-9b33-860518c876bf",
		.tenant = "team-a",
		.job_id = "job.1",
		.origin = "main",
		.revision = "refs/heads/main",
		.path = "src/lib",
		.change_kind = MOUNT_CHANGE_LINK,
		.change_text = "ABCD1234",
		.change_path = "src",
		.change_exact = true,
		.change_from = {.len = 20, .bytes = {4}},
		.change_to = {.len = 20, .bytes = {5}},
		.change_paths = 6,
		.reason = "because",
		.state = MOUNT_READY,
		.commit = {.len = 20, .bytes = {1, 2, 3}},
		.root = {.len = 32, .bytes = {9}},
		.commit_time_s = -5,
		.serial = 77,
		.order = UINT64_C(1) << 40,
		.request_hash = {0xff, 1},
		.quota_bytes = UINT64_MAX,
		.quota_inodes = 5,
		.lease_seconds = 60,
		.lease_expires_wall_ns = 123456789,
		.created_wall_ns = 2,
		.ended_wall_ns = 3,
		.generation = 4,
		.used_bytes = 5,
		.used_inodes = 6,
		.trees_fetched = 7,
		.blobs_fetched = 8,
		.bytes_fetched = 9,
		.fetch_errors = 10,
		.read_only = true,
		.files_kept = true,
		.uid = 1000,
		.gid = 1001,
		.labels = labels,
		.label_count = 2,
	};

	return r;
}

static void encode(const struct mount_record *r, struct buf *out)
{
	buf_init(out, MOUNT_RECORD_MAX);
	assert_int_equal(mount_record_encode(r, out), 0);
}

static void test_round_trip(void **state)
{
	struct mount_record in = sample(), out;
	struct buf bytes, again;

	(void)state;
	encode(&in, &bytes);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), 0);
	assert_string_equal(out.mount_id, in.mount_id);
	assert_string_equal(out.path, "src/lib");
	assert_int_equal(out.change_kind, MOUNT_CHANGE_LINK);
	assert_string_equal(out.change_text, "ABCD1234");
	assert_string_equal(out.change_path, "src");
	assert_true(out.change_exact);
	assert_int_equal(out.change_paths, 6);
	assert_null(out.mountpoint);
	assert_int_equal(out.state, MOUNT_READY);
	assert_int_equal(out.commit_time_s, -5);
	assert_true(out.quota_bytes == UINT64_MAX);
	assert_true(oid_equal(&out.root, &in.root));
	assert_true(out.read_only && out.files_kept && !out.mountpoint_made);
	assert_int_equal(out.label_count, 2);
	assert_string_equal(out.labels[1].key, "b/c");
	encode(&out, &again); /* every field, by its bytes */
	assert_int_equal(again.len, bytes.len);
	assert_memory_equal(again.data, bytes.data, bytes.len);
	mount_record_fini(&out);
	buf_fini(&bytes);
	buf_fini(&again);
}

static void test_every_truncation_and_flipped_bit_is_damage(void **state)
{
	struct mount_record in = sample(), out;
	struct buf bytes;

	(void)state;
	encode(&in, &bytes);
	for (size_t len = 0; len < bytes.len; len++)
		assert_int_equal(mount_record_decode(bytes.data, len, &out), -EBADMSG);
	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), -EBADMSG);
		bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
	}
	buf_fini(&bytes);
}

/* A record that is wrong in itself, under a good checksum. */
static void put_checksum(struct buf *bytes)
{
	uint32_t crc = crc32c(0, bytes->data, bytes->len - 4);

	for (unsigned i = 0; i < 4; i++)
		bytes->data[bytes->len - 4 + i] = (char)(crc >> 8 * i);
}

static void test_nonsense_with_a_good_checksum_is_damage(void **state)
{
	struct mount_record in = sample(), out;
	struct buf bytes;

	(void)state;
	encode(&in, &bytes);
	for (size_t at = 1; at + 4 < bytes.len; at++) {
		char old = bytes.data[at];

		bytes.data[at] = (char)0xff;
		put_checksum(&bytes);
		if (mount_record_decode(bytes.data, bytes.len, &out) == 0)
			mount_record_fini(&out); /* a number or a letter: any value is one */
		bytes.data[at] = old;
	}
	bytes.data[0] = 9;
	put_checksum(&bytes);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), -EPROTO);
	bytes.data[0] = 1;
	bytes.data[1] = 99; /* a state that does not exist */
	put_checksum(&bytes);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), -EBADMSG);
	buf_fini(&bytes);
}

static void without_change_list(struct mount_record *r)
{
	r->change_kind = MOUNT_CHANGE_NONE;
	r->change_text = r->change_path = NULL;
	r->change_exact = false;
	r->change_from = r->change_to = (struct oid){0};
	r->change_paths = 0;
}

/* What a release before knows of, it can read. */
static void test_a_record_is_written_in_the_oldest_format_that_says_it(void **state)
{
	struct mount_record in = sample(), out;
	struct buf bytes;

	(void)state;
	without_change_list(&in);
	encode(&in, &bytes);
	assert_int_equal(bytes.data[0], 1);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), 0);
	assert_int_equal(out.label_count, 2);
	assert_int_equal(out.change_kind, MOUNT_CHANGE_NONE);
	assert_null(out.change_text);
	mount_record_fini(&out);
	buf_fini(&bytes);

	in = sample();
	in.change_kind = MOUNT_CHANGE_RANGE;
	in.change_text = (char *)"v1..v2";
	in.change_path = NULL;
	in.change_exact = false;
	encode(&in, &bytes);
	assert_int_equal(bytes.data[0], 2);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), 0);
	assert_int_equal(out.change_kind, MOUNT_CHANGE_RANGE);
	assert_string_equal(out.change_text, "v1..v2");
	assert_int_equal(out.change_paths, 6);
	mount_record_fini(&out);
	buf_fini(&bytes);

	in.change_exact = true;
	encode(&in, &bytes);
	assert_int_equal(bytes.data[0], 3);
	buf_fini(&bytes);

	in = sample();
	in.switching_from = (struct oid){.len = 20, .bytes = {9}};
	encode(&in, &bytes);
	assert_int_equal(bytes.data[0], 4);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), 0);
	assert_true(oid_equal(&out.switching_from, &in.switching_from));
	mount_record_fini(&out);
	buf_fini(&bytes);
}

/* As it was written before: the newest format for everything. */
static void test_a_newer_format_than_needed_is_read(void **state)
{
	static const uint8_t nothing_new[2 + 2 + 2 + 8 + 1 + 1 + 2 + 2];
	struct mount_record in = sample(), out;
	struct buf bytes;

	(void)state;
	without_change_list(&in);
	encode(&in, &bytes);
	assert_int_equal(buf_append(&bytes, nothing_new, sizeof(nothing_new)), 0);
	memset(bytes.data + bytes.len - sizeof(nothing_new) - 4, 0, sizeof(nothing_new));
	bytes.data[0] = 4;
	put_checksum(&bytes);
	assert_int_equal(mount_record_decode(bytes.data, bytes.len, &out), 0);
	assert_int_equal(out.change_kind, MOUNT_CHANGE_NONE);
	assert_string_equal(out.job_id, in.job_id);
	mount_record_fini(&out);
	buf_fini(&bytes);
}

static void test_memory_shortage(void **state)
{
	struct mount_record in = sample(), out;
	struct buf bytes;

	(void)state;
	encode(&in, &bytes);
	for (unsigned n = 0;; n++) {
		int err;

		alloc_fault_arm(n);
		err = mount_record_decode(bytes.data, bytes.len, &out);
		if (!alloc_fault_disarm()) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
	for (unsigned n = 0;; n++) {
		struct mount_record copy;
		int err;

		alloc_fault_arm(n);
		err = mount_record_copy(&out, &copy);
		if (!alloc_fault_disarm()) {
			assert_int_equal(err, 0);
			mount_record_fini(&copy);
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
	mount_record_fini(&out);
	buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_truncation_and_flipped_bit_is_damage),
		cmocka_unit_test(test_nonsense_with_a_good_checksum_is_damage),
		cmocka_unit_test(test_a_record_is_written_in_the_oldest_format_that_says_it),
		cmocka_unit_test(test_a_newer_format_than_needed_is_read),
		cmocka_unit_test(test_memory_shortage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
