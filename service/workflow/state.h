/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a workspace stands: its last commit and what is staged, in one small file that is replaced
 * as a whole. What is staged is a tree object: directories that are not touched are those of the
 * base, whatever the repository's size.
 *
 *	<workspace>/git/state
 *		coppice-git 1
 *		head <commit>      last commit; none yet: that of the base
 *		tree <tree>        what it has at the workspace's path ("-": nothing)
 *		index <tree>       what is staged ("-": nothing)
 *		bytes <number>     charged to the quota for the objects
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <storage/digest.h>

struct wf_state {
	struct oid head, tree, index; /* tree, index: none: an empty directory */
	uint64_t bytes;
};

/* Pure. -EBADMSG. */
int wf_state_decode(const char *text, size_t len, struct wf_state *ret_state);
/* `dirfd` is the directory git/. -ENOENT: there is none yet; -EBADMSG: damaged. */
int wf_state_read(int dirfd, struct wf_state *ret_state);
/* What the objects of the workspace in this directory are charged; 0 if it has none. */
int wf_state_charged(const char *workspace_dir, uint64_t *ret_bytes);
/* For a switch of the mount: the state that holds once it is made is put aside, until it is taken
 * or dropped. Both do nothing if there is none. */
int wf_state_write_next(int dirfd, const struct wf_state *state);
int wf_state_take_next(const char *workspace_dir);
void wf_state_drop_next(const char *workspace_dir);
void wf_state_remove_next(int dirfd);
/* Durable when it returns. */
int wf_state_write(int dirfd, const struct wf_state *state);
