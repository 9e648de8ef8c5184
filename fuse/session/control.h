/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: the only one that mounts, unmounts, binds, or touches a path that may lead
 * through one of our own mounts. It may hang in such a call; then its callers get -ETIMEDOUT and
 * everything else goes on.
 */
#pragma once
#include <stdint.h>

struct control;
struct sess_farm;

int control_new(struct control **ret_control, struct sess_farm *farm);
/* Runs what is queued, joins. */
struct control *control_free(struct control *c);
/*
 * Run `fn(arg)` on the control thread and wait for its result, until the deadline. After the
 * time-out (-ETIMEDOUT) `arg` belongs to the control thread, which calls `abandon(arg)` once `fn`
 * has run or the job was dropped: it undoes and frees. Otherwise `arg` stays the caller's.
 * -EAGAIN: too many are waiting; -ENOMEM.
 */
int control_run(struct control *c, int (*fn)(void *arg), void (*abandon)(void *arg), void *arg,
	uint64_t deadline_ns);
