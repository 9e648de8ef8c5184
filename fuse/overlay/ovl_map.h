/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ids the entries of a lower directory have once it was switched to another tree. Before
 * that, an entry's id is the base of its directory's block plus its index. A switch keeps the ids
 * of what stays, so the new tree's entries are runs of old ids between runs of new ones:
 *
 *	tree before   a  b  c  d        block 100..103
 *	tree after    a  c' d  e        100 | 200 | 103 | 201        c was changed, e is new
 *
 * The other way, from an id to its entry, stays with the blocks: an id always means the entry it
 *was made for, so a file that is open goes on to be read as it was.
 *
 * Maps change only while no call runs (ovl_gate.c) and at the start; calls read them without a
 *lock.
 */
#pragma once
#include "overlay/ovl_internal.h"

#define OVL_MAPS_KEPT 8u /* listings that began before so many switches are gone on with */

struct ovl_record;

struct ovl_run {
	uint32_t at, count; /* entries */
	uint64_t base;      /* local id of the first */
};

struct ovl_map {
	struct ovl_map *older; /* what the directory was before; NULL beyond OVL_MAPS_KEPT */
	struct oid tree;
	uint64_t time_ns;    /* the directory's, if it has no upper */
	uint32_t generation; /* of the workspace, when it became this; 0: as it was at first */
	uint32_t count;      /* entries */
	uint32_t run_count, run_cap;
	struct ovl_run *runs;
};

struct ovl_map *ovl_map_new(const struct oid *tree); /* NULL: no memory */
struct ovl_map *ovl_map_free(struct ovl_map *map);   /* the older ones too */
/* The id of the next entry. -ENOMEM. */
int ovl_map_add(struct ovl_map *map, uint64_t local);
uint64_t ovl_map_id(const struct ovl_map *map, uint32_t idx); /* local; idx < map->count */

int ovl_maps_open(struct ovl_ws *ws);
void ovl_maps_close(struct ovl_ws *ws);
/* NULL: none, or not for this tree. */
const struct ovl_map *ovl_map_of(const struct ovl_ws *ws, uint64_t dir_id, const struct oid *tree);
/* For whatever tree. */
struct ovl_map *ovl_map_newest(const struct ovl_ws *ws, uint64_t dir_id);
/* Takes the map over; `keep`: the one before is its `older`. */
int ovl_map_put(struct ovl_ws *ws, uint64_t dir_id, struct ovl_map *map, bool keep);

/* Room for so many more directories: puts of them cannot fail then. -ENOMEM. */
int ovl_maps_reserve(struct ovl_ws *ws, size_t more);

/* To the journal [ovl_journal.c]: how a directory's entries are numbered once the switch of this
 * number is recorded, a run at a time in their order; and that it is. */
int ovl_journal_run(struct ovl_ws *ws, uint64_t dir_id, uint64_t attempt, const struct ovl_map *map,
	const struct ovl_run *run);
int ovl_journal_switch(
	struct ovl_ws *ws, uint64_t attempt, const struct oid *root, uint64_t time_ns);
/* From the journal: RUN records are put aside until the SWITCH that they belong to. -ENOMEM. What
 * cannot be is left out. */
int ovl_maps_restore(struct ovl_ws *ws, const struct ovl_record *rec);
