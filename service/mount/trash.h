/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing workspaces: a directory is renamed into data_dir/trash at once and its content removed
 * in the background. Whatever lies in the trash, also from before a crash, is removed by the next
 * sweep.
 */
#pragma once
struct err;
struct trash;

/* `workspaces` and `trash_dir`: absolute, on one file system; made if missing. */
int trash_open(
	struct trash **ret_trash, const char *workspaces, const char *trash_dir, struct err *e);
/* Waits for the removal that is under way; what is still queued waits for the next start. */
struct trash *trash_close(struct trash *t);
/* Take workspaces/<name> away. 0 also if it is not there. Blocks on local disk. */
int trash_put(struct trash *t, const char *name);
/* Queue everything that lies in the trash. */
void trash_sweep(struct trash *t);
