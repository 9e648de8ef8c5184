/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only place where errors become statuses. Reasons come first because they say more than an
 * errno: -EPERM is UNAUTHENTICATED for a caller nobody knows and PERMISSION_DENIED for one who may
 * not. Pure; any thread.
 */
#include "status.h"

#include <errno.h>
#include <google/rpc/error_details.pb-c.h>
#include <google/rpc/status.pb-c.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "utf8.h"

/* Reasons whose status is not that of their errno, or that can come with several errnos. */
static const struct {
	const char *reason;
	grpc_status_code code;
} by_reason[] = {
	{"DISK_FULL", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"DRAINING", GRPC_STATUS_UNAVAILABLE},
	{"FILE_CHANGING", GRPC_STATUS_FAILED_PRECONDITION},
	{"FUSE_UNAVAILABLE", GRPC_STATUS_UNAVAILABLE},
	{"HANDING_OVER", GRPC_STATUS_UNAVAILABLE},
	{"ILLEGAL_STATE", GRPC_STATUS_FAILED_PRECONDITION},
	{"INVALID_FIELD", GRPC_STATUS_INVALID_ARGUMENT},
	{"GENERATION_CHANGED", GRPC_STATUS_ABORTED},
	{"REBASE_CONFLICT", GRPC_STATUS_FAILED_PRECONDITION},
	{"WORKSPACE_HAS_COMMITS", GRPC_STATUS_FAILED_PRECONDITION},
	{"WORKSPACE_BUSY", GRPC_STATUS_DEADLINE_EXCEEDED},
	{"NOTHING_TO_COMMIT", GRPC_STATUS_FAILED_PRECONDITION},
	{"PATHSPEC_NO_MATCH", GRPC_STATUS_NOT_FOUND},
	{"PATH_IGNORED", GRPC_STATUS_FAILED_PRECONDITION},
	{"DIFF_TOO_LARGE", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"NOTHING_TO_PUSH", GRPC_STATUS_FAILED_PRECONDITION},
	{"NON_FAST_FORWARD", GRPC_STATUS_FAILED_PRECONDITION},
	{"PUSH_REFUSED", GRPC_STATUS_FAILED_PRECONDITION},
	{"PUSH_DENIED", GRPC_STATUS_PERMISSION_DENIED},
	{"PUSH_NOT_ALLOWED", GRPC_STATUS_PERMISSION_DENIED},
	{"PUSH_LOST", GRPC_STATUS_UNAVAILABLE},
	{"PUSH_OUTCOME_UNKNOWN", GRPC_STATUS_UNAVAILABLE},
	{"HEAD_CHANGED", GRPC_STATUS_ABORTED},
	{"JOB_ID_IN_USE", GRPC_STATUS_ALREADY_EXISTS},
	{"MALFORMED_REQUEST", GRPC_STATUS_INVALID_ARGUMENT},
	{"MOUNTPOINT_IN_USE", GRPC_STATUS_FAILED_PRECONDITION},
	{"MOUNTPOINT_NOT_EMPTY", GRPC_STATUS_FAILED_PRECONDITION},
	{"MOUNTPOINT_UNUSABLE", GRPC_STATUS_FAILED_PRECONDITION},
	{"MOUNT_LIMIT", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"MOUNT_NOT_FOUND", GRPC_STATUS_NOT_FOUND},
	{"NO_MERGE_BASE", GRPC_STATUS_FAILED_PRECONDITION},
	{"NOT_IN_THIS_VERSION", GRPC_STATUS_UNIMPLEMENTED},
	{"NOT_KEPT", GRPC_STATUS_FAILED_PRECONDITION},
	{"CHANGE_LIST_DOES_NOT_APPLY", GRPC_STATUS_FAILED_PRECONDITION},
	{"CHANGE_LIST_NOT_FOUND", GRPC_STATUS_NOT_FOUND},
	{"CHANGE_LIST_TOO_LARGE", GRPC_STATUS_INVALID_ARGUMENT},
	{"NOT_READY", GRPC_STATUS_FAILED_PRECONDITION},
	{"ORIGIN_AUTH_FAILED", GRPC_STATUS_FAILED_PRECONDITION},
	{"ORIGIN_NOT_ALLOWED", GRPC_STATUS_PERMISSION_DENIED},
	{"MOUNTPOINT_NOT_ALLOWED", GRPC_STATUS_PERMISSION_DENIED},
	{"ORIGIN_NOT_FOUND", GRPC_STATUS_NOT_FOUND},
	{"ORIGIN_TLS_FAILED", GRPC_STATUS_UNAVAILABLE},
	{"ORIGIN_UNAVAILABLE", GRPC_STATUS_UNAVAILABLE},
	{"ORIGIN_UNREACHABLE", GRPC_STATUS_UNAVAILABLE},
	{"ORIGIN_UNSUPPORTED", GRPC_STATUS_FAILED_PRECONDITION},
	{"OVERLOADED", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"PATH_NOT_ALLOWED", GRPC_STATUS_PERMISSION_DENIED},
	{"PATH_NOT_A_DIRECTORY", GRPC_STATUS_FAILED_PRECONDITION},
	{"PATH_NOT_FOUND", GRPC_STATUS_NOT_FOUND},
	{"REQUEST_TOO_COMPLEX", GRPC_STATUS_INVALID_ARGUMENT},
	{"REVISION_AMBIGUOUS", GRPC_STATUS_INVALID_ARGUMENT},
	{"REVISION_NOT_FOUND", GRPC_STATUS_NOT_FOUND},
	{"SELF_CHECK_FAILED", GRPC_STATUS_FAILED_PRECONDITION},
	{"SERIALS_EXHAUSTED", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"SLOW_CONSUMER", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"STOPPING", GRPC_STATUS_FAILED_PRECONDITION},
	{"QUOTA_EXCEEDED", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"PATH_TOO_LONG", GRPC_STATUS_FAILED_PRECONDITION},
	{"TOO_MANY_CHANGES", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"TOO_MANY_COMMITS", GRPC_STATUS_RESOURCE_EXHAUSTED},
	{"WORKFLOW_STATE_DAMAGED", GRPC_STATUS_DATA_LOSS},
	{"UNAUTHENTICATED", GRPC_STATUS_UNAUTHENTICATED},
};

