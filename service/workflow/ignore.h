/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .gitignore: what is not tracked and not worth mentioning. Rules are loaded when the first
 * untracked path of a directory asks for them, from the files that the job sees, and
 * <workspace>/git/info/exclude.
 */
#pragma once
#include "workflow/walk.h"

struct wf_ignore_rule {
	char *pattern;
	size_t len;
	bool negated, dir_only,
		anchored; /* anchored: matched against the path below its directory */
	bool literal;
};
struct wf_ignore {
	struct wf_ignore_rule *rules;
	size_t count;
};

/* Pure. NULL: no memory. */
struct wf_ignore *wf_ignore_parse(const char *text, size_t len);
struct wf_ignore *wf_ignore_free(struct wf_ignore *ig);
/* The last rule that matches decides; NULL: none does. `path` is relative to the rules' directory;
 * the last component begins at name_at. */
const struct wf_ignore_rule *wf_ignore_find(
	const struct wf_ignore *ig, const char *path, size_t name_at, bool is_dir);

/* Of a walk: one for each verb. */
struct wf_ignores {
	struct wf *w;
	struct wf_ignore *exclude; /* info/exclude */
	bool exclude_loaded;
};
void wf_ignores_fini(struct wf_ignores *x);
/* Is the path (at `level`) ignored? Loads what is needed. */
int wf_ignored(struct wf_ignores *x, struct wf_level *level, const char *path, size_t name_at,
	bool is_dir, bool *ret_ignored);
/* Is the directory of the level, or one above it, ignored? 1, 0 or a negative errno. */
int wf_ignored_dir(struct wf_ignores *x, struct wf_level *level, const char *path);
void wf_ignore_leave(struct wf_level *level);
