/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a difference, as `git diff` writes it. Contents in, text out: nothing here knows
 * where they come from.
 */
#pragma once
#include "workflow/git_tree.h"

struct buf;
struct wf_headings;
struct wf_stat;

/* One path, before and after. */
struct wf_patch {
	const char *old_path, *new_path;   /* equal but for a rename */
	struct wf_node old_node, new_node; /* mode 0: not there; ids are known */
	unsigned similarity;               /* of a rename, percent */
	/* Contents; large: too much for text. Only read if the ids differ. */
	const char *old_data, *new_data; /* equal ones are not needed twice */
	size_t old_len, new_len;         /* also of what is too large */
	bool large;
	enum { WF_LOOK, WF_IS_TEXT, WF_IS_BINARY } kind; /* by its attributes */
	unsigned context;                                /* lines */
	/* Of hunks; only wf_patch_text needs them. */
	struct wf_headings *headings;
	const char *driver; /* Git's name of the language; NULL: none is named */
};
/* Appends header and hunks. A change of type is a deletion and an addition. */
int wf_patch_text(const struct wf_patch *p, struct buf *out);
/* "added deleted path", with tabs; "-" for what is not text. */
int wf_patch_numstat(const struct wf_patch *p, struct buf *out);
/* The same as a row of what is drawn for people. */
int wf_patch_stat(const struct wf_patch *p, struct wf_stat *stat);
/* "M path", with a tab. */
int wf_patch_name_status(const struct wf_patch *p, struct buf *out);
/* A path as Git writes it: in quotes if it has to be. */
void wf_quote(struct buf *out, const char *prefix, const char *path);