static const struct {
	int error;
	grpc_status_code code;
} by_errno[] = {
	{ENOENT, GRPC_STATUS_NOT_FOUND},
	{ESTALE, GRPC_STATUS_NOT_FOUND},
	{EEXIST, GRPC_STATUS_ALREADY_EXISTS},
	{EINVAL, GRPC_STATUS_INVALID_ARGUMENT},
	{ENAMETOOLONG, GRPC_STATUS_INVALID_ARGUMENT},
	{EACCES, GRPC_STATUS_PERMISSION_DENIED},
	{EPERM, GRPC_STATUS_PERMISSION_DENIED},
	{EAGAIN, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{EDQUOT, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{EMFILE, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{ENFILE, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{EMSGSIZE, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{ENOBUFS, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{ENOMEM, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{ENOSPC, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{EBUSY, GRPC_STATUS_FAILED_PRECONDITION},
	{EISDIR, GRPC_STATUS_FAILED_PRECONDITION},
	{ENOTDIR, GRPC_STATUS_FAILED_PRECONDITION},
	{ENOTEMPTY, GRPC_STATUS_FAILED_PRECONDITION},
	{EROFS, GRPC_STATUS_FAILED_PRECONDITION},
	{ETIMEDOUT, GRPC_STATUS_DEADLINE_EXCEEDED},
	{ECANCELED, GRPC_STATUS_CANCELLED},
	{ENOSYS, GRPC_STATUS_UNIMPLEMENTED},
	{EOPNOTSUPP, GRPC_STATUS_UNIMPLEMENTED},
	{ECONNREFUSED, GRPC_STATUS_UNAVAILABLE},
	{ECONNRESET, GRPC_STATUS_UNAVAILABLE},
	{EHOSTUNREACH, GRPC_STATUS_UNAVAILABLE},
	{ENETUNREACH, GRPC_STATUS_UNAVAILABLE},
	{ESHUTDOWN, GRPC_STATUS_UNAVAILABLE},
	{EBADMSG, GRPC_STATUS_DATA_LOSS},
};

static const char *const names[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

grpc_status_code status_code(const struct err *e)
{
	const char *reason = err_reason(e);

	if (e->code == 0)
		return GRPC_STATUS_OK;
	for (size_t i = 0; i < COUNT(by_reason); i++)
		if (strcmp(by_reason[i].reason, reason) == 0)
			return by_reason[i].code;
	for (size_t i = 0; i < COUNT(by_errno); i++)
		if (by_errno[i].error == -e->code)
			return by_errno[i].code;
	return GRPC_STATUS_INTERNAL;
}

const char *status_name(grpc_status_code code)
{
	return (size_t)code < COUNT(names) ? names[code] : "UNKNOWN";
}

/* An ErrorInfo and the memory that its pointers need. */
struct info {
	Google__Rpc__ErrorInfo message;
	Google__Rpc__ErrorInfo__MetadataEntry entries[ERR_META_MAX + 1];
	Google__Rpc__ErrorInfo__MetadataEntry *pointers[ERR_META_MAX + 1];
	char values[ERR_META_MAX][sizeof(((struct err *)NULL)->meta[0].value)];
};

static void info_add(struct info *info, const char *key, const char *value)
{
	size_t i = info->message.n_metadata++;

	google__rpc__error_info__metadata_entry__init(&info->entries[i]);
	info->entries[i].key = (char *)key; /* packing only reads */
	info->entries[i].value = (char *)value;
	info->pointers[i] = &info->entries[i];
}

static void info_fill(struct info *info, const struct err *e)
{
	google__rpc__error_info__init(&info->message);
	info->message.reason = (char *)err_reason(e);
	info->message.domain = (char *)STATUS_DOMAIN;
	info->message.metadata = info->pointers;
	if (e->field[0])
		info_add(info, "field", e->field);
	for (unsigned i = 0; i < e->meta_count && i < ERR_META_MAX; i++) {
		utf8_repair(e->meta[i].value, info->values[i], sizeof(info->values[i]));
		info_add(info, e->meta[i].key, info->values[i]);
	}
}

void status_message(const struct err *e, char *out, size_t cap)
{
	char text[STATUS_MESSAGE_MAX];

	(void)snprintf(
		text, sizeof(text), "%s%s%s", e->field, e->field[0] ? ": " : "", err_message(e));
	utf8_repair(text, out, cap);
}

/* A PreconditionFailure and the memory that its pointers need. */
#define VIOLATIONS_MAX 64
struct failure {
	Google__Rpc__PreconditionFailure message;
	Google__Rpc__PreconditionFailure__Violation violations[VIOLATIONS_MAX],
		*pointers[VIOLATIONS_MAX];
	char text[2 * ERR_LINES_MAX];
	uint8_t packed[3 * ERR_LINES_MAX];
};

/* The lines of the error; they are taken apart in failure->text. */
static void failure_fill(struct failure *f, const struct err *e)
{
	char *line, *rest;

	google__rpc__precondition_failure__init(&f->message);
	f->message.violations = f->pointers;
	utf8_repair(e->lines, f->text, sizeof(f->text));
	for (line = strtok_r(f->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		Google__Rpc__PreconditionFailure__Violation *v;
		char *why = strrchr(line, '\t');

		if (!why || f->message.n_violations == VIOLATIONS_MAX)
			continue;
		*why = '\0';
		v = f->pointers[f->message.n_violations] = &f->violations[f->message.n_violations];
		google__rpc__precondition_failure__violation__init(v);
		v->type = (char *)err_reason(e); /* packing only reads */
		v->subject = line;
		v->description = why + 1;
		f->message.n_violations++;
	}
}

/* Into an Any, if the error has lines. The memory is malloc'ed, *ret_failure. */
static bool pack_failure(
	const struct err *e, Google__Protobuf__Any *any, struct failure **ret_failure)
{
	struct failure *f = e->lines[0] ? calloc(1, sizeof(*f)) : NULL;

	*ret_failure = f;
	if (!f)
		return false; /* the message says the most important */
	failure_fill(f, e);
	if (google__rpc__precondition_failure__get_packed_size(&f->message) > sizeof(f->packed))
		return false;
	any->type_url = (char *)"type.googleapis.com/google.rpc.PreconditionFailure";
	any->value.len = google__rpc__precondition_failure__pack(&f->message, f->packed);
	any->value.data = f->packed;
	return true;
}

int status_details(const struct err *e, grpc_status_code code, uint8_t **ret_data, size_t *ret_len)
{
	struct info info;
	struct failure *failure;
	uint8_t packed_info[STATUS_DETAILS_MAX / 2];
	char message[STATUS_MESSAGE_MAX];
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, more = GOOGLE__PROTOBUF__ANY__INIT,
			      *details[] = {&any, &more};
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;

	info_fill(&info, e);
	if (google__rpc__error_info__get_packed_size(&info.message) > sizeof(packed_info))
		return -EMSGSIZE; /* cannot be: every part of a struct err is bounded */
	any.type_url = (char *)"type.googleapis.com/google.rpc.ErrorInfo";
	any.value.len = google__rpc__error_info__pack(&info.message, packed_info);
	any.value.data = packed_info;

	status_message(e, message, sizeof(message));
	status.code = (int32_t)code;
	status.message = message;
	status.n_details = pack_failure(e, &more, &failure) ? 2 : 1;
	status.details = details;

	uint8_t *data = malloc(google__rpc__status__get_packed_size(&status));

	if (data)
		*ret_len = google__rpc__status__pack(&status, data);
	free(failure);
	if (!data)
		return -ENOMEM;
	*ret_data = data;
	return 0;
}
