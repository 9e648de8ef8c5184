/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the paths that went are which of those that came. As Git does: equal contents first,
 * then equal base names, then by similarity, at least half. What is too much for it is left alone.
 */
#pragma once
#include "workflow/wf.h"

struct wf_rename_path {
	char *path;
	struct wf_node node;
	size_t pair;    /* of a path that came: 1 + index of the one that went; 0: none */
	bool used;      /* of one that went */
	unsigned score; /* percent */
	void *sketch;   /* private */
};
struct wf_renames {
	struct wf_rename_path *gone, *come;
	size_t gone_count, gone_cap, come_count, come_cap;
	bool too_many;
};

int wf_renames_add(struct wf_renames *x, bool come, const char *path, const struct wf_node *node);
void wf_renames_fini(struct wf_renames *x);
/* Reads contents; what can be answered by ids costs nothing. `read` gives content by node. */
typedef int (*wf_rename_read)(
	void *arg, const struct wf_rename_path *path, size_t max, char **ret_data, size_t *ret_len);
int wf_renames_find(struct wf *w, struct wf_renames *x, wf_rename_read read, void *arg);
/* Of a path that came: where from; NULL. Of one that went: whether it is where something came from.
 */
const struct wf_rename_path *wf_renames_come(const struct wf_renames *x, const char *path);
bool wf_renames_gone(const struct wf_renames *x, const char *path);
/* Percent, of a path that came. */
unsigned wf_renames_score(const struct wf_renames *x, const char *path);
