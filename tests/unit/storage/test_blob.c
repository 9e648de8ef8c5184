/* SPDX-License-Identifier: Apache-2.0 */
/* The blob store as its callers see it: reading, fetching, verification, promotion, pins,
 * reopening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "blob_world.h"

#include <unistd.h>

#define MIB (1u << 20)

static void test_small_and_large_come_back(void **state)
{
	static const size_t sizes[] = {0, 1, 7, 4096, 65535, 65536, 65537, 5 * MIB};
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(world_read(&w, i, sizes[i]), -EAGAIN);
		assert_int_equal(world_put(&w, i, sizes[i]), 0);
		assert_int_equal(world_read(&w, i, sizes[i]), sizes[i]);
	}
	blob_world_reopen(&w);
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_int_equal(world_read(&w, i, sizes[i]), sizes[i]);
	blob_world_fini(&w);
}

static void test_parts(void **state)
{
	static const size_t sizes[] = {30000, 300000};
	uint8_t buf[10000];
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (uint32_t i = 0; i < 2; i++) {
		struct content c = content_make(i, sizes[i]);

		assert_int_equal(blob_put(w.bs, &c.oid, c.data, c.size), 0);
		blob_world_reopen(&w); /* the first read of all is one of a part */
		assert_int_equal(blob_read(w.bs, &c.oid, buf, sizeof(buf), 15000), sizeof(buf));
		assert_memory_equal(buf, c.data + 15000, sizeof(buf));
		assert_int_equal(blob_read(w.bs, &c.oid, buf, sizeof(buf), c.size - 10), 10);
		assert_memory_equal(buf, c.data + c.size - 10, 10);
		assert_int_equal(blob_read(w.bs, &c.oid, buf, sizeof(buf), c.size), 0);
		assert_int_equal(blob_read(w.bs, &c.oid, buf, sizeof(buf), UINT64_MAX), 0);
		assert_int_equal(blob_read(w.bs, &c.oid, buf, 0, 0), 0);
		content_free(&c);
	}
	blob_world_fini(&w);
}

static void test_put_of_wrong_content_stores_nothing(void **state)
{
	static const size_t sizes[] = {100, 100000};
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	for (uint32_t i = 0; i < 2; i++) {
		struct content c = content_make(i, sizes[i]);

		c.data[c.size / 2] ^= 1;
		assert_int_equal(blob_put(w.bs, &c.oid, c.data, c.size), -EBADMSG);
		assert_false(blob_is_local(w.bs, &c.oid));
		content_free(&c);
	}
	assert_int_equal(world_disk(&w).blobs, 0);
	assert_int_equal(world_disk(&w).bytes, 0);
	blob_world_fini(&w);
}

static void test_fetch_once_then_local(void **state)
{
	struct content c = content_make(1, 200000);
	struct source s = {.content = &c};
	struct blob_stats stats;
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	assert_int_equal(world_fetch(&w, &s), 0);
	assert_int_equal(world_fetch(&w, &s), 0);
	assert_int_equal(s.calls, 1);
	assert_int_equal(world_read(&w, 1, 200000), 200000);
	blob_stats(w.bs, &stats);
	assert_int_equal(stats.fetches, 1);
	assert_int_equal(stats.fetched_bytes, 200000);
	blob_world_fini(&w);
	content_free(&c);
}

static void test_a_lying_source_stores_nothing(void **state)
{
	static const size_t sizes[] = {1000, 150000};
	struct blob_world w;
	struct blob_stats stats;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	for (uint32_t i = 0; i < 2; i++) {
		struct content c = content_make(i, sizes[i]);
		struct source flips = {.content = &c, .flip = true};
		struct source cut = {.content = &c, .announce_more = 5};
		struct source fails = {.content = &c, .result = -EHOSTUNREACH};

		assert_int_equal(world_fetch(&w, &flips), -EBADMSG);
		assert_int_equal(world_fetch(&w, &cut), -EBADMSG);
		assert_int_equal(world_fetch(&w, &fails), -EHOSTUNREACH);
		assert_int_equal(world_read(&w, i, sizes[i]), -EAGAIN);
		content_free(&c);
	}
	blob_stats(w.bs, &stats);
	assert_int_equal(stats.verify_failures, 4);
	assert_int_equal(stats.failed, 6);
	assert_int_equal(world_disk(&w).bytes, 0);
	blob_world_fini(&w);
}

