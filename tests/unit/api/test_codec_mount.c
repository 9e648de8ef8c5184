/* SPDX-License-Identifier: Apache-2.0 */
/* codec_mount.c and codec_request.c: domain → wire → domain keeps everything, limits hold at their
 * edges, memory may end anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "codec_mount.h"

static struct mount_label labels[] = {{"ci", "1"}, {"branch/name", ""}};

static struct mount_info example(void)
{
	struct mount_info info = {.path = (char *)"src/lib",
		.mountpoint = (char *)"/build",
		.root = (char *)"/run/coppice/mnt/t/j",
		.reason = (char *)"caf\xc3\xa9 \xff",
		.state = MOUNT_FAILED,
		.quota_bytes = 5,
		.quota_inodes = UINT64_MAX,
		.used_bytes = 3,
		.used_inodes = 4,
		.lease_seconds = 60,
		.lease_expires_wall_ns = 1700000060500000000,
		.created_wall_ns = 1700000000250000000,
		.generation = 9,
		.trees_fetched = 10,
		.blobs_fetched = 11,
		.bytes_fetched = 12,
		.fetch_errors = 13,
		.change_kind = MOUNT_CHANGE_RANGE,
		.change_text = (char *)"a..b",
		.change_path = (char *)"",
		.change_paths = 14,
		.read_only = true,
		.uid = 1000,
		.gid = 100,
		.labels = labels,
		.label_count = 2};

	(void)snprintf(
		info.mount_id, sizeof(info.mount_id), "01234567-89ab-cdef-0123-456789abcdef");
	(void)snprintf(info.job_id, sizeof(info.job_id), "j");
	(void)snprintf(info.tenant, sizeof(info.tenant), "t");
	(void)snprintf(info.origin, sizeof(info.origin), "o");
	(void)snprintf(info.revision, sizeof(info.revision), "main");
	(void)snprintf(info.commit, sizeof(info.commit), "c0");
	(void)snprintf(info.root_tree, sizeof(info.root_tree), "7e");
	(void)snprintf(info.change_commit, sizeof(info.change_commit), "b0");
	return info;
}

static void test_mount_on_the_wire(void **state)
{
	struct mount_info info = example();
	struct arena a;
	uint8_t data[2048];
	size_t len;
	Coppice__V1__Mount *m;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	m = codec_mount(&info, &a);
	assert_non_null(m);
	assert_true(coppice__v1__mount__get_packed_size(m) <= sizeof(data));
	len = coppice__v1__mount__pack(m, data);
	m = coppice__v1__mount__unpack(&a.allocator, len, data);
	assert_non_null(m);
	assert_string_equal(m->mount_id, info.mount_id);
	assert_int_equal(m->change_list->source_case, COPPICE__V1__CHANGE_LIST__SOURCE_RANGE);
	assert_string_equal(m->change_list->range, "a..b");
	assert_string_equal(m->change_list_commit, "b0");
	assert_int_equal(m->change_list_paths, 14);
	assert_string_equal(m->job_id, "j");
	assert_string_equal(m->tenant, "t");
	assert_string_equal(m->origin, "o");
	assert_string_equal(m->path, "src/lib");
	assert_string_equal(m->revision, "main");
	assert_string_equal(m->commit, "c0");
	assert_string_equal(m->root_tree, "7e");
	assert_string_equal(m->root, info.root);
	assert_string_equal(m->mountpoint, "/build");
	assert_string_equal(m->reason, "caf\xc3\xa9 ?");
	assert_int_equal(m->state, COPPICE__V1__MOUNT_STATE__FAILED);
	assert_int_equal(m->quota->bytes, 5);
	assert_int_equal(m->quota->inodes, 0); /* unlimited */
	assert_int_equal(m->usage->bytes, 3);
	assert_int_equal(m->usage->inodes, 4);
	assert_int_equal(m->lease_expires_at->seconds, 1700000060);
	assert_int_equal(m->lease_expires_at->nanos, 500000000);
	assert_int_equal(m->created_at->nanos, 250000000);
	assert_int_equal(m->generation, 9);
	assert_int_equal(m->fetch->fetch_errors, 13);
	assert_true(m->read_only);
	assert_int_equal(m->owner->uid, 1000);
	assert_int_equal(m->n_labels, 2);
	assert_string_equal(m->labels[1]->key, "branch/name");
	info.lease_expires_wall_ns = 0;
	assert_null(codec_mount(&info, &a)->lease_expires_at);
	arena_fini(&a);
}

