/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lower for a mount whose origin could not be opened at the start. It serves what the caches
 * hold; when something has to be fetched it tries to open the origin again, at most once a second,
 * and until that works the fetch is -EIO.
 */
#pragma once
struct lower;
struct mount_lower_config;

/* Of the configuration `origin` and `fetches` are not used; what the others point to outlives it,
 * but for the name, which is copied. NULL: no memory. */
struct lower *mount_lower_late_new(const struct mount_lower_config *config);
