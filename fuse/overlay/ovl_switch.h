/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch in the making; see fuse/switch.h. Between ovl_gate_close and ovl_gate_open no call runs,
 * only the kernel's forgets, which never change what a directory shows:
 *
 *	plan    walk the entered directories whose trees differ, from the root down: which ids stay,
 *	        what the kernel must forget. Nothing is changed
 *	record  new ids, PART and RUN records, marks; the SWITCH record decides
 *	apply   put the new trees and maps in place; cannot fail but for what is dropped from the
 *upper
 */
#pragma once
#include "fuse/switch.h"
#include "overlay/ovl_change.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_state.h"

/* An entered directory whose tree differs. */
struct sw_dir {
	struct sw_dir *next; /* in the order of the walk: parents first */
	uint64_t id;
	struct ovl_node *node;         /* pinned (raw); NULL: not in the table */
	struct oid old_tree, new_tree; /* none: nothing shows through */
	bool dead;                     /* only the lower had it, and has it no more */
	bool known;                    /* to the kernel */
	bool changed;                  /* its visible names */
	bool has_ids;                  /* its entries had some: `ids` is for all of the new tree */
	uint32_t old_count;
	uint64_t old_base; /* of its block, if it had no map; of the new tree if sw.recall */
	const struct ovl_map *old_map;
	uint64_t *ids; /* local, by index in the new tree; 0: a new one. NULL: empty, or none */
	uint32_t count, fresh;
	struct ovl_map *map; /* made of them; NULL: no entries */
	char *drops;         /* names, NUL-terminated, one after the other */
	size_t drops_len;
	char path[]; /* relative */
};

struct sw {
	struct overlay *o;
	struct ovl_ws *ws;
	const struct ovl_switch_config *config;
	const struct oid *recall; /* NULL; or the old root, of a switch that was made: only tell */
	struct ovl_switched *out;
	struct sw_dir *first, **end;
	struct ovl_node **gone; /* lower files that have nodes and lost their names; pinned (raw) */
	size_t gone_count, gone_cap, notice_cap, missing_cap;
	uint64_t attempt;
};

/* Makes room for one more in an array that doubles. -ENOMEM. */
int ovl_sw_grow(void **array, size_t count, size_t *cap, size_t size);
int ovl_sw_notice(struct sw *sw, uint64_t parent, uint64_t child, const char *name, size_t len);
/* A tree that is not local, for out->missing. */
int ovl_sw_note_missing(struct sw *sw, const struct oid *tree);
/* All of the plan, in sw->first. -EAGAIN with out->missing. */
int ovl_sw_plan(struct sw *sw);
int ovl_sw_record(struct sw *sw);
void ovl_sw_apply(struct sw *sw);
void ovl_sw_fini(struct sw *sw);

/* ---- ovl_gate.c ---- */
void ovl_gate_init(struct ovl_gate *g);
void ovl_gate_fini(struct ovl_gate *g);
/* -EBUSY at the deadline: it is open. */
int ovl_gate_close(struct overlay *o, uint64_t deadline_ns);
void ovl_gate_open(struct overlay *o);

/* ---- ovl_dir.c ---- */
uint32_t ovl_visible_lower_subdirs(const struct ovl_names *names, const struct tree_view *view);
