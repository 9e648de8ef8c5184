/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lower of one mount: over its origin, with what it fetched counted; or, when the origin is
 * gone, over what the caches still hold.
 */
#pragma once
#include <base/ref.h>
#include <fuse/lower.h>
#include <stdint.h>

struct origin;
struct storage;

/* Shared by the mount, its lower, and each fetch under way: the last of them may end after the
 * mount has. */
struct mount_fetches {
	struct ref ref;
	_Atomic uint64_t trees, blobs, bytes, errors;
};
struct mount_fetches *mount_fetches_new(void); /* NULL: no memory */
struct mount_fetches *mount_fetches_ref(struct mount_fetches *f);
struct mount_fetches *mount_fetches_unref(struct mount_fetches *f);

/* `origin` NULL: everything that is not cached is -EIO. Takes its own references. NULL: no memory.
 */
struct lower *mount_lower_new(
	struct storage *storage, struct origin *origin, struct mount_fetches *fetches);
