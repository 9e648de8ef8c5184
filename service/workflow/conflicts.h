/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that both sides of a move changed: counted, the first ones named, all refused together. */
#pragma once
#include <base/err.h>
#include <stdint.h>

struct wf_conflicts {
	uint64_t count;
	struct err told;
};

void wf_conflict(struct wf_conflicts *c, const char *path, const char *why);
/* -ESTALE REBASE_CONFLICT with the paths (err_line), if there are any; else 0. */
int wf_conflicts_end(const struct wf_conflicts *c, struct err *e);
