/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lower layer in memory, for tests of the overlay: trees made from a list of paths, contents by
 *oid, and switches that make things missing, so that -EAGAIN and fetch can be exercised. Oids are
 *hashes of content: equal directories share one.
 *
 *	struct fake_lower *f = fake_lower_new();
 *	fake_lower_add(f, "src/main.c", S_IFREG | 0644, "int x;", 6);
 *	struct oid root = fake_lower_seal(f);
 *	config.lower = fake_lower_open(f);    // freed by the workspace; any number may be opened
 *
 * Calls by the overlay may come from any thread once it is sealed. Failure of the fixture itself
 *fails the test.
 */
#pragma once
#include "fuse/lower.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct fake_lower;

struct fake_lower *fake_lower_new(void);
/* NULL is fine. The handles that were opened must be gone. */
struct fake_lower *fake_lower_free(struct fake_lower *f);

/* mode: S_IFREG with 0644 or 0755, S_IFLNK with 0777 (`data` is the target), S_IFDIR with 0755 for
 * a directory without entries (len 0) or a submodule (len 1). Parents come by themselves. Any
 * order; a path only once. */
void fake_lower_add(
	struct fake_lower *f, const char *path, uint32_t mode, const void *data, size_t len);
/* The directory of what was added last lies about its size. */
void fake_lower_tell_size(struct fake_lower *f, uint64_t size);
/* Makes the trees. Nothing can be added after. Returns the oid of the root. */
struct oid fake_lower_seal(struct fake_lower *f);
/* The oid of what was added under a path, or of the directory there ("" = root). Fails the test if
 * there is none. */
struct oid fake_lower_oid(const struct fake_lower *f, const char *path);
struct lower *fake_lower_open(struct fake_lower *f);

/* From now on what was not fetched answers -EAGAIN (trees, blobs), or trees are there without sizes
 * until they are fetched. */
void fake_lower_set_missing(struct fake_lower *f, bool trees, bool blobs, bool sizes);
/* What fetch reports instead of success (0: success). */
void fake_lower_set_fetch_error(struct fake_lower *f, int error);

struct fake_lower_stats {
	_Atomic uint64_t views, reads, copies, fetches, prefetches;
};
const struct fake_lower_stats *fake_lower_stats(const struct fake_lower *f);
