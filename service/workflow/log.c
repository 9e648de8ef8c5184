/* SPDX-License-Identifier: Apache-2.0 */
/* Log: the commits of the workspace, from HEAD down to its base, which is not one of them. */
#include "workflow/commits.h"

#include <base/cleanup.h>
#include <errno.h>

static int tell(const struct oid *oid, const struct wf_parsed_commit *c, wf_log_fn fn, void *arg)
{
	_cleanup_free_ char *author = NULL;
	_cleanup_free_ char *committer = NULL;
	struct wf_log_entry entry = {.message = c->message};
	int r = wf_signature_parse(c->author, &entry.author, &author);

	if (r == 0)
		r = wf_signature_parse(c->committer, &entry.committer, &committer);
	if (r < 0)
		return r;
	(void)oid_hex(oid, entry.commit);
	(void)oid_hex(&c->tree, entry.tree);
	(void)oid_hex(&c->parent, entry.parent);
	return fn(arg, &entry);
}

static int run(struct wf *w, unsigned limit, wf_log_fn fn, void *arg)
{
	struct oid at = w->state.head;
	int r = 0;

	for (unsigned i = 0; r == 0 && !oid_equal(&at, &w->use->commit) && (!limit || i < limit);
		i++) {
		struct wf_parsed_commit c;

		r = wf_check(w);
		if (r == 0)
			r = wf_commit_read(w, &at, &c);
		if (r < 0)
			return r == -ENOENT ? -EIO : r;
		r = tell(&at, &c, fn, arg);
		at = c.parent;
		wf_parsed_commit_fini(&c);
	}
	return r;
}

int wf_log(const struct wf_call *call, unsigned limit, wf_log_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e)
{
	struct wf w;
	int r = wf_open(&w, call, false, e);

	if (r < 0)
		return r;
	wf_head_of(&w, ret_head);
	r = run(&w, limit, fn, arg);
	if (r < 0)
		(void)wf_failed(&w, r, "read the commits of the workspace");
	wf_close(&w);
	return r;
}
