/* SPDX-License-Identifier: Apache-2.0 */
/* The configured origins, opened at start or, if that failed, when one is asked for. */
#pragma once
#include <stdbool.h>

struct cfg;
struct err;
struct metrics;
struct origin;
struct storage;

/* Opens all of them. One that cannot be opened is logged and tried again by origins_get: it does
 * not stop the others. Blocks. */
void origins_open(struct storage *storage, const struct cfg *cfg, struct metrics *metrics);
/* Whether an origin of this name is configured with Git LFS. */
bool origins_lfs(const struct cfg *cfg, const char *name);
/* A reference. -ENOENT reason ORIGIN_NOT_FOUND naming the known ones; -EHOSTUNREACH reason
 * ORIGIN_UNAVAILABLE saying why. Blocks. */
int origins_get(struct storage *storage, const struct cfg *cfg, struct metrics *metrics,
	const char *name, struct origin **ret_origin, struct err *e);
