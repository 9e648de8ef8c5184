/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Git LFS server of an origin: contents by their SHA-256. Only the batch API's "basic" transfer
 * is spoken. What comes is not verified here: the blob store does that with the id it asked for.
 *
 * Threads: any that may block; the HTTP client has one of its own.
 */
#pragma once
#include "origin/lfs_json.h"
#include "origin/lfs_pointer.h"

struct blob_sink;
struct cancel;
struct err;
struct lfs_client;
struct origin_config;

/* At config->lfs_url, or where the origin's kind and url put it. -EINVAL: it cannot be told. */
int lfs_client_new(
	struct lfs_client **ret_client, const struct origin_config *config, struct err *e);
struct lfs_client *lfs_client_free(struct lfs_client *c);
/* Errors as of http_finish; -ENOENT: the server does not have it. */
int lfs_client_read(struct lfs_client *c, const struct lfs_pointer *wanted, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns);
/* Where many are, in one request for up to LFS_BATCH_MAX: reading them soon costs one request each
 * then, not two. After an error, or of those that the server says something else of, reading
 * asks. */
int lfs_client_prepare(struct lfs_client *c, const struct lfs_batch *wanted,
	const struct cancel *cancel, uint64_t deadline_ns);
/* A content to the server, from the beginning of a file, unless it has it. -EACCES; else errors as
 * of http_finish. */
int lfs_client_write(struct lfs_client *c, const struct lfs_pointer *object, int fd,
	const struct cancel *cancel, uint64_t deadline_ns);