static void test_event(void **state)
{
	struct mount_info info = example();
	struct mount_event ev = {.kind = MOUNT_EVENT_SYNCED, .sequence = 7, .wall_ns = 1};
	struct arena a;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	assert_null(codec_mount_event(&ev, &a)->mount);
	assert_int_equal(codec_mount_event(&ev, &a)->sequence, 7);
	ev.mount = &info;
	ev.kind = MOUNT_EVENT_REMOVED;
	assert_string_equal(codec_mount_event(&ev, &a)->mount->job_id, "j");
	assert_int_equal(codec_mount_event(&ev, &a)->kind, COPPICE__V1__MOUNT_EVENT__KIND__REMOVED);
	arena_fini(&a);
}

/* With any smaller arena it fails, and cleanly. */
static void test_memory_ends(void **state)
{
	struct mount_info info = example();
	struct mount_event ev = {.kind = MOUNT_EVENT_PRESENT, .mount = &info};
	bool done = false;

	(void)state;
	for (size_t max = 0; !done; max += 64) {
		struct arena a;

		arena_init(&a, max);
		done = codec_mount_event(&ev, &a) != NULL;
		arena_fini(&a);
		assert_true(max < 1 << 16);
	}
}

static int create(Coppice__V1__CreateMountRequest *in, struct err *e)
{
	struct mount_request rq;
	struct arena a;
	int r;

	*e = (struct err){0};
	arena_init(&a, ARENA_MAX_BYTES);
	r = codec_create_request(in, &a, &rq, e);
	arena_fini(&a);
	return r;
}

static void test_create_defaults(void **state)
{
	Coppice__V1__CreateMountRequest in = COPPICE__V1__CREATE_MOUNT_REQUEST__INIT;
	struct mount_request rq;
	struct arena a;
	struct err e = {0};

	(void)state;
	in.job_id = (char *)"j";
	in.path = (char *)"//a/b//";
	in.mountpoint = (char *)"//m//n/";
	arena_init(&a, ARENA_MAX_BYTES);
	assert_int_equal(codec_create_request(&in, &a, &rq, &e), 0);
	assert_string_equal(rq.path, "a/b");
	assert_string_equal(rq.mountpoint, "/m/n");
	assert_string_equal(rq.revision, "");
	assert_null(rq.tenant);
	assert_int_equal(rq.quota_bytes, 0);
	assert_int_equal(rq.label_count, 0);
	arena_fini(&a);
}

static void test_create_limits(void **state)
{
	Coppice__V1__CreateMountRequest in = COPPICE__V1__CREATE_MOUNT_REQUEST__INIT;
	Coppice__V1__Quota quota = COPPICE__V1__QUOTA__INIT;
	Coppice__V1__ChangeList cl = COPPICE__V1__CHANGE_LIST__INIT;
	struct err e;
	char job[130], revision[257];

	(void)state;
	memset(job, 'j', sizeof(job));
	job[129] = '\0';
	in.job_id = job;
	assert_int_equal(create(&in, &e), -EINVAL);
	assert_string_equal(e.field, "job_id");
	job[128] = '\0';
	assert_int_equal(create(&in, &e), 0);

	memset(revision, 'r', sizeof(revision));
	revision[256] = '\0';
	in.revision = revision;
	assert_int_equal(create(&in, &e), -EINVAL);
	assert_string_equal(e.field, "revision");
	revision[255] = '\0';
	assert_int_equal(create(&in, &e), 0);

	for (uint32_t lease = 0;
		lease<604810; lease += lease> 10 && lease < 604790 ? 604000 / 8 : 1) {
		in.lease_seconds = lease;
		assert_int_equal(
			create(&in, &e), !lease || (lease >= 5 && lease <= 604800) ? 0 : -EINVAL);
	}
	in.lease_seconds = 0;
	in.quota = &quota;
	assert_int_equal(create(&in, &e), -EINVAL);
	assert_string_equal(e.field, "quota");
	quota.inodes = 1;
	assert_int_equal(create(&in, &e), 0);
	in.change_list = &cl;
	assert_int_equal(create(&in, &e), -EINVAL);
	assert_string_equal(e.field, "change_list");
	cl.source_case = COPPICE__V1__CHANGE_LIST__SOURCE_REF;
	cl.ref = (char *)"topic";
	assert_int_equal(create(&in, &e), 0);
	cl.path = (char *)"src";
	assert_int_equal(create(&in, &e), -EINVAL);
	assert_string_equal(e.field, "change_list.path");
}

