/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error whose end reader is a person. The origin sets it, each level above may wrap it with what
 * it was doing, and the api turns it into one status with a stable reason. Paths of the filesystem
 * carry a negative errno alone.
 *
 * A `struct err` lives on the caller's stack, is zero-initialised (`struct err e = {0};`) and owns
 * no memory. Every function accepts NULL for it and then only returns the code.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

#define ERR_MESSAGE_MAX 512
#define ERR_REASON_MAX  48
#define ERR_META_MAX    4
#define ERR_LINES_MAX   2048

struct err {
	int code;                    /* negative errno; 0 = no error */
	char reason[ERR_REASON_MAX]; /* stable UPPER_SNAKE word for programs; "" = derived from the
					errno */
	char message[ERR_MESSAGE_MAX]; /* for a person: what is wrong, and what to do */
	char field[64];                /* request or config field that is wrong, or "" */
	struct {
		char key[32];
		char value[128];
	} meta[ERR_META_MAX];
	unsigned meta_count;
	char lines[ERR_LINES_MAX]; /* see err_line; each "what\twhy\n" */
};

/* Fill `e` and return `code` (negative errno). A message already there is replaced. */
int err_set(struct err *e, int code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for a wrong argument: -EINVAL, reason INVALID_FIELD, and the field's name (may be
 * dotted). */
int err_field(struct err *e, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Put "context: " before the message; code and reason stay. Sets a plain strerror message if there
 * was none. Returns `code`, so that `return err_wrap(e, r, "open %s", path);` reads well. */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Add a key and value for programs; silently dropped beyond ERR_META_MAX, values are cut to fit. */
void err_meta(struct err *e, const char *key, const char *value);
/* One more of several things that are wrong, such as a path, for programs: whole lines, as many as
 * fit. */
void err_line(struct err *e, const char *what, const char *why);
/* The reason word: the one set, or one derived from the errno ("ENOENT" → "NOT_FOUND" ...). Never
 * NULL. */
const char *err_reason(const struct err *e);
/* The message, or strerror of the code. Never NULL. Not valid after `e` changes. */
const char *err_message(const struct err *e);
