/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace may be of a directory of the repository, but a commit is of all of it: the way from
 * the root to the workspace's path, down to read and up to write. Only directories on that way
 * change.
 */
#include "workflow/commits.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define DEPTH_MAX 2048
#define TREE_MAX  (256u << 20)

int wf_find_path(struct wf *w, const struct oid *tree, const char *path, struct wf_node *ret_node)
{
	struct wf_node at = {.mode = oid_is_none(tree) ? 0 : WF_MODE_DIR, .oid = *tree};
	const char *name;
	size_t len;

	while (at.mode && path_next(&path, &name, &len)) {
		const struct wf_dirent *found;
		struct wf_dir dir;
		int r;

		if (!wf_is_dir(&at)) {
			at.mode = 0;
			break;
		}
		r = wf_load_dir(w, &at.oid, &dir);
		if (r < 0)
			return r;
		found = wf_dir_find(&dir, name, len);
		at = found ? found->node : (struct wf_node){0};
		wf_dir_fini(&dir);
	}
	*ret_node = at;
	return 0;
}

int wf_subtree(struct wf *w, const struct oid *root, struct oid *ret_tree)
{
	struct wf_node node;
	int r = wf_find_path(w, root, w->use->path, &node);

	if (r < 0)
		return r;
	*ret_tree = wf_is_dir(&node) ? node.oid : (struct oid){0};
	return 0;
}

int wf_root_of_base(struct wf *w, const struct oid *commit, struct oid *ret_root)
{
	const struct origin_raw_request rq = {
		*commit, OBJECT_COMMIT, w->use->cancel, w->use->deadline_ns};
	struct tree_commit known;
	struct wf_parsed_commit c;
	void *data;
	size_t len;
	int r;

	if (!w->use->path[0] && !w->use->has_change_list && oid_equal(commit, &w->use->commit)) {
		*ret_root = w->use->root;
		return 0;
	}
	r = tree_commit_get(storage_tree_index(w->storage), commit, &known);
	if (r == 0) {
		*ret_root = known.root;
		return 0;
	}
	if (!w->origin)
		return -EHOSTUNREACH;
	r = origin_read_raw(w->origin, &rq, &data, &len);
	if (r == 0)
		r = wf_commit_parse(data, len, &c);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	*ret_root = c.tree;
	wf_parsed_commit_fini(&c);
	return 0;
}

int wf_root_of_head(struct wf *w, struct oid *ret_root)
{
	struct wf_parsed_commit c;
	int r;

	if (oid_equal(&w->state.head, &w->use->commit))
		return wf_root_of_base(w, &w->use->commit, ret_root);
	r = wf_commit_read(w, &w->state.head, &c);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	*ret_root = c.tree;
	wf_parsed_commit_fini(&c);
	return 0;
}

static int in_git_order(const void *a, const void *b)
{
	const struct wf_dirent *x = a, *y = b;

	return wf_git_order(
		x->name, x->len, wf_is_dir(&x->node), y->name, y->len, wf_is_dir(&y->node));
}

/* The directory with `name` set to `tree`, or without it. */
static int dir_with(
	struct wf *w, const struct oid *dir, const struct wf_dirent *entry, struct oid *ret_dir)
{
	struct wf_dirent *all;
	struct wf_dir old;
	struct buf tree;
	size_t count = 0;
	int r = wf_load_dir(w, dir, &old);

	if (r < 0)
		return r;
	all = calloc(old.count + 1, sizeof(*all));
	buf_init(&tree, TREE_MAX);
	r = all ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < old.count; i++)
		if (old.entries[i].len != entry->len ||
			memcmp(old.entries[i].name, entry->name, entry->len) != 0)
			all[count++] = old.entries[i];
	if (r == 0 && entry->node.mode)
		all[count++] = *entry;
	if (count)
		qsort(all, count, sizeof(*all), in_git_order);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = wf_tree_append(&tree, all[i].name, all[i].len, &all[i].node);
	*ret_dir = (struct oid){0};
	if (r == 0 && count)
		r = wf_odb_write(w, WF_TREE, tree.data, tree.len, ret_dir);
	buf_fini(&tree);
	free(all);
	wf_dir_fini(&old);
	return r;
}

int wf_root_with(struct wf *w, const struct oid *root, const struct oid *tree, struct oid *ret_root)
{
	_cleanup_free_ struct oid *dirs = calloc(DEPTH_MAX, sizeof(*dirs));
	_cleanup_free_ struct wf_dirent *names = calloc(DEPTH_MAX, sizeof(*names));
	const char *at = w->use->path;
	struct oid below = *tree;
	size_t depth = 0;
	int r = 0;

	if (!dirs || !names)
		return -ENOMEM;
	dirs[0] = *root;
	while (r == 0 && depth + 1 < DEPTH_MAX &&
		path_next(&at, &names[depth].name, &names[depth].len)) {
		struct wf_dir dir;
		const struct wf_dirent *found;

		r = wf_load_dir(w, &dirs[depth], &dir);
		if (r < 0)
			break;
		found = wf_dir_find(&dir, names[depth].name, names[depth].len);
		if (found && wf_is_dir(&found->node))
			dirs[depth + 1] = found->node.oid;
		wf_dir_fini(&dir);
		depth++;
	}
	while (r == 0 && depth--) {
		names[depth].node.mode = oid_is_none(&below) ? 0 : WF_MODE_DIR;
		names[depth].node.oid = below;
		r = dir_with(w, &dirs[depth], &names[depth], &below);
	}
	if (r == 0 && oid_is_none(&below)) /* a commit must name a tree, also an empty one */
		r = wf_odb_write(w, WF_TREE, "", 0, &below);
	if (r == 0)
		*ret_root = below;
	return r;
}
