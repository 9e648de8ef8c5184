/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much changed in each path, as `git diff --stat` draws it. Widths depend on all paths, so they
 * are collected first. Pure but for memory.
 */
#pragma once
#include <base/buf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WF_STAT_WIDTH 80u

struct wf_stat_row {
	size_t name;             /* where it begins in `names` */
	uint64_t added, deleted; /* lines; of a binary file its bytes after and before */
	bool binary;
};
struct wf_stat {
	struct buf names; /* each with a NUL behind it */
	struct wf_stat_row *rows;
	size_t count, cap;
};

void wf_stat_init(struct wf_stat *s);
void wf_stat_fini(struct wf_stat *s);
/* A path as it is to be shown, in ASCII. -EMSGSIZE: too many. */
int wf_stat_add(struct wf_stat *s, const char *name, const struct wf_stat_row *counts);
/* A line for each, at most `width` columns wide if that can be; 0: as git without a terminal. */
int wf_stat_draw(const struct wf_stat *s, unsigned width, struct buf *out);
/* "2 files changed, 1 insertion(+), 3 deletions(-)" */
int wf_stat_sum(const struct wf_stat *s, struct buf *out);