static int produce_badly(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const unsigned *way = arg;

	(void)oid;
	(void)cancel;
	(void)deadline_ns;
	switch (*way) {
	case 0: /* says nothing at all */
		break;
	case 1: /* writes before it begins */
		(void)sink->write(sink, "x", 1);
		break;
	case 2: /* begins twice */
		(void)sink->begin(sink, 1);
		(void)sink->begin(sink, 1);
		(void)sink->write(sink, "x", 1);
		break;
	case 3: /* more than announced */
		(void)sink->begin(sink, 1);
		(void)sink->write(sink, "xy", 2);
		break;
	default: /* more than there can be */
		(void)sink->begin(sink, UINT64_MAX);
		break;
	}
	return 0;
}

static void test_a_source_that_breaks_the_rules(void **state)
{
	static const int want[] = {-EBADMSG, -EBADMSG, -EBADMSG, -EBADMSG, -EFBIG};
	struct content c = content_make(1, 10);
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	for (unsigned way = 0; way < 5; way++) {
		const struct blob_source source = {.produce = produce_badly, .arg = &way};

		assert_int_equal(blob_fetch(w.bs, &c.oid, &source, NULL, NS_NEVER), want[way]);
		assert_false(blob_is_local(w.bs, &c.oid));
	}
	blob_world_fini(&w);
	content_free(&c);
}

static void test_small_blobs_move_to_memory_when_read_again(void **state)
{
	struct blob_world w;
	struct blob_stats stats;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	assert_int_equal(world_put(&w, 1, 1000), 0);
	blob_world_reopen(&w); /* memory is empty now */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(world_read(&w, 1, 1000), 1000);
		blob_stats(w.bs, &stats);
		assert_int_equal(stats.tier[0].blobs, i); /* a single read leaves no trace */
	}
	assert_int_equal(world_read(&w, 1, 1000), 1000);
	blob_stats(w.bs, &stats);
	assert_int_equal(stats.tier[0].hits, 1);
	assert_int_equal(stats.tier[1].hits, 2);
	blob_world_fini(&w);
}

static void test_pins_give_the_bytes(void **state)
{
	static const size_t sizes[] = {0, 3000, 300000};
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	for (uint32_t i = 0; i < 3; i++) {
		struct content c = content_make(i, sizes[i]);
		uint8_t *buf = malloc(c.size + 1);
		struct blob_pin pin;

		assert_int_equal(blob_pin(w.bs, &c.oid, &pin), -EAGAIN);
		assert_int_equal(blob_put(w.bs, &c.oid, c.data, c.size), 0);
		assert_int_equal(blob_pin(w.bs, &c.oid, &pin), 0);
		assert_int_equal(pin.size, c.size);
		assert_int_equal(world_disk(&w).pinned, 1);
		assert_int_equal(pread(pin.fd, buf, c.size, (off_t)pin.offset), c.size);
		assert_memory_equal(buf, c.data, c.size);
		blob_unpin(w.bs, &pin);
		assert_int_equal(world_disk(&w).pinned, 0);
		blob_unpin(w.bs, &pin); /* empty now: harmless */
		free(buf);
		content_free(&c);
	}
	blob_world_fini(&w);
}

static void test_odd_ids_are_refused(void **state)
{
	struct oid none = {0};
	struct blob_pin pin;
	struct blob_world w;
	char buf[8];

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	assert_int_equal(blob_read(w.bs, &none, buf, sizeof(buf), 0), -EINVAL);
	assert_int_equal(blob_pin(w.bs, &none, &pin), -EINVAL);
	assert_int_equal(blob_put(w.bs, &none, "", 0), -EINVAL);
	assert_int_equal(
		blob_fetch(w.bs, &none, &(struct blob_source){0}, NULL, NS_NEVER), -EINVAL);
	assert_false(blob_is_local(w.bs, &none));
	blob_world_fini(&w);
}

