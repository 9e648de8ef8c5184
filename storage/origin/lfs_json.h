/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch API of Git LFS: what is asked, and the answer, which comes from the network and is not
 * trusted. Pure.
 */
#pragma once
#include "origin/lfs_pointer.h"

#include <stdbool.h>

struct buf;

#define LFS_HEADERS_MAX 16
#define LFS_BATCH_MAX   100u /* objects in one request, as git-lfs asks */

enum lfs_operation { LFS_DOWNLOAD, LFS_UPLOAD };

/* Where to get an object, or where to put it. */
struct lfs_action {
	char *href;                         /* http or https; NULL: there is nothing to do */
	char *headers[LFS_HEADERS_MAX + 1]; /* "Name: value", ended by NULL */
};

/* The body of the request, into `out`, whose error says whether there was memory. */
void lfs_json_request(struct buf *out, enum lfs_operation operation,
	const struct lfs_pointer *wanted, unsigned count);
/* 0; -ENOENT: the server does not have it; -EACCES; -EIO: malformed, or another object; -ENOMEM. */
int lfs_json_answer(const char *text, size_t len, const struct lfs_pointer *wanted,
	struct lfs_action *ret_action);
/* Of many: `fn` for each of those that were wanted whose place was told; it may take the action
 * over. The others are to be asked for alone, for the reason. 0; -EIO: malformed; -ENOMEM. */
struct lfs_batch {
	const struct lfs_pointer *objects;
	unsigned count;
};
typedef void (*lfs_place_fn)(
	void *arg, const struct lfs_pointer *object, struct lfs_action *action);
int lfs_json_answers(
	const char *text, size_t len, const struct lfs_batch *wanted, lfs_place_fn fn, void *arg);
/* Of an upload: without `href` the server has the object; `verify` (without href: not wanted) is
 * told of it afterwards. Errors as above. */
int lfs_json_upload_answer(const char *text, size_t len, const struct lfs_pointer *object,
	struct lfs_action *ret_upload, struct lfs_action *ret_verify);
/* The body of what `verify` is told. */
void lfs_json_verify(struct buf *out, const struct lfs_pointer *object);
void lfs_action_fini(struct lfs_action *a);
