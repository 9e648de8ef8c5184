/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git LFS pointers: the small text that stands in a repository for a large file (Git LFS
 * specification, version 1). Recognised strictly: exactly the three lines that every Git LFS
 * writes, in order, and nothing else. A pointer with extension lines stays text: its content would
 * have to go through programs that we do not have. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LFS_SHA256_BYTES 32
/* All pointers have a length in between: a blob of another size needs no look. */
#define LFS_POINTER_MIN 126
#define LFS_POINTER_MAX 144

struct lfs_pointer {
	uint8_t sha256[LFS_SHA256_BYTES]; /* of the content */
	uint64_t size;
};

bool lfs_pointer_parse(const char *text, size_t len, struct lfs_pointer *ret_pointer);
