/* SPDX-License-Identifier: Apache-2.0 */
/* Pathspecs: which paths a verb is about. Pure. */
#pragma once
#include <service/workflow.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

struct wf_spec {
	char *text;              /* owned; without magic, leading and trailing slashes */
	size_t len, literal_len; /* of the part before the first wildcard */
	bool exclude, pattern;
	unsigned glob_flags;
	bool matched;
};

struct wf_matcher {
	struct wf_spec *specs;
	size_t count;
	bool any_include;
};

/* -EINVAL with the field paths[i]: outside the workspace, unknown magic. */
int wf_matcher_init(struct wf_matcher *m, const struct wf_paths *paths, struct err *e);
void wf_matcher_fini(struct wf_matcher *m);
/* Is it meant? Notes which specs matched. */
bool wf_matcher_has(struct wf_matcher *m, const char *path, size_t len);
/* May anything below the directory ("a/b/", "" for the root) be meant? */
bool wf_matcher_may_enter(const struct wf_matcher *m, const char *dir, size_t len);
/* The first spec that nothing matched; NULL: none. */
const struct wf_spec *wf_matcher_unmatched(const struct wf_matcher *m);
