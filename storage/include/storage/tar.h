/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a tar archive in memory: ustar, with the extensions of GNU and pax for long names.
 * What is there is checked: a path is relative and has no "." or "..", nothing but files, links and
 * directories is let through, nothing says that it is larger than it is. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tar_kind { TAR_FILE, TAR_SYMLINK, TAR_HARDLINK, TAR_DIRECTORY };

struct tar_member {
	enum tar_kind kind;
	bool executable;
	char path[4096]; /* without slashes at its ends */
	char link[4096]; /* of links: where to; of a hard link a checked path */
	const char *data;
	size_t len;
};

struct tar_reader {
	const char *data;
	size_t len, at;
	const char *why; /* of -EBADMSG: for a person */
};
struct tar_reader tar_begin(const void *data, size_t len);
/* 1: one; 0: the end; -EBADMSG. */
int tar_next(struct tar_reader *r, struct tar_member *ret_member);
