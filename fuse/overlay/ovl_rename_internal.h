/* SPDX-License-Identifier: Apache-2.0 */
/* One rename between its parts: checks and locks (ovl_rename.c), the step on disk
 * (ovl_rename_disk.c). */
#pragma once
#include "overlay/ovl_change.h"

struct ovl_moving {
	struct ovl_ws *ws;
	struct ovl_req *rq;
	unsigned flags; /* RENAME_EXCHANGE; RENAME_NOREPLACE has been checked */
	struct ovl_place from, to;
	struct ovl_node *source; /* pinned, has an upper */
	struct ovl_node
		*target; /* pinned, has an upper; NULL: nothing, a whiteout or a lower entry */
	bool is_dir, target_linked, target_kept;
	char *source_name, *target_name; /* the nodes' names after it, from before the disk changes;
					    target_name for EXCHANGE */
};

/* Everything that must be on disk before the one rename: redirect or opaque and id mark of
 * directories that move, a second link of a target that stays in use. Nothing of it is visible.
 * Caller holds both directories' locks. */
int ovl_moving_prepare_locked(struct ovl_moving *m);
/* The rename: one syscall that is atomic, and what may follow it without being seen. */
int ovl_moving_do_locked(struct ovl_moving *m);
/* Undo of prepare where it leaves something behind. */
void ovl_moving_abandon_locked(struct ovl_moving *m);
