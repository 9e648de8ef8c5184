/* SPDX-License-Identifier: Apache-2.0 */
/* A lower over the caches alone, for a mount whose origin is gone: what is not cached cannot be
 * fetched and is -EIO. */
#pragma once
struct lower;
struct storage;

struct lower *mount_lower_cached_new(struct storage *storage); /* NULL: no memory */
