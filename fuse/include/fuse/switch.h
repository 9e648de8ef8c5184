/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a workspace to another lower tree while jobs use it: another revision, or another change
 * list over the same one (ADR 0012). What is told apart are the directories that were ever entered;
 * the cost follows what differs in them, not the repository.
 *
 *	ovl_switch ──► trees that are missing: fetch them, call again
 *	           └─► what the kernel has to forget: sess_tell (fuse/session.h)
 *
 * An open file goes on with what it was when it was opened, a listing that was begun too. What the
 * upper has stays on top. A path whose content stays keeps its inode number; one that changed is
 * another file, as after a checkout.
 */
#pragma once
#include "fuse/overlay.h"

/* Something that the kernel may have cached. */
struct ovl_notice {
	uint64_t parent;
	uint64_t child;   /* what was there and is gone; 0: the name only */
	const char *name; /* NULL: the attributes and the listing of `parent` */
};

struct ovl_switch_config {
	struct ovl_ws *ws;
	const struct oid *root;
	uint64_t time_ns; /* of what comes new; later than all before */
	/* Is the upper's entry at this path (relative, over an entry that differs) to go? It is a
	 * file, symlink or whiteout. Called with calls kept out: look up only. NULL: none. */
	bool (*drop)(void *arg, const char *path);
	void *arg;
	uint64_t deadline_ns; /* for a moment without calls */
	bool rehearsal;       /* change nothing: are all trees there? */
};

struct ovl_switched {
	struct ovl_notice *notices; /* those of a directory after those below it */
	size_t notice_count;
	struct oid *missing; /* trees, with -EAGAIN */
	size_t missing_count;
	uint64_t directories, entries; /* looked at; that differ in them */
	uint64_t dropped;
	uint64_t closed_ns; /* for so long calls were kept out */
};
/* -EAGAIN: trees are missing, nothing was done. -EBUSY: calls never paused. -ENOSPC, -ENOMEM,
 * errors of the lower: nothing was done either. End `ret` with ovl_switched_fini whatever the
 * answer. Nobody else works in the workspace through this floor but calls between ovl_enter and
 * ovl_leave. Blocks on the local disk. */
int ovl_switch(struct overlay *o, const struct ovl_switch_config *config, struct ovl_switched *ret);
void ovl_switched_fini(struct ovl_switched *s);
/* A switch that was made by a process that was perhaps killed before the kernel knew: what it would
 * have told. As ovl_switch, with the root that is shown. */
int ovl_switch_recall(struct overlay *o, const struct ovl_switch_config *config,
	const struct oid *old_root, struct ovl_switched *ret);
/* The root that is shown. */
struct oid ovl_ws_root_tree(const struct ovl_ws *ws);
/* Asks for a tree of the workspace's lower; `fn` as of lower_ops.fetch. */
int ovl_switch_fetch(
	struct ovl_ws *ws, const struct oid *tree, uint64_t deadline_ns, lower_done fn, void *arg);

/* Around every call that may come during a switch, and the answer to it. Waits while one is being
 * made, some milliseconds. Not nested. */
void ovl_enter(struct overlay *o);
void ovl_leave(struct overlay *o);
