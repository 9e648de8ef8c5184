/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that the last process had and that are not in the table yet: a takeover serves before they
 * are. Each is known by its NODE record, in the journal, and by its place below its parent. All
 * that a directory has come back when the directory is loaded, before anybody sees its names; one
 * that is asked for by its id comes back through the directories above it; the rest by a chore.
 *
 * A directory with some to come stays in the table until it is loaded: they are found through it.
 */
#pragma once
#include "overlay/ovl_internal.h"

/* The opening thread, after what can be told from work/ alone is in the table: takes over what the
 * scan of the journal has found. -ENOMEM. */
int ovl_left_open(struct ovl_ws *ws);
void ovl_left_close(struct ovl_ws *ws);
uint64_t ovl_left_count(const struct ovl_ws *ws);

/* A lock-free look, for whoever finds no node in the table: is it to come back? */
bool ovl_left_has(const struct ovl_ws *ws, uint64_t id);
/* Is one of its entries? */
bool ovl_left_waits(const struct ovl_ws *ws, uint64_t dir_id);
/* After 0 the id has a node in the table, or nobody knows it. -EAGAIN with a need. No lock held;
 * blocks on the local disk. */
int ovl_left_bring(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id);
/* All of them: 0, or the first error. */
int ovl_left_bring_all(struct ovl_ws *ws, struct ovl_req *rq);
/* The same, a little at a time, through the gate. A chore. */
void ovl_left_chore(struct ovl_ws *ws);
/* Those of a directory that is being loaded: its names are there, nobody else has seen them. Caller
 * holds its lock. On failure it may be called again. */
int ovl_left_attach_locked(struct ovl_node *dir, struct ovl_req *rq);
/* The journal is being replaced: where their records are now. Caller holds its lock. */
struct ovl_index;
void ovl_left_moved_locked(struct ovl_ws *ws, const struct ovl_index *now);

/* What a record says is really there, under this name of `dirfd` [ovl_revive.c]. */
int ovl_left_is_there(struct ovl_ws *ws, int dirfd, const struct ovl_left_node *left,
	const struct stat *st, bool *ret_there);
/* Somebody is still in a directory that was removed; `attr` NULL: only the lower had it.
 * [ovl_revive.c] */
int ovl_left_add_removed(struct ovl_ws *ws, uint64_t id, const struct stat *attr);
/* Does the kernel know it, as far as the counts say? [ovl_revive.c] */
bool ovl_left_is_known(struct ovl_ws *ws, uint64_t id);
