/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a mount to another revision or change list while jobs use it:
 *
 *	begin     claim the mount, wait until nobody else works in it through the workflow
 *	resolve   `next`: what is to be shown
 *	go        fetch what is needed → QUIESCING (journaled: where to, and where from)
 *	          → ovl_switch → the kernel is told → READY, generation + 1
 *	end
 *
 * A failure before the overlay's own record leaves the mount READY as it was. After a kill the next
 * start goes on forward: the overlay's journal says whether its part was done
 *(mount_switch_resume).
 */
#pragma once
#include "mount_codec.h"

struct err;
struct mount;
struct mount_change_source;
struct mount_use;
struct origin;

struct mount_switch {
	struct mount_use *use;
	struct mount *mt;         /* claimed */
	struct origin *origin;    /* a reference */
	struct mount_record next; /* what becomes of the record; the caller's to change */
	/* As of ovl_switch_config. */
	bool (*drop)(void *arg, const char *path);
	void *arg;
	/* Called once the new view is there, before the mount is READY: what else belongs to it.
	 * NULL: nothing. After its error the switch is made all the same. */
	int (*shown)(void *shown_arg, struct err *e);
	void *shown_arg;
	/* out */
	uint64_t dropped;
	bool made;      /* the new view is there */
	bool unchanged; /* there was nothing to do: no new generation */
};

/* `use` is one that changes, and the caller's. -ETIMEDOUT, -ECANCELED; -EBUSY NOT_READY;
 * ORIGIN_UNAVAILABLE. On success mount_switch_end is due. */
int mount_switch_begin(struct mount_switch *sw, struct mount_use *use, struct err *e);
/* Commit and root of sw->next. `revision` NULL: the commit stays. A change list of it is laid over
 * it: from `source`, or NULL: the one that was pinned, anew. */
int mount_switch_resolve(struct mount_switch *sw, const char *revision,
	const struct mount_change_source *source, struct err *e);
int mount_switch_go(struct mount_switch *sw, struct err *e);
void mount_switch_end(struct mount_switch *sw);

/* A mount that a killed process left in mid-switch, just attached: to its end. */
int mount_switch_resume(struct mount *mt, uint64_t deadline_ns, struct err *e);
