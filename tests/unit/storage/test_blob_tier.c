/* SPDX-License-Identifier: Apache-2.0 */
/* A tier that is remote and lossy, as another process' cache is: it may help, it may never hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blob_world.h"
#include "storage/blob_tier.h"

#define MIB (1u << 20)

/* Holds one blob; answers as told. */
struct shelf {
	struct oid oid;
	uint8_t data[4096];
	size_t len;
	int load_error;
	bool lies;
	unsigned loads, puts, drops;
};

static int shelf_load(void *impl, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct shelf *s = impl;
	uint8_t data[4096];
	int r;

	(void)cancel;
	(void)deadline_ns;
	s->loads++;
	if (s->load_error)
		return s->load_error;
	if (!s->len || !oid_equal(&s->oid, oid))
		return -EAGAIN;
	memcpy(data, s->data, s->len);
	data[0] ^= s->lies;
	r = sink->begin(sink, s->len);
	return r < 0 ? r : sink->write(sink, data, s->len);
}

static int shelf_put(void *impl, const struct oid *oid, const void *data, size_t len)
{
	struct shelf *s = impl;

	s->puts++;
	if (len > sizeof(s->data))
		return -EFBIG;
	s->oid = *oid;
	s->len = len;
	memcpy(s->data, data, len);
	return 0;
}

static void shelf_drop(void *impl, const struct oid *oid)
{
	struct shelf *s = impl;

	(void)oid;
	s->drops++;
	s->len = 0;
}

static void shelf_stats(void *impl, struct blob_tier_stats *ret_stats)
{
	(void)impl;
	(void)ret_stats;
}

static void shelf_close(void *impl)
{
	(void)impl;
}

static const struct blob_tier_ops shelf_ops = {
	.name = "shelf",
	.close = shelf_close,
	.load = shelf_load,
	.put = shelf_put,
	.drop = shelf_drop,
	.stats = shelf_stats,
};

struct remote_world {
	struct blob_world w;
	struct shelf shelf;
	struct content content;
	struct source source;
};

static void remote_init(struct remote_world *r)
{
	*r = (struct remote_world){0};
	blob_world_init(&r->w, MIB, 64 * MIB);
	assert_int_equal(blob_store_add_tier(r->w.bs,
				 &(struct blob_tier){.ops = &shelf_ops, .impl = &r->shelf}),
		0);
	r->content = content_make(1, 3000);
	r->source.content = &r->content;
}

static void remote_fini(struct remote_world *r)
{
	content_free(&r->content);
	blob_world_fini(&r->w);
}

/* The other process had it already. */
static void fill_shelf(struct remote_world *r)
{
	(void)shelf_put(&r->shelf, &r->content.oid, r->content.data, r->content.size);
	r->shelf.puts = 0;
}

static void test_it_is_asked_before_the_source(void **state)
{
	struct remote_world r;

	(void)state;
	remote_init(&r);
	fill_shelf(&r);
	assert_int_equal(world_read(&r.w, 1, 3000), -EAGAIN); /* readers never ask it */
	assert_int_equal(r.shelf.loads, 0);
	assert_int_equal(world_fetch(&r.w, &r.source), 0);
	assert_int_equal(r.source.calls, 0);
	assert_int_equal(world_read(&r.w, 1, 3000), 3000);
	remote_fini(&r);
}

static void test_it_gets_what_the_source_gave(void **state)
{
	struct remote_world r;

	(void)state;
	remote_init(&r);
	assert_int_equal(world_fetch(&r.w, &r.source), 0);
	assert_int_equal(r.source.calls, 1);
	assert_int_equal(r.shelf.puts, 1);
	assert_int_equal(r.shelf.len, 3000);
	remote_fini(&r);
}

static void test_its_failures_cost_nothing(void **state)
{
	static const int errors[] = {-EIO, -ETIMEDOUT, -ENOENT, -EHOSTUNREACH};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct remote_world r;

		remote_init(&r);
		fill_shelf(&r);
		r.shelf.load_error = errors[i];
		assert_int_equal(world_fetch(&r.w, &r.source), 0);
		assert_int_equal(r.source.calls, 1);
		assert_int_equal(world_read(&r.w, 1, 3000), 3000);
		remote_fini(&r);
	}
}

static void test_its_lies_are_found_and_dropped(void **state)
{
	struct remote_world r;
	struct blob_stats stats;

	(void)state;
	remote_init(&r);
	fill_shelf(&r);
	r.shelf.lies = true;
	assert_int_equal(world_fetch(&r.w, &r.source), 0);
	assert_int_equal(r.source.calls, 1);
	assert_int_equal(r.shelf.drops, 1);
	assert_int_equal(world_read(&r.w, 1, 3000), 3000);
	blob_stats(r.w.bs, &stats);
	assert_int_equal(stats.verify_failures, 1);
	assert_int_equal(stats.failed, 0);
	remote_fini(&r);
}

static void test_there_is_a_limit_to_tiers(void **state)
{
	struct remote_world r;
	const struct blob_tier tier = {.ops = &shelf_ops, .impl = &r.shelf};

	(void)state;
	remote_init(&r);
	assert_int_equal(
		blob_store_add_tier(r.w.bs, &tier), 0); /* behind four own ones and the first */
	assert_int_equal(blob_store_add_tier(r.w.bs, &tier), -ENOSPC);
	remote_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_asked_before_the_source),
		cmocka_unit_test(test_it_gets_what_the_source_gave),
		cmocka_unit_test(test_its_failures_cost_nothing),
		cmocka_unit_test(test_its_lies_are_found_and_dropped),
		cmocka_unit_test(test_there_is_a_limit_to_tiers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
