/* SPDX-License-Identifier: Apache-2.0 */
/* prescan.c: what passes, each way to be refused, and that a truncated or mutated message is never
 * read past its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <coppice/v1/mount.pb-c.h>
#include <errno.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "prescan.h"
#include "wire.h"

#define CREATE (&coppice__v1__create_mount_request__descriptor)

static void refused(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
	const char *reason, const char *field)
{
	struct err e = {0};

	assert_int_equal(prescan(type, data, len, &prescan_default, &e), -EINVAL);
	assert_string_equal(err_reason(&e), reason);
	assert_string_equal(e.field, field);
}

static void passes(const ProtobufCMessageDescriptor *type, const void *data, size_t len)
{
	struct err e = {0};

	assert_int_equal(prescan(type, data, len, &prescan_default, &e), 0);
	assert_int_equal(e.code, 0);
}

static size_t example(uint8_t *out, size_t cap)
{
	Coppice__V1__CreateMountRequest rq = COPPICE__V1__CREATE_MOUNT_REQUEST__INIT;
	Coppice__V1__Quota quota = COPPICE__V1__QUOTA__INIT;
	Coppice__V1__Label label = COPPICE__V1__LABEL__INIT, *labels[] = {&label, &label};

	rq.job_id = (char *)"job";
	rq.path = (char *)"d\xc3\xa9p\xc3\xb4t/\xf0\x9f\x8c\xb3";
	rq.quota = &quota;
	quota.bytes = UINT64_MAX;
	label.key = (char *)"k";
	rq.labels = labels;
	rq.n_labels = 2;
	assert_true(coppice__v1__create_mount_request__get_packed_size(&rq) <= cap);
	return coppice__v1__create_mount_request__pack(&rq, out);
}

static void test_good(void **state)
{
	uint8_t data[256];

	(void)state;
	passes(CREATE, "", 0);
	passes(CREATE, data, example(data, sizeof(data)));
}

/* Whatever passes is also unpacked, and never takes more than the arena has. */
static void test_truncated_and_mutated(void **state)
{
	uint8_t data[256];
	size_t len = example(data, sizeof(data));
	unsigned seed = 7;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t *copy =
			malloc(len + 1); /* exact size: the sanitizer sees every byte beyond */
		size_t cut = i < len ? i : len;
		struct arena a;

		assert_non_null(copy);
		memcpy(copy, data, cut);
		if (i >= len)
			for (unsigned k = 0; k < 3; k++)
				copy[(unsigned)rand_r(&seed) % cut] = (uint8_t)rand_r(&seed);
		arena_init(&a, ARENA_MAX_BYTES);
		if (prescan(CREATE, copy, cut, &prescan_default, NULL) == 0)
			(void)protobuf_c_message_unpack(CREATE, &a.allocator, cut, copy);
		arena_fini(&a);
		free(copy);
	}
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {{"\xff", 1}, {"\x00", 1},
		{"\x0a\x05"
		 "ab",
			4},
		{"\x0b", 1}, {"\x0c", 1}, {"\x40", 1},
		{"\x09"
		 "1234567",
			8},
		{"\x0d"
		 "123",
			4},
		{"\x0f", 1}, {"\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* 65 bits */
		{"\x80\x80\x80\x80\x80\x01", 6}}; /* field number past 2^29 */

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(CREATE, cases[i].bytes, cases[i].len, "MALFORMED_REQUEST", "");
}

static void test_text(void **state)
{
	static const char *const bad[] = {"\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3",
		"\xe2\x82", "a\x80"};
	struct wire w;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		w.len = 0;
		wire_bytes(&w, 4, bad[i], strlen(bad[i]));
		refused(CREATE, w.data, w.len, "INVALID_FIELD", "path");
	}
	w.len = 0;
	wire_bytes(&w, 2, "a\0b", 3);
	refused(CREATE, w.data, w.len, "INVALID_FIELD", "job_id");
	/* bytes and unknown fields may hold anything */
	w.len = 0;
	wire_bytes(&w, 4, "\xff\0", 2);
	passes(&coppice__v1__change_list__descriptor, w.data, w.len);
	w.len = 0;
	wire_bytes(&w, 1000, "\xff\0", 2);
	passes(CREATE, w.data, w.len);
}

/* DescriptorProto nests itself: protobuf-c alone would follow it until the stack ends. */
static size_t nested(struct wire *w, unsigned levels)
{
	w->len = 0;
	for (unsigned i = levels; i > 0; i--) {
		struct wire inner = *w;

		w->len = 0;
		wire_bytes(w, 3, inner.data, inner.len);
	}
	return w->len;
}

static void test_depth(void **state)
{
	static struct wire w;

	(void)state;
	passes(&google__protobuf__descriptor_proto__descriptor, w.data, nested(&w, 32));
	refused(&google__protobuf__descriptor_proto__descriptor, w.data, nested(&w, 33),
		"REQUEST_TOO_COMPLEX", "");
	refused(&google__protobuf__descriptor_proto__descriptor, w.data, nested(&w, 5000),
		"REQUEST_TOO_COMPLEX", "");
}

static void test_amplification(void **state)
{
	size_t len = (size_t)4 << 20;
	uint8_t *data = malloc(len);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < len; i += 2) {
		data[i] = 0x62; /* labels = 12, empty */
		data[i + 1] = 0;
	}
	refused(CREATE, data, len, "REQUEST_TOO_COMPLEX", "");
	passes(CREATE, data, 2000);
	/* a packed array of four million numbers */
	data[0] = 0x12;
	data[1] = 0x80 | ((len - 6) & 0x7f);
	data[2] = 0x80 | (((len - 6) >> 7) & 0x7f);
	data[3] = 0x80 | (((len - 6) >> 14) & 0x7f);
	data[4] = (uint8_t)((len - 6) >> 21);
	memset(data + 5, 1, len - 5);
	refused(&coppice__v1__list_mounts_request__descriptor, data, len - 1, "REQUEST_TOO_COMPLEX",
		"");
	free(data);
}

static void test_field_count(void **state)
{
	const struct prescan_limits limits = {
		.depth_max = 4, .budget_bytes = 1 << 20, .fields_max = 3};
	struct wire w = {.len = 0};
	struct err e = {0};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		wire_tag(&w, 8, 0);
		wire_varint(&w, 1);
	}
	assert_int_equal(prescan(CREATE, w.data, w.len, &limits, &e), 0);
	wire_tag(&w, 8, 0);
	wire_varint(&w, 1);
	assert_int_equal(prescan(CREATE, w.data, w.len, &limits, &e), -EINVAL);
	assert_string_equal(err_reason(&e), "REQUEST_TOO_COMPLEX");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_truncated_and_mutated),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_amplification),
		cmocka_unit_test(test_field_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
