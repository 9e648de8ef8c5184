/* SPDX-License-Identifier: Apache-2.0 */
/* Directories shared by the farm through Redis; see docs/adr/0010-sizes-from-redis.md. */
#pragma once
#include "storage_internal.h"

/* Make a tree readable from what another node has offered, everything in it proven. 0, or -EAGAIN:
 * ask the origin. Blocks for the short deadlines of Redis. */
int shared_tree_load(struct storage *st, const struct oid *tree, const struct cancel *cancel,
	uint64_t deadline_ns);
/* Offer one that an origin gave, if others can prove it. Never waits. */
void shared_tree_offer(struct storage *st, const struct oid *tree, const void *record, size_t len);
