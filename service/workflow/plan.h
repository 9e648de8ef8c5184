/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a move to another revision does to single files beside the switch of what lies below them.
 * It is found and written down before, and done when the new view is there; a kill between the two
 * does not lose it: whoever comes next does the rest.
 *
 *	leave   the job's copy goes, in the moment of the switch: what it hides is to be seen
 *	set     another content, where neither the job's copy nor the new base has it: what was
 *		committed or staged and merged
 *
 *	<workspace>/git/plan
 *		coppice-plan 1\n
 *		<tree>\0                                   it is for the time when this is shown
 *		<from mode> <from id> <to mode> <to id> <leave|set> <path>\0 ...    mode 0, id -:
 *nothing
 */
#pragma once
#include "workflow/git_tree.h"

#include <stdint.h>

struct mount;
struct mount_switch;
struct wf;

#define WF_PLAN_MAX (1u << 20) /* paths */

struct wf_plan_op {
	char *path;
	struct wf_node from, to; /* from: without an id anything of this mode */
	bool leave;
};
struct wf_plan {
	struct oid shown;
	struct wf_plan_op *ops; /* in the order of strcmp once sorted */
	size_t count, cap;
};

/* Copies `op` and its path. -EFBIG, -ENOMEM. */
int wf_plan_add(struct wf_plan *p, const struct wf_plan_op *op);
void wf_plan_sort(struct wf_plan *p);
/* Of a sorted one; NULL: none. */
const struct wf_plan_op *wf_plan_find(const struct wf_plan *p, const char *path);
void wf_plan_fini(struct wf_plan *p);

/* Pure. -EBADMSG, -ENOMEM. */
int wf_plan_decode(const char *text, size_t len, struct wf_plan *ret_plan);
/* Durable; an empty one needs no file. */
int wf_plan_write(int dirfd, const struct wf_plan *p);
/* -ENOENT. */
int wf_plan_read(int dirfd, struct wf_plan *ret_plan);
void wf_plan_remove(int dirfd);

/* Does it, after the switch; files that are something else by now stay as they are. */
int wf_plan_apply(struct wf *w, const struct wf_plan *p);
/* For wf_open: what a verb that could not end has left, done; nothing if there is none. */
int wf_plan_finish(struct wf *w);
/* The kernel forgets all names of it and on the way to it: who was killed may have changed one and
 * not told. Before requests are served again: when they are (mount.to_tell). */
int wf_plan_tell(struct wf *w, const struct wf_plan *p);

/* ---- of a switch ---- */

/* As mount_switch.drop, with the plan as `arg`. */
bool wf_plan_leaves(void *plan, const char *path);
/* After a kill: the plan of the switch that mount_switch_resume goes on with, or an empty one. */
int wf_plan_resume(const char *workspace_dir, const struct oid *shown, struct wf_plan *ret_plan);
/* What is left of it, when the new view is there. Jobs do not run yet. */
int wf_plan_end(struct mount *mt, const struct wf_plan *p, uint64_t deadline_ns);
/* The kernel knows of it (mount.plan_done): the plan goes. */
void wf_plan_told(struct mount *mt);
