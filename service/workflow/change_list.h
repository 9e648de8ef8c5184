/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace over a change list. Its commits go on from the revision, so what the change list does
 * is staged from the start, as after `git apply --index`: HEAD has the revision's tree, the index
 * has the tree that is shown. (Where the change list is commits and nothing had to be merged, its
 * last commit is the base instead, and none of this is needed: see mount_use.h.)
 *
 * The storage keeps no commits of submodules, so a directory that it merged and that has some is
 * not named by the id that Git gives it. Those are written anew, once, and remembered by both ids:
 *
 *	<workspace>/git/list
 *		coppice-list 1
 *		shown <tree>       what the job's files lie over; another one: this file is of old
 *		base <tree>        of the revision, at the workspace's path ("-": nothing)
 *		index <tree>       what is shown, as Git names it
 *		same <tree> <tree> a directory as the storage names it, and as Git does; any number
 */
#pragma once
#include <stddef.h>
#include <storage/digest.h>

struct wf;

#define WF_LIST_SAME_MAX 65536u

struct wf_list {
	struct oid shown, base, index;
	struct oid (*same)[2]; /* sorted by the first */
	size_t same_count;
};

void wf_list_fini(struct wf_list *l);
/* Pure. -EBADMSG, -ENOMEM. */
int wf_list_decode(const char *text, size_t len, struct wf_list *ret_list);
/* As the file has it; `dirfd` is the directory git/. -ENOENT. */
int wf_list_read(int dirfd, struct wf_list *ret_list);
/* What Git calls a directory that the storage calls `tree`. */
const struct oid *wf_list_find(const struct wf_list *l, const struct oid *tree);

/* For wf_open: w->list is that of the tree that is shown. -EAGAIN: it has to be made, which needs a
 * turn. */
int wf_list_open(struct wf *w, bool may_make);
/* Contents that the change list brought and that are staged become the workspace's own, as what is
 * added does: a push must send them. */
int wf_list_own(struct wf *w, const struct oid *blob);
