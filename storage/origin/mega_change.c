/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change list of a Mega server. The server tells nobody without a login which commits it has, but
 * the Git side of each directory advertises them: refs/cl/<link>. What the change list was made
 * over is the parent of its commit, or, where the server does not tell that, the directory's main.
 * Where the server gives none of that, there is still its list of the files that change.
 *
 * Threads: any that may block.
 */
#include "origin/http_url.h"
#include "origin/mega_internal.h"
#include "origin/mega_refs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct wanted {
	char name[256];
	struct oid found, main, parent;
	bool asked;
};

static int note(void *arg, const struct origin_ref *ref)
{
	struct wanted *w = arg;

	if (strcmp(ref->name, w->name) == 0)
		w->found = ref->oid;
	if (strcmp(ref->name, "refs/heads/main") == 0)
		w->main = ref->oid;
	return 0;
}

/* The commit that was asked for is the first; its first parent, none if it has none. */
static int note_parent(void *arg, const struct oid *commit, const struct oid *parents, size_t count)
{
	struct wanted *w = arg;

	if (w->asked)
		return 0;
	w->asked = true;
	w->parent = count ? parents[0] : (struct oid){0};
	return oid_equal(commit, &w->found) ? 0 : -EIO;
}

/* -ENOENT and others: it does not tell. */
static int fetch_parent(struct mega *m, struct wanted *w, const struct mega_wait *wait)
{
	int r = mega_fetch_history(m, &(struct mega_history_call){.commit = &w->found,
					      .count = 1,
					      .wait = *wait,
					      .fn = note_parent,
					      .arg = w});

	return r == 0 && !w->asked ? -EIO : r;
}

/* Both ends are remembered with where they belong: that finds directories that did not change, and
 * modes. The root of the change is what its commit object says, or, where the server does not give
 * that, found as those of other commits are. */
static int learn_root(struct mega *m, const char *path, const struct oid *commit,
	const struct oid *base, const struct mega_wait *wait)
{
	char root_path[] = "";
	const struct mega_place place = {.commit = *commit, .path = root_path, .at = path};
	struct mega_root root = {.at = ""}, known;
	enum digest_kind kind;
	struct buf tree;
	int r;

	if (mega_memory_root(m->memory, commit, &known) == 0)
		return 0;
	if (strlen(path) < sizeof(root.at))
		memcpy(root.at, path, strlen(path) + 1);
	/* of the base the pack would be all that the directory has: it is not asked for */
	if (base && mega_fetch_commit(m, path, (struct oid[2]){*commit, *base}, wait, &root) == 0)
		return mega_memory_put_root(m->memory, commit, &root);
	buf_init(&tree, MEGA_JSON_MAX_BYTES);
	r = mega_fetch_tree(m, &place, NULL, wait, &tree);
	if (r == 0)
		r = digest_kind_of(commit, &kind);
	if (r == 0)
		r = digest_object(kind, OBJECT_TREE, tree.data, tree.len, &root.tree);
	buf_fini(&tree);
	return r == 0 ? mega_memory_put_root(m->memory, commit, &root) : r;
}

/* What the change list was made over. -EIO, -ENOENT: the server does not tell. */
static int find_base(
	struct mega *m, struct wanted *w, const struct mega_wait *wait, struct oid *ret_base)
{
	int r = fetch_parent(m, w, wait);

	if (r == -ECANCELED || r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENOMEM)
		return r;
	*ret_base = r < 0 || oid_is_none(&w->parent) ? w->main : w->parent;
	return oid_is_none(ret_base) ? -ENOENT : 0;
}

int mega_find_change(void *impl, const char *link, const char *path, uint64_t deadline_ns,
	struct origin_change *ret_change)
{
	const struct mega_wait wait = {NULL, deadline_ns};
	struct wanted w = {.found = {0}};
	struct mega *m = impl;
	int r;

	(void)snprintf(w.name, sizeof(w.name), "%s%s", link ? "refs/cl/" : "refs/heads/main",
		link ? link : "");
	r = mega_fetch_refs(m, &(struct mega_refs_call){.path = path,
				       .service = "git-upload-pack",
				       .wait = wait,
				       .fn = note,
				       .arg = &w});
	if (link && (r == -ENOENT || r == -EACCES))
		return -ENODATA;
	if (r < 0)
		return r;
	if (oid_is_none(&w.found))
		return -ENOENT;
	ret_change->commit = ret_change->base = w.found;
	if (!link)
		return learn_root(m, path, &w.found, NULL, &wait);
	r = find_base(m, &w, &wait, &ret_change->base);
	if (r == 0)
		r = learn_root(m, path, &ret_change->commit, &ret_change->base, &wait);
	if (r == 0)
		r = learn_root(m, path, &ret_change->base, NULL, &wait);
	if (r != -EIO && r != -ENOENT)
		return r;
	ret_change->base = (struct oid){0}; /* it answers, but does not give them */
	return 0;
}

int mega_change_files(
	void *impl, const char *link, uint64_t deadline_ns, origin_change_file_fn fn, void *arg)
{
	const struct mega_wait wait = {NULL, deadline_ns};
	struct http_answer answer = {0};
	struct mega *m = impl;
	char path[128];
	struct buf url;
	int r;

	if (snprintf(path, sizeof(path), "/api/v1/cl/%s/files-list", link) >= (int)sizeof(path))
		return -EINVAL;
	buf_init(&url, 65536);
	http_url_begin(&url, m->url, path);
	r = buf_error(&url);
	if (r == 0)
		r = mega_get(m, buf_cstr(&url), &wait, &answer);
	buf_fini(&url);
	if (r == 0)
		r = mega_json_files(answer.body.data, answer.body.len, fn, arg);
	http_answer_fini(&answer);
	return r;
}
