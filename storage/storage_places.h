/* SPDX-License-Identifier: Apache-2.0 */
/* For origins that are asked by path: telling them where trees are (origin_learn_tree). */
#pragma once
#include "storage_internal.h"

struct cancel;

/* A tree that came from elsewhere than the origin. A failure is found out when a tree below it is
 * asked for. */
void places_learn(struct storage *st, struct origin *o, const struct oid *tree);
/* The origin does not know where `tree` is: tells it of all directories in the index, from its
 * roots down, until it does. 0; -EIO: it is below none of them. Blocks. */
int places_find(struct storage *st, struct origin *o, const struct oid *tree,
	const struct cancel *cancel, uint64_t deadline_ns);
