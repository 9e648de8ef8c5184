/* SPDX-License-Identifier: Apache-2.0 */
/* The error for people: fixed-size text in the caller's struct, and one table from errno to a
 * stable reason word. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const struct {
	int code;
	const char *reason;
} reasons[] = {
	{EACCES, "PERMISSION_DENIED"},
	{EAGAIN, "TRY_AGAIN"},
	{EBADMSG, "CORRUPT_DATA"},
	{EBUSY, "BUSY"},
	{ECANCELED, "CANCELLED"},
	{ECONNREFUSED, "UNREACHABLE"},
	{ECONNRESET, "UNREACHABLE"},
	{EDQUOT, "QUOTA_EXCEEDED"},
	{EEXIST, "ALREADY_EXISTS"},
	{EFBIG, "TOO_LARGE"},
	{EHOSTUNREACH, "UNREACHABLE"},
	{EINVAL, "INVALID_ARGUMENT"},
	{EIO, "IO_ERROR"},
	{EISDIR, "IS_A_DIRECTORY"},
	{ELOOP, "TOO_MANY_SYMLINKS"},
	{EMFILE, "TOO_MANY_OPEN_FILES"},
	{EMSGSIZE, "TOO_LARGE"},
	{ENAMETOOLONG, "NAME_TOO_LONG"},
	{ENETUNREACH, "UNREACHABLE"},
	{ENFILE, "TOO_MANY_OPEN_FILES"},
	{ENODATA, "NO_DATA"},
	{ENOENT, "NOT_FOUND"},
	{ENOMEM, "OUT_OF_MEMORY"},
	{ENOSPC, "NO_SPACE"},
	{ENOSYS, "NOT_SUPPORTED"},
	{ENOTDIR, "NOT_A_DIRECTORY"},
	{ENOTEMPTY, "NOT_EMPTY"},
	{EOPNOTSUPP, "NOT_SUPPORTED"},
	{EPERM, "PERMISSION_DENIED"},
	{EPROTO, "PROTOCOL_ERROR"},
	{EROFS, "READ_ONLY"},
	{ESHUTDOWN, "SHUTTING_DOWN"},
	{ESTALE, "STALE"},
	{ETIMEDOUT, "TIMEOUT"},
	{EXDEV, "CROSS_DEVICE"},
};

static const char *errno_text(int code)
{
	const char *text = strerrordesc_np(-code);

	return text ? text : "unknown error";
}

int err_set(struct err *e, int code, const char *reason, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	/* The text may quote the message that it replaces. */
	char text[ERR_MESSAGE_MAX];

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut to fit by design */
	va_end(ap);
	*e = (struct err){.code = code};
	(void)snprintf(e->reason, sizeof(e->reason), "%s", reason ? reason : "");
	(void)snprintf(e->message, sizeof(e->message), "%s", text);
	return code;
}

int err_field(struct err *e, const char *field, const char *fmt, ...)
{
	char text[ERR_MESSAGE_MAX];
	va_list ap;

	if (!e)
		return -EINVAL;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut to fit by design */
	va_end(ap);
	(void)err_set(e, -EINVAL, "INVALID_FIELD", "%s", text);
	(void)snprintf(e->field, sizeof(e->field), "%s", field);
	return -EINVAL;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
	char context[ERR_MESSAGE_MAX], whole[ERR_MESSAGE_MAX];
	va_list ap;

	if (!e)
		return code;
	va_start(ap, fmt);
	(void)vsnprintf(context, sizeof(context), fmt, ap); /* cut to fit by design */
	va_end(ap);
	if (!e->code)
		e->code = code;
	/* precision: neither text can crowd out the other entirely */
	(void)snprintf(whole, sizeof(whole), "%.*s: %s", ERR_MESSAGE_MAX / 2, context,
		e->message[0] ? e->message : errno_text(code));
	(void)snprintf(e->message, sizeof(e->message), "%s", whole);
	return code;
}

void err_meta(struct err *e, const char *key, const char *value)
{
	if (!e || e->meta_count >= ERR_META_MAX)
		return;
	(void)snprintf(e->meta[e->meta_count].key, sizeof(e->meta[0].key), "%s", key);
	(void)snprintf(
		e->meta[e->meta_count].value, sizeof(e->meta[0].value), "%s", value ? value : "");
	e->meta_count++;
}

void err_line(struct err *e, const char *what, const char *why)
{
	size_t len = e ? strlen(e->lines) : 0, room = sizeof(e->lines) - len;

	if (!e || strlen(what) + strlen(why) + 3 > room)
		return;
	(void)snprintf(e->lines + len, room, "%s\t%s\n", what, why);
	for (char *at = e->lines + len; *at; at++) /* `what` may have any byte */
		if (*at == '\n' && at[1])
			*at = '?';
}

const char *err_reason(const struct err *e)
{
	if (!e)
		return "INTERNAL";
	if (e->reason[0])
		return e->reason;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].code == -e->code)
			return reasons[i].reason;
	return e->code ? "INTERNAL" : "OK";
}

const char *err_message(const struct err *e)
{
	if (!e)
		return "unknown error";
	return e->message[0] ? e->message : errno_text(e->code);
}
