/* SPDX-License-Identifier: Apache-2.0 */
/* Another change list below a job's files, commits and what is staged. */
#pragma once

struct err;
struct mount_switch;

/* In place of mount_switch_go, for a switch that is resolved: what the workspace has of its own
 * moves along, files stay on top. -ESTALE REBASE_CONFLICT: what is committed or staged was changed
 * by the change list too, and nothing is done. */
int wf_move_list(struct mount_switch *sw, struct err *e);
