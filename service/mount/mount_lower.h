/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lower of one mount: over its origin, with what it fetched counted; or, while the origin is
 * gone, over what the caches still hold.
 */
#pragma once
#include <base/ref.h>
#include <fuse/lower.h>
#include <stdint.h>

struct cfg;
struct clock;
struct metrics;
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

struct mount_lower_config {
	struct storage *storage;
	const struct cfg *cfg;
	struct metrics *metrics;
	const struct clock *clock;
	struct origin *origin; /* NULL: it could not be opened; see mount_lower_late.h */
	const char *origin_name;
	const char *tenant; /* whose requests these are */
	struct mount_fetches *fetches;
};
/* Takes its own references; what else the configuration points to outlives it. NULL: no memory. */
struct lower *mount_lower_new(const struct mount_lower_config *config);