static void test_sha256_ids(void **state)
{
	struct blob_world w;
	struct oid oid;
	char buf[16];

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(digest_object(DIGEST_SHA256, OBJECT_BLOB, "abc", 3, &oid), 0);
	assert_int_equal(blob_put(w.bs, &oid, "abc", 3), 0);
	blob_world_reopen(&w);
	assert_int_equal(blob_read(w.bs, &oid, buf, sizeof(buf), 0), 3);
	assert_memory_equal(buf, "abc", 3);
	blob_world_fini(&w);
}

static void test_metrics_come_and_go_with_the_store(void **state)
{
	struct metrics *m = metrics_new();
	struct blob_world w;
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	blob_world_init(&w, MIB, 64 * MIB);
	w.bs = blob_store_close(w.bs);
	w.config.metrics = m;
	blob_world_open(&w);
	assert_int_equal(world_put(&w, 1, 1000), 0);
	assert_int_equal(world_read(&w, 1, 1000), 1000);
	metrics_render(m, &text);
	assert_non_null(
		strstr(buf_cstr(&text), "coppice_blob_tier_hits_total{tier=\"memory\"} 1\n"));
	assert_non_null(strstr(buf_cstr(&text), "coppice_blob_tier_blobs{tier=\"disk\"} 1\n"));
	blob_world_fini(&w);
	buf_clear(&text);
	metrics_render(m, &text);
	assert_null(strstr(buf_cstr(&text), "coppice_blob_tier_bytes{"));
	buf_fini(&text);
	metrics_free(m);
}

static void test_open_without_memory(void **state)
{
	struct tmpdir tmp;
	unsigned n;

	(void)state;
	tmpdir_init(&tmp);
	for (n = 0;; n++) {
		const struct blob_config config = {.dir = tmp.path,
			.memory_bytes = MIB,
			.disk_bytes = 8 * MIB,
			.clock = &clock_system};
		struct blob_store *bs = NULL;
		struct err e = {0};
		int r;

		alloc_fault_arm(n);
		r = blob_store_open(&bs, &config, &e);
		blob_store_close(bs);
		if (!alloc_fault_disarm())
			break;
		if (r < 0)
			assert_int_equal(e.code, r);
		assert_true(r == 0 || r == -ENOMEM);
	}
	assert_true(n > 10);
	tmpdir_fini(&tmp);
}

static void test_fetch_without_memory(void **state)
{
	static const size_t sizes[] = {1000, 100000};
	struct blob_world w;

	(void)state;
	blob_world_init(&w, MIB, 64 * MIB);
	for (uint32_t i = 0; i < 2; i++) {
		for (unsigned n = 0;; n++) {
			struct content c = content_make(1000 * i + n, sizes[i]);
			struct source s = {.content = &c};
			int r;

			alloc_fault_arm(n);
			r = world_fetch(&w, &s);
			if (!alloc_fault_disarm()) {
				content_free(&c);
				break;
			}
			/* either it said so, or it went well without */
			assert_true(r == 0 || r == -ENOMEM);
			assert_int_equal(world_fetch(&w, &s), 0);
			assert_int_equal(world_read(&w, 1000 * i + n, sizes[i]), sizes[i]);
			content_free(&c);
		}
	}
	blob_world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_and_large_come_back),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_put_of_wrong_content_stores_nothing),
		cmocka_unit_test(test_fetch_once_then_local),
		cmocka_unit_test(test_a_lying_source_stores_nothing),
		cmocka_unit_test(test_a_source_that_breaks_the_rules),
		cmocka_unit_test(test_small_blobs_move_to_memory_when_read_again),
		cmocka_unit_test(test_pins_give_the_bytes),
		cmocka_unit_test(test_odd_ids_are_refused),
		cmocka_unit_test(test_sha256_ids),
		cmocka_unit_test(test_metrics_come_and_go_with_the_store),
		cmocka_unit_test(test_open_without_memory),
		cmocka_unit_test(test_fetch_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
