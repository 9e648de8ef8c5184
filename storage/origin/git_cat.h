/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One large blob of a repository as a stream. libgit2 gives an object only whole, in memory; the
 * `git` program streams what is stored whole (loose, or packed without delta), so it does this as a
 * child: our memory stays what it is, and what Git has to hold to apply a delta is the child's.
 */
#pragma once
#include "storage/origin.h"

struct git_cat {
	const char *git_dir;
	const struct oid *blob;
	uint64_t size; /* as its header says; another number of bytes is -EIO */
	const struct cancel *cancel;
	uint64_t deadline_ns;
};
/* Blocks. -ENOSYS: there is no git program. -EIO, -ECANCELED, -ETIMEDOUT; what the sink answers. */
int git_cat(const struct git_cat *cat, struct blob_sink *sink);
