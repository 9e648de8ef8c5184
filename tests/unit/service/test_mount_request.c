/* SPDX-License-Identifier: Apache-2.0 */
/* Requests made canonical, and compared. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_request.h"

#include <base/err.h>
#include <errno.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <string.h>

static struct cfg_origin origins[] = {{.name = "main", .type = "git", .url = "/m"}};
static struct cfg config = {.origins = origins, .origin_count = 1};

static int check(const struct mount_request *rq, struct mount_record *ret, struct err *e)
{
	struct tenants *tenants;
	int err;

	assert_int_equal(tenants_new(&tenants, &config, NULL), 0);
	err = mount_request_check(&config, tenants_find(tenants, "default"), rq, ret, e);
	tenants_free(tenants);
	return err;
}

static void expect_field(const struct mount_request *rq, const char *field)
{
	struct mount_record r;
	struct err e = {0};

	assert_int_equal(check(rq, &r, &e), -EINVAL);
	assert_string_equal(e.field, field);
}

static void test_canonical_form(void **state)
{
	static const struct mount_label labels[] = {{"b", "2"}, {"a", "1"}};
	struct mount_request rq = {.job_id = "j",
		.path = "//src/lib/",
		.labels = labels,
		.label_count = 2,
		.quota_bytes = 5};
	struct mount_record r;
	struct err e = {0};

	(void)state;
	assert_int_equal(check(&rq, &r, &e), 0);
	assert_string_equal(r.origin, "main");
	assert_string_equal(r.path, "src/lib");
	assert_null(r.mountpoint);
	assert_string_equal(r.labels[0].key, "a");
	assert_int_equal(r.quota_bytes, 5);
	assert_true(r.quota_inodes == UINT64_MAX);
	assert_int_equal(r.state, MOUNT_PROVISIONING);
	mount_record_fini(&r);
}

static void test_wrong_fields_are_named(void **state)
{
	static const struct mount_label twice[] = {{"a", "1"}, {"a", "2"}}, bad[] = {{"a b", ""}};
	char revision[300];

	(void)state;
	memset(revision, 'x', sizeof(revision));
	revision[sizeof(revision) - 1] = '\0';
	expect_field(&(struct mount_request){.job_id = ""}, "job_id");
	expect_field(&(struct mount_request){.job_id = "a/b"}, "job_id");
	expect_field(&(struct mount_request){.job_id = "-a"}, "job_id");
	expect_field(&(struct mount_request){.job_id = "j", .path = "a/../b"}, "path");
	expect_field(&(struct mount_request){.job_id = "j", .revision = revision}, "revision");
	expect_field(&(struct mount_request){.job_id = "j", .revision = "a\nb"}, "revision");
	expect_field(&(struct mount_request){.job_id = "j", .lease_seconds = 4}, "lease_seconds");
	expect_field(
		&(struct mount_request){.job_id = "j", .lease_seconds = 604801}, "lease_seconds");
	expect_field(&(struct mount_request){.job_id = "j", .labels = twice, .label_count = 2},
		"labels");
	expect_field(
		&(struct mount_request){.job_id = "j", .labels = bad, .label_count = 1}, "labels");
}

static void expect_differs(
	const struct mount_request *a, const struct mount_request *b, const char *what)
{
	struct mount_record x, y;
	struct err e = {0};

	assert_int_equal(check(a, &x, &e), 0);
	assert_int_equal(check(b, &y, &e), 0);
	if (!what) {
		assert_int_equal(mount_request_compare(&x, &y, &e), 0);
	} else {
		assert_int_equal(mount_request_compare(&x, &y, &e), -EEXIST);
		assert_string_equal(e.reason, "JOB_ID_IN_USE");
		assert_non_null(strstr(e.message, what));
	}
	mount_record_fini(&x);
	mount_record_fini(&y);
}

static void test_comparison(void **state)
{
	static const struct mount_label ab[] = {{"a", "1"}, {"b", "2"}},
					ba[] = {{"b", "2"}, {"a", "1"}};
	const struct mount_request plain = {.job_id = "j"};

	(void)state;
	expect_differs(&plain,
		&(struct mount_request){.job_id = "j", .origin = "main", .path = "/"}, NULL);
	expect_differs(&(struct mount_request){.job_id = "j", .labels = ab, .label_count = 2},
		&(struct mount_request){.job_id = "j", .labels = ba, .label_count = 2}, NULL);
	expect_differs(&plain, &(struct mount_request){.job_id = "j", .path = "src"}, "path");
	expect_differs(
		&plain, &(struct mount_request){.job_id = "j", .revision = "v1"}, "revision");
	expect_differs(
		&plain, &(struct mount_request){.job_id = "j", .mountpoint = "/x"}, "mountpoint");
	expect_differs(
		&plain, &(struct mount_request){.job_id = "j", .read_only = true}, "read_only");
	expect_differs(&plain, &(struct mount_request){.job_id = "j", .uid = 5}, "owner");
	expect_differs(&plain, &(struct mount_request){.job_id = "j", .quota_bytes = 5},
		"quota, lease or labels");
	expect_differs(&plain, &(struct mount_request){.job_id = "j", .lease_seconds = 5},
		"quota, lease or labels");
	expect_differs(&plain,
		&(struct mount_request){.job_id = "j", .labels = ab, .label_count = 1},
		"quota, lease or labels");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical_form),
		cmocka_unit_test(test_wrong_fields_are_named),
		cmocka_unit_test(test_comparison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
