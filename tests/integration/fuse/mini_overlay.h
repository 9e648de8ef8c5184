/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest overlay a session can serve: a tree in memory behind the calls of fuse/overlay.h,
 * so that sessions can be tested and measured by themselves. It never touches a disk. Its root has
 * one directory, "ws".
 *
 * Names of files decide what waits for a "fetch" (the first READ, or with the prefix "lk-" the
 * first LOOKUP):
 *	late-<ms>…	answers after that time
 *	never…		never answers by itself
 *	fail-<errno>…	answers at once with that error
 * and with the prefix "count-" what a directory's link count (3) waits for, which is 1 without.
 */
#pragma once
#include "fuse/overlay.h"

struct overlay *mini_overlay_new(void); /* fails the test without memory */
/* Answers all fetches still out (-ECANCELED), then frees. */
struct overlay *mini_overlay_free(struct overlay *o);
/* A file made from outside, in ws/, with content. */
void mini_overlay_add(struct overlay *o, const char *name, const char *content);
/* A directory in ws/. */
void mini_overlay_add_dir(struct overlay *o, const char *name);
/* References the kernel holds on all nodes but the root: 0 after everything was forgotten. */
uint64_t mini_overlay_lookups(struct overlay *o);
/* The last owner and flag of a write, as the session passed them. */
struct mini_seen {
	_Atomic uint64_t unique;
	_Atomic unsigned set, kill_suid, tmpfiles;
};
const struct mini_seen *mini_overlay_seen(struct overlay *o);
