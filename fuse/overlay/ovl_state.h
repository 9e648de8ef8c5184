/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls between the files that keep the state of a workspace; whoever only works on a workspace
 * needs ovl_internal.h alone.
 */
#pragma once
#include "overlay/ovl_internal.h"

/* Each x_open sets its pointer in ws; x_close accepts one that was not opened. */
/* All counts 0, but as they are if ws->adopt. -EPROTO: not ours; -ESTALE: nothing to adopt. */
int ovl_refs_open(struct ovl_ws *ws);
void ovl_refs_close(struct ovl_ws *ws, bool clean);
/* An id that was given once (and may be free for all we know). */
bool ovl_ids_known(struct ovl_ws *ws, uint64_t local);

int ovl_blocks_open(struct ovl_ws *ws);
void ovl_blocks_close(struct ovl_ws *ws);
/* A block of the last process. In order of ids; -EBADMSG if it cannot be one. */
int ovl_blocks_restore(struct ovl_ws *ws, const struct ovl_block *block);
/* A part of a directory's new tree, with ids that were allocated for it; journaled. [ovl_block.c]
 */
int ovl_block_add_part(struct ovl_ws *ws, const struct ovl_block *block);
/* The newest block of a whole directory. False: there is none. */
bool ovl_block_newest(struct ovl_ws *ws, uint64_t dir_id, struct ovl_block *ret_block);

/* Reads what the last process left: blocks are restored, the rest is for ovl_recover to ask.
 * -EPROTO: not a journal. */
int ovl_journal_open(struct ovl_ws *ws);
/* Recovery is over: only the blocks are still of interest, or what holds if ws->adopt. */
int ovl_journal_restart(struct ovl_ws *ws);
void ovl_journal_close(struct ovl_ws *ws);
uint64_t ovl_journal_bytes(struct ovl_ws *ws);
/* A damaged one was found when it was opened, and moved to work/journal.damaged. */
bool ovl_journal_set_aside(const struct ovl_ws *ws);
/* Rewrite it now, beside the appends of others. A chore. */
void ovl_journal_compact(struct ovl_ws *ws);

/* ---- the table of nodes (ovl_node.c) ---- */

struct ovl_shard *ovl_shard_of(struct ovl_ws *ws, uint64_t id);
/* Pinned, without a reference on ws; NULL: none. */
struct ovl_node *ovl_table_pin(struct ovl_ws *ws, uint64_t id);
/* For a node the caller has pinned already, or a directory that a pinned child names as parent. */
void ovl_pin_raw(struct ovl_node *n);
void ovl_unpin_raw(struct ovl_node *n);

struct ovl_node_init {
	uint64_t id;
	mode_t type;
	unsigned flags;
	struct ovl_node *parent; /* gets pinned; may be NULL */
	const char *name;        /* NULL: none */
	size_t name_len;
	const struct oid *lower_tree; /* directories: what shows through; NULL or none: nothing */
	const struct oid *lower_blob; /* others that have no upper yet; may be NULL */
	uint64_t lower_size;
	uint32_t lower_mode;
	uint64_t upper_ino; /* 0: not known */
	const struct stat
		*upper_stat; /* what is charged for, and its attributes; NULL: not known */
};
/* Made and in the table, pinned once. If the id is there already, that node is pinned and returned
 * instead (*ret_made false). */
int ovl_node_add(struct ovl_ws *ws, const struct ovl_node_init *init, struct ovl_node **ret_node,
	bool *ret_made);
/* Out of memory for good: not in the table, nobody has it. */
void ovl_node_free(struct ovl_node *n);

/* ---- eviction (ovl_evict.c): no lock held ---- */

/* What unpin left. */
void ovl_evict_pending(struct ovl_ws *ws);
/* Every node: ids are made durable and orphans removed (if `clean`), descriptors closed, memory
 * freed. Nobody uses the workspace any more. */
void ovl_evict_all(struct ovl_ws *ws, bool clean);

/* The name of a node that has left the table leads to it no more. Caller holds the parent's lock.
 */
void ovl_child_forget_node(struct ovl_node *parent, const struct ovl_node *n);
/* Out of the table, and nobody has it: it ends. */
void ovl_node_end(struct ovl_node *n);

/* The parent of a node, pinned (raw) and its directory lock held; NULL: it has none. */
struct ovl_node *ovl_parent_lock(struct ovl_node *node);
void ovl_parent_unlock(struct ovl_node *parent);

/* ---- places of upper objects (ovl_place.c) ---- */

/* The place as it is now: copies the name, pins the parent (raw). False: it has none. */
bool ovl_place_of(struct ovl_node *node, struct ovl_node **ret_parent, char ret_name[256]);
/* stat of the upper object, wherever it is, without following. Works while a rename of it is under
 * way. */
int ovl_place_stat(struct ovl_node *node, struct stat *ret_stat);
/* Wait a little for a rename to finish; false after enough rounds. */
bool ovl_place_retry(unsigned *round);

/* ---- entries ---- */

#define OVL_SUBDIRS_UNKNOWN UINT32_MAX
/* Sub-directories of a lower tree, or OVL_SUBDIRS_UNKNOWN if it is not local. */
uint32_t ovl_lower_subdirs(struct ovl_ws *ws, const struct oid *tree);
/* -EAGAIN with an optional need for the tree, if the caller would rather wait than be told that the
 * links are not counted; else 0, and the tree is on its way. */
int ovl_count_later(struct ovl_ws *ws, struct ovl_req *rq, const struct oid *tree);

/* What an untouched lower entry (obj->node is NULL) is. */
struct ovl_lower_file {
	uint32_t mode;
	bool size_known;
	uint64_t size;
	struct oid oid;
	uint16_t name_len;
	char name[256];
};
int ovl_obj_entry(struct ovl_obj *obj, struct ovl_req *rq, struct ovl_lower_file *ret_file);

/* ---- the root of the session (ovl.c) ---- */

int ovl_root_lookup(
	struct overlay *o, struct ovl_req *rq, const char *name, struct ovl_entry *ret_entry);
void ovl_root_attr(struct overlay *o, struct stat *ret_attr);
int ovl_root_readdir(struct overlay *o, struct ovl_req *rq, uint64_t offset, bool plus,
	ovl_fill fill, void *arg);

/* ---- a workspace on its own (ovl_ws.c) ---- */

int ovl_ws_open(struct overlay *o, const struct ovl_ws_config *config, struct ovl_ws **ret_ws,
	struct err *e);
/* Visible to none. `clean`: ids are made durable and orphans removed; the workspace's memory lives
 * until the last reference is dropped. */
void ovl_ws_close(struct ovl_ws *ws, bool clean);

/* Register and drop the metrics of the overlay [ovl_metrics.c]. */
#define OVL_METRIC_LABEL 80 /* overlay="<tenant>" */
void ovl_metrics_add(struct overlay *o);
void ovl_metrics_drop(struct overlay *o);

/* ---- start (ovl_recover.c, ovl_revive.c) ---- */

/* Open intents become DONE or VOID. */
int ovl_recover_intents(struct ovl_ws *ws);
/* An object in work/links without another name goes. An ovl_walk_visit; arg is not used. */
int ovl_sweep_link(void *arg, int dirfd, const char *name, const struct stat *st);
/* The table as the last process had it, as far as the kernel knows its ids; orphans that nobody
 * knows go. -EAGAIN: a tree is not local. */
int ovl_revive(struct ovl_ws *ws);
