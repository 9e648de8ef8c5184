/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: the table, and what a client decodes from grpc-status-details-bin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"
#include "base/err.h"
#include "status.h"
#include "utf8.h"

static grpc_status_code of(int code, const char *reason)
{
	struct err e = {0};

	err_set(&e, code, reason, "x");
	return status_code(&e);
}

static void test_table(void **state)
{
	(void)state;
	assert_int_equal(status_code(&(struct err){0}), GRPC_STATUS_OK);
	assert_int_equal(of(-ENOENT, NULL), GRPC_STATUS_NOT_FOUND);
	assert_int_equal(of(-ENOENT, "REVISION_NOT_FOUND"), GRPC_STATUS_NOT_FOUND);
	assert_int_equal(of(-ENOTDIR, "PATH_NOT_A_DIRECTORY"), GRPC_STATUS_FAILED_PRECONDITION);
	assert_int_equal(of(-EEXIST, "JOB_ID_IN_USE"), GRPC_STATUS_ALREADY_EXISTS);
	assert_int_equal(of(-EDQUOT, "MOUNT_LIMIT"), GRPC_STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(of(-ENOSPC, "DISK_FULL"), GRPC_STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(of(-ESHUTDOWN, "DRAINING"), GRPC_STATUS_UNAVAILABLE);
	assert_int_equal(of(-ESHUTDOWN, "HANDING_OVER"), GRPC_STATUS_UNAVAILABLE);
	assert_int_equal(of(-ETIMEDOUT, NULL), GRPC_STATUS_DEADLINE_EXCEEDED);
	/* one errno, two meanings */
	assert_int_equal(of(-ETIMEDOUT, "ORIGIN_UNAVAILABLE"), GRPC_STATUS_UNAVAILABLE);
	assert_int_equal(of(-EPERM, "UNAUTHENTICATED"), GRPC_STATUS_UNAUTHENTICATED);
	assert_int_equal(of(-EPERM, NULL), GRPC_STATUS_PERMISSION_DENIED);
	assert_int_equal(of(-EOPNOTSUPP, "NOT_IN_THIS_VERSION"), GRPC_STATUS_UNIMPLEMENTED);
	assert_int_equal(of(-EIO, NULL), GRPC_STATUS_INTERNAL);
	assert_int_equal(of(-4095, NULL), GRPC_STATUS_INTERNAL);
	assert_string_equal(status_name(GRPC_STATUS_UNAUTHENTICATED), "UNAUTHENTICATED");
	assert_string_equal(status_name((grpc_status_code)99), "UNKNOWN");
}

static void test_details(void **state)
{
	struct err e = {0};
	uint8_t *data;
	size_t len;
	Google__Rpc__Status *status;
	Google__Rpc__ErrorInfo *info;

	(void)state;
	err_field(&e, "job_id", "is \xff bad");
	err_meta(&e, "limit", "128\xfe");
	assert_int_equal(status_details(&e, GRPC_STATUS_INVALID_ARGUMENT, &data, &len), 0);
	status = google__rpc__status__unpack(NULL, len, data);
	assert_non_null(status);
	assert_int_equal(status->code, GRPC_STATUS_INVALID_ARGUMENT);
	assert_string_equal(status->message, "job_id: is ? bad");
	assert_int_equal(status->n_details, 1);
	assert_string_equal(
		status->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo");
	info = google__rpc__error_info__unpack(
		NULL, status->details[0]->value.len, status->details[0]->value.data);
	assert_non_null(info);
	assert_string_equal(info->reason, "INVALID_FIELD");
	assert_string_equal(info->domain, "coppice");
	assert_int_equal(info->n_metadata, 2);
	assert_string_equal(info->metadata[0]->key, "field");
	assert_string_equal(info->metadata[0]->value, "job_id");
	assert_string_equal(info->metadata[1]->value, "128?");
	google__rpc__error_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(status, NULL);
	free(data);
}

/* The longest error there can be still fits, and no character is cut in two. */
static void test_longest(void **state)
{
	struct err e = {.code = -EIO, .meta_count = ERR_META_MAX};
	uint8_t *data;
	size_t len;
	char text[STATUS_MESSAGE_MAX];

	(void)state;
	memset(e.message, 'm', sizeof(e.message) - 1);
	memcpy(e.message + sizeof(e.message) - 3, "\xe2\x82", 2); /* two thirds of a euro sign */
	memset(e.field, 'f', sizeof(e.field) - 1);
	memset(e.reason, 'R', sizeof(e.reason) - 1);
	for (unsigned i = 0; i < ERR_META_MAX; i++) {
		memset(e.meta[i].key, 'k', sizeof(e.meta[i].key) - 1);
		memset(e.meta[i].value, 'v', sizeof(e.meta[i].value) - 1);
	}
	assert_int_equal(status_details(&e, GRPC_STATUS_INTERNAL, &data, &len), 0);
	assert_true(len < STATUS_DETAILS_MAX);
	free(data);
	status_message(&e, text, sizeof(text));
	assert_true(utf8_ok(text, strlen(text)));
	assert_true(strlen(text) > 500);
}

static void test_no_memory(void **state)
{
	struct err e = {.code = -EIO};
	uint8_t *data;
	size_t len;

	(void)state;
	alloc_fault_arm(0);
	assert_int_equal(status_details(&e, GRPC_STATUS_INTERNAL, &data, &len), -ENOMEM);
	assert_true(alloc_fault_disarm());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_details),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
