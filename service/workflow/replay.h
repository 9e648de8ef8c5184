/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workspace's commits over another base, as `git rebase --onto <next> <base>` makes them: each
 * one's change is merged into what came before; author, message and time stay, the committer is
 * who asks. What the new base has in its history already is left out, and so is a commit whose
 * change it has (unless it was empty from the start). One that needs no new parent stays as it is.
 */
#pragma once
#include "workflow/conflicts.h"
#include "workflow/wf.h"

struct wf_replay {
	struct oid base, tree; /* the next base and its tree at the workspace's path */
	enum wf_conflict_choice choice;
	const struct wf_signature *committer; /* name NULL: each commit's own */
	struct wf_conflicts *conflicts;
};

struct wf_replayed {
	struct oid head, tree;
	struct wf_rebased *commits; /* oldest first; owned */
	size_t count;
};

/* Objects are written, nothing else. With conflicts the result is of no use. */
int wf_replay(struct wf *w, const struct wf_replay *rp, struct wf_replayed *ret);
void wf_replayed_fini(struct wf_replayed *r);
