/* SPDX-License-Identifier: Apache-2.0 */
/* Fetch: what a revision of the workspace's origin is by now. Nothing of the workspace changes. */
#include "workflow/wf.h"

#include <errno.h>
#include <stdio.h>
#include <storage/storage.h>
#include <string.h>

static int run(struct wf *w, const char *revision, struct wf_fetch_result *result)
{
	struct origin_revision found;
	int r;

	if (!revision || !revision[0])
		revision = w->use->revision;
	if (strlen(revision) >= sizeof(result->revision))
		return err_field(w->e, "revision", "is too long");
	if (!w->origin)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE", "origin %s is not open",
			w->use->origin);
	origin_refresh(w->origin); /* not what is remembered for its `refresh` */
	r = storage_resolve(w->storage, w->origin, revision, w->use->deadline_ns, &found, w->e);
	if (r < 0)
		return r;
	(void)snprintf(result->revision, sizeof(result->revision), "%s", revision);
	(void)oid_hex(&found.commit, result->commit);
	result->time_s = found.time_s;
	result->moved = !oid_equal(&found.commit, &w->use->commit);
	return 0;
}

int wf_fetch(const struct wf_call *call, const char *revision, struct wf_fetch_result *ret_result,
	struct err *e)
{
	struct wf_fetch_result result = {.time_s = 0};
	struct wf w;
	int r = wf_open(&w, call, false, e);

	if (r < 0)
		return r;
	r = run(&w, revision, &result);
	if (r < 0)
		(void)wf_failed(&w, r, "ask the origin");
	wf_head_of(&w, &result.head);
	wf_close(&w);
	if (r == 0)
		*ret_result = result;
	return r;
}