static void test_key(void **state)
{
	struct mount_key key;
	struct err e = {0};

	(void)state;
	assert_int_equal(codec_mount_key("01234567-89AB-cdef-0123-456789abcdef", "", &key, &e), 0);
	assert_null(key.job_id);
	assert_int_equal(codec_mount_key("", "job", &key, &e), 0);
	assert_null(key.mount_id);
	assert_int_equal(codec_mount_key("", "", &key, &e), -EINVAL);
	assert_int_equal(
		codec_mount_key("01234567-89AB-cdef-0123-456789abcdef", "job", &key, &e), -EINVAL);
	assert_int_equal(
		codec_mount_key("01234567-89AB-cdef-0123-456789abcde", "", &key, &e), -EINVAL);
	assert_int_equal(
		codec_mount_key("01234567-89AB-cdef-0123-456789abcdef0", "", &key, &e), -EINVAL);
	assert_int_equal(
		codec_mount_key("01234567-89AB-cdef-0123-456789abcdeg", "", &key, &e), -EINVAL);
	assert_int_equal(codec_mount_key("", "../job", &key, &e), -EINVAL);
}

static void test_list(void **state)
{
	Coppice__V1__ListMountsRequest in = COPPICE__V1__LIST_MOUNTS_REQUEST__INIT;
	Coppice__V1__MountState states[] = {
		COPPICE__V1__MOUNT_STATE__READY, COPPICE__V1__MOUNT_STATE__EXPIRED};
	struct mount_filter f;
	struct arena a;
	struct err e = {0};

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	in.states = states;
	in.n_states = 2;
	assert_int_equal(codec_list_request(&in, &a, &f, &e), 0);
	assert_int_equal(f.page_size, 100);
	assert_int_equal(f.states, 1u << MOUNT_READY | 1u << MOUNT_EXPIRED);
	assert_null(f.origin);
	states[1] = 8;
	assert_int_equal(codec_list_request(&in, &a, &f, &e), -EINVAL);
	arena_fini(&a);
}

static void test_update_mask(void **state)
{
	Coppice__V1__UpdateMountRequest in = COPPICE__V1__UPDATE_MOUNT_REQUEST__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Coppice__V1__Quota quota = COPPICE__V1__QUOTA__INIT;
	char *paths[] = {(char *)"quota.bytes", (char *)"lease_seconds", (char *)"labels"};
	struct mount_update u;
	struct arena a;
	struct err e = {0};

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	assert_int_equal(codec_update_request(&in, &a, &u, &e), -EINVAL);
	mask.paths = paths;
	mask.n_paths = 3;
	in.update_mask = &mask;
	assert_int_equal(codec_update_request(&in, &a, &u, &e), -EINVAL);
	assert_string_equal(e.field, "quota");
	in.quota = &quota;
	quota.bytes = 77;
	assert_int_equal(codec_update_request(&in, &a, &u, &e), 0);
	assert_int_equal(u.fields, MOUNT_UPDATE_BYTES | MOUNT_UPDATE_LEASE | MOUNT_UPDATE_LABELS);
	assert_int_equal(u.quota_bytes, 77);
	paths[1] = (char *)"owner";
	assert_int_equal(codec_update_request(&in, &a, &u, &e), -EINVAL);
	assert_string_equal(e.field, "update_mask");
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount_on_the_wire),
		cmocka_unit_test(test_event),
		cmocka_unit_test(test_memory_ends),
		cmocka_unit_test(test_create_defaults),
		cmocka_unit_test(test_create_limits),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_update_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
