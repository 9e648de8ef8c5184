/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret in a file: its first line, read again when the file has changed, so that it can be
 * rotated without a restart. One thread.
 */
#pragma once
#include <sys/stat.h>

struct http_secret {
	const char *path; /* const after init; NULL: there is none */
	char *text;       /* the last one read */
	struct stat seen; /* of the file as it was read */
};

void http_secret_init(struct http_secret *s, const char *path);
void http_secret_fini(struct http_secret *s); /* also wipes it */
/* The secret, valid until the next call; NULL with *ret_text if there is no file to read. -EACCES,
 * -ENOENT, -EINVAL (empty, or a control byte in it), -EFBIG. Reads the local disk. */
int http_secret_get(struct http_secret *s, const char **ret_text);
