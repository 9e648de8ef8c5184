/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes of blobs that a server has told us and that are not here, until the directories that hold
 * them are read. Bounded: when it is full, all are forgotten, and asked for again. Any thread.
 */
#pragma once
#include "base/hashmap.h"
#include "base/lock.h"
#include "storage/digest.h"

struct gitsizes {
	struct lock lock;
	struct hashmap map; /* keyed hash of the oid → size + 1; guarded by lock */
	uint64_t key[2];    /* const: so that nobody can choose two blobs with one hash */
	struct oid empty;   /* const: of the blob without content */
};

/* -EIO: no randomness. */
int gitsizes_init(struct gitsizes *s);
void gitsizes_fini(struct gitsizes *s);
/* A size of 0 of a blob that is not the empty one, or another of that one, is no size: it is passed
 * over, so that no file seems to be empty. */
void gitsizes_put(struct gitsizes *s, const struct oid *blob, uint64_t size);
bool gitsizes_get(struct gitsizes *s, const struct oid *blob, uint64_t *ret_size);
