/* SPDX-License-Identifier: Apache-2.0 */
/* What the change list of a workspace does to its revision, path by path: the two trees side by
 * side. Costs what differs. */
#include "mount/mounts_internal.h"
#include "workflow/commits.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/storage.h>

struct entries {
	wf_list_fn fn;
	void *arg;
};

static int visit(void *arg, struct wf_item *item)
{
	const struct entries *es = arg;
	const struct wf_list_entry entry = {.path = item->path,
		.path_len = item->path_len,
		.mode = item->head.mode,
		.old_mode = item->index.mode};

	return wf_same(&item->head, &item->index) ? 0 : es->fn(es->arg, &entry);
}

/* The tree of the revision at the workspace's path, without the change list; none: no such
 * directory. */
static int find_base(struct wf *w, struct oid *ret_tree)
{
	struct mount *mt = w->use->mount;
	struct origin_revision revision;
	char commit[OID_HEX_MAX];
	int r;

	lock_acquire(&mt->registry->mu);
	(void)oid_hex(&mt->rec.commit, commit);
	lock_release(&mt->registry->mu);
	if (!w->origin)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE", "origin %s is not open",
			w->use->origin);
	r = storage_resolve(w->storage, w->origin, commit, w->use->deadline_ns, &revision, w->e);
	return r < 0 ? r : wf_subtree(w, &revision.root, ret_tree);
}

static int run(struct wf *w, struct entries *es)
{
	struct wf_walk *walk;
	struct oid base;
	int r;

	if (w->use->change_kind == MOUNT_CHANGE_NONE)
		return 0;
	r = find_base(w, &base);
	if (r < 0)
		return r;
	walk = calloc(1, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){
		.w = w, .index = base, .head = w->use->root, .visit = visit, .arg = es};
	r = wf_walk(walk, NULL);
	free(walk);
	return r;
}

int wf_list_entries(const struct wf_call *call, wf_list_fn fn, void *arg, struct wf_head *ret_head,
	struct err *e)
{
	struct entries es = {fn, arg};
	struct wf w;
	int r = wf_open(&w, call, false, e);

	if (r < 0)
		return r;
	wf_head_of(&w, ret_head);
	r = run(&w, &es);
	if (r < 0)
		(void)wf_failed(&w, r, "list the change list");
	wf_close(&w);
	return r;
}
