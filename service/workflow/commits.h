/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits of a workspace: a line from HEAD down to the base that was mounted. Only the workspace's
 * own are read as objects; of the base the id and the tree are known.
 */
#pragma once
#include "workflow/wf.h"

struct buf;

/* A commit object, its texts in `memory`. */
struct wf_parsed_commit {
	struct oid tree, parent; /* tree: of the whole repository; parent: none if it has not one */
	const char *author, *committer; /* "Name <email> time zone" */
	const char *message;
	char *memory; /* owned */
};
/* Takes `data` (NUL behind it), also on failure. Pure. -EBADMSG. */
int wf_commit_parse(char *data, size_t len, struct wf_parsed_commit *ret_commit);
void wf_parsed_commit_fini(struct wf_parsed_commit *c);
/* -ENOENT: it is not the workspace's own. */
int wf_commit_read(struct wf *w, const struct oid *commit, struct wf_parsed_commit *ret_commit);
/* "Name <email> time zone" into its parts, which are cut from `line`. -EBADMSG. */
int wf_signature_parse(const char *line, struct wf_signature *ret_signature, char **ret_memory);
/* -EINVAL with the field, which begins with `who`. */
int wf_signature_check(const struct wf *w, const char *who, const struct wf_signature *s);
/* "<who> Name <email> time zone\n"; without a time of its own that of `now_s`. */
void wf_signature_put(struct buf *b, const char *who, const struct wf_signature *s, int64_t now_s);

/* The commit below; -ENOENT below the base. */
int wf_commit_parent(struct wf *w, const struct oid *commit, struct oid *ret_parent);
/* Its tree at the workspace's path. */
int wf_commit_tree(struct wf *w, const struct oid *commit, struct oid *ret_tree);
/* "", "HEAD", "BASE", either with "~N" behind it, or an id (also a short one) of the line from HEAD
 * to the base, or the full id of any commit made in this workspace. -ENOENT reason
 * REVISION_NOT_FOUND. The tree is that at the workspace's path. */
int wf_commit_find(struct wf *w, const char *name, struct oid *ret_commit, struct oid *ret_tree);

/* ---- subtree.c ---- */

/* The tree of the whole repository at a commit of the origin. */
int wf_root_of_base(struct wf *w, const struct oid *commit, struct oid *ret_root);
/* The same at HEAD. */
int wf_root_of_head(struct wf *w, struct oid *ret_root);
/* The tree at the workspace's path in `root`; none: nothing there. */
int wf_subtree(struct wf *w, const struct oid *root, struct oid *ret_tree);
/* `root` with `tree` (none: nothing) at the workspace's path; written. */
int wf_root_with(
	struct wf *w, const struct oid *root, const struct oid *tree, struct oid *ret_root);
/* What is at a path below `tree`: mode 0 if nothing. */
int wf_find_path(struct wf *w, const struct oid *tree, const char *path, struct wf_node *ret_node);
