/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A budget for the nodes of an overlay: over it, directories of the lower alone that were not used
 * for long leave the table. The kernel does not notice: their ids go on to mean what they meant.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct overlay;

#define OVL_NODES_MAX_DEFAULT 100000u

struct ovl_shrink {
	uint64_t nodes_max;        /* const */
	_Atomic uint64_t nodes;    /* in all tables */
	_Atomic uint64_t above;    /* when it is worth to look */
	_Atomic uint64_t given_up; /* a statistic */
	_Atomic bool busy;         /* somebody is at it: the rest is theirs */
	uint64_t serial, found;    /* of the workspace where the hand is; in this round */
	unsigned shard, barren;    /* rounds in which nothing was found */
	size_t at;                 /* in the shard */
};

void ovl_shrink_init(struct ovl_shrink *s, uint64_t nodes_max);
/* A node came into a table, left it. */
void ovl_shrink_added(struct ovl_shrink *s);
void ovl_shrink_gone(struct ovl_shrink *s);
/* Over the budget: gives up a few, if there are such. A bounded amount of work; no lock held. */
void ovl_shrink_a_little(struct overlay *o);
