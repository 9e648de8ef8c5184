/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that the world outside Git has for a file's bytes: SHA-256 and SHA-1 of the bytes
 * alone, as build tools use them, and the blob id. All come from one pass, so that whoever knows
 * the id can tell whether the pass saw the right bytes.
 */
#pragma once
#include "storage/digest.h"

#include <sys/types.h>

#define CONTENT_SHA256_BYTES 32
#define CONTENT_SHA1_BYTES   20

struct content_digests {
	struct oid oid; /* as a Git blob */
	uint8_t sha256[CONTENT_SHA256_BYTES];
	uint8_t sha1[CONTENT_SHA1_BYTES];
};

/* Bytes read, short only at the end, or a negative errno, which ends the pass. */
typedef ssize_t (*content_read)(void *arg, void *buf, size_t len, uint64_t offset);

/* Reads content of `size` bytes to its end, in pieces of 256 KiB. -EBADMSG: it is longer or
 * shorter. Blocks as `read` does, and works for as long as hashing takes. */
int content_digest(enum digest_kind oid_kind, uint64_t size, content_read read, void *arg,
	struct content_digests *ret_digests);
