/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .gitattributes: what a path's content is, and what happens to it on its way into an object. Only
 * the attributes that say something here are kept: diff, merge, text, crlf, eol and filter, and the
 * macros that set them. Rules come from the files that the job sees, as Git reads them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct wf;
struct wf_level;

enum wf_attr_name {
	WF_ATTR_DIFF,
	WF_ATTR_MERGE,
	WF_ATTR_TEXT,
	WF_ATTR_CRLF,
	WF_ATTR_EOL,
	WF_ATTR_FILTER,
	WF_ATTRS
};
enum wf_attr_state {
	WF_ATTR_UNKNOWN,
	WF_ATTR_UNSPECIFIED,
	WF_ATTR_SET,
	WF_ATTR_UNSET,
	WF_ATTR_VALUE
};

#define WF_ATTR_VALUE_MAX 64 /* a longer value is of no use to us */

struct wf_attr {
	enum wf_attr_state state;
	char value[WF_ATTR_VALUE_MAX]; /* of WF_ATTR_VALUE */
};

/* ---- the rules of one file; pure ---- */

struct wf_attr_file;
/* NULL: no memory. `macros`: it may define some (that of the root may). */
struct wf_attr_file *wf_attr_parse(const char *text, size_t len, bool macros);
struct wf_attr_file *wf_attr_free(struct wf_attr_file *f);
/* Fills what is still unknown of a file with this path below the rules' directory; its last
 * component begins at name_at. Macros are those of `root` (may be NULL). */
void wf_attr_apply(const struct wf_attr_file *f, const struct wf_attr_file *root, const char *path,
	size_t name_at, struct wf_attr attrs[WF_ATTRS]);

/* ---- in a walk ---- */

/* Of the path at `level`; what nobody says is WF_ATTR_UNSPECIFIED. Loads what is needed. */
int wf_attrs_of(struct wf *w, struct wf_level *level, const char *path, size_t name_at,
	struct wf_attr ret_attrs[WF_ATTRS]);
/* The same by the rules that are there once the walk's head is checked out. */
int wf_attrs_of_head(struct wf *w, struct wf_level *level, const char *path, size_t name_at,
	struct wf_attr ret_attrs[WF_ATTRS]);
