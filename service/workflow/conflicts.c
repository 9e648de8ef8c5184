/* SPDX-License-Identifier: Apache-2.0 */
/* See conflicts.h. Pure. */
#include "workflow/conflicts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TOLD_MAX 3 /* paths in the message */

void wf_conflict(struct wf_conflicts *c, const char *path, const char *why)
{
	size_t len = strlen(c->told.message);

	if (c->count++ < TOLD_MAX) /* or as much as fits */
		(void)snprintf(c->told.message + len, sizeof(c->told.message) - len,
			"%s\"%.100s\" %s", len ? "; " : "", path, why);
	err_line(&c->told, path, why);
}

int wf_conflicts_end(const struct wf_conflicts *c, struct err *e)
{
	char count[24];
	int r;

	if (!c->count)
		return 0;
	(void)snprintf(count, sizeof(count), "%" PRIu64, c->count);
	r = err_set(e, -ESTALE, "REBASE_CONFLICT",
		"%s paths changed on both sides, nothing was done: %s", count, c->told.message);
	err_meta(e, "paths", count);
	if (e)
		memcpy(e->lines, c->told.lines, sizeof(e->lines));
	return r;
}
