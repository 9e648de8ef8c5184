/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A revision of a Mega server: asked for once, and from then on the commit it was. The server does
 * not tell the root tree's id, so it is computed: names and ids come from the listing at that
 * commit, modes of the files among them from the head's tree object, which is the very same
 * while the head has not moved. Entries at the root of a monorepo are directories, so nothing is
 * guessed even then; of a file that is new and gone again since, 0644 is. What a commit's root is
 * is remembered: the same commit is always shown the same.
 *
 * Threads: any that may block.
 */
#include "origin/mega_internal.h"

#include "base/err.h"
#include "origin/http_url.h"

#include <errno.h>
#include <stdio.h>

#define TREE_MAX_BYTES (64u << 20)

static void url_commit(struct buf *out, const struct mega *m, const char *revision)
{
	http_url_begin(out, m->url, "/api/v1/latest-commit");
	http_url_query(out, "path", "/", 1);
	if (*revision)
		http_url_query(out, "refs", revision, strlen(revision));
}

/* What went wrong, in words for who asked. */
static int explain(const struct mega *m, const char *revision, const struct http_answer *answer,
	int r, struct err *e)
{
	if (answer->status == 404 || answer->status == 400)
		return err_set(e, -ENOENT, "REVISION_NOT_FOUND",
			"origin %s: the server knows no revision \"%s\"; it takes main, tags and "
			"commit ids",
			m->name, revision);
	if (r == -ECANCELED)
		return r;
	return err_set(e, r, "ORIGIN_UNAVAILABLE", "origin %s: the server %s: %s", m->name, m->url,
		answer->why[0] ? answer->why : strerror(-r));
}

static int fetch_commit(struct mega *m, const char *revision, const struct mega_wait *wait,
	struct mega_commit *ret_commit, struct err *e)
{
	struct http_answer answer = {0};
	struct buf url;
	int r;

	buf_init(&url, 65536);
	url_commit(&url, m, revision);
	r = buf_error(&url);
	if (r == 0)
		r = mega_get(m, buf_cstr(&url), wait, &answer);
	buf_fini(&url);
	if (r < 0) {
		r = explain(m, revision, &answer, r, e);
	} else {
		r = mega_json_commit(answer.body.data, answer.body.len, ret_commit);
		if (r < 0)
			(void)err_set(e, r, NULL,
				"origin %s: the server %s answers what is no commit; is it a Mega "
				"server?",
				m->name, m->url);
	}
	http_answer_fini(&answer);
	return r;
}

static int fetch_root(struct mega *m, const struct mega_commit *commit,
	const struct mega_wait *wait, struct mega_root *ret_root, struct err *e)
{
	char path[] = "";
	const struct mega_place place = {.commit = commit->oid, .path = path};
	struct mega_root root = {.time_s = commit->time_s};
	enum digest_kind kind;
	struct buf tree;
	int r;

	buf_init(&tree, TREE_MAX_BYTES);
	r = mega_fetch_tree(m, &place, NULL, wait, &tree);
	if (r == 0)
		r = digest_kind_of(&commit->oid, &kind);
	if (r == 0)
		r = digest_object(kind, OBJECT_TREE, tree.data, tree.len, &root.tree);
	buf_fini(&tree);
	if (r == 0)
		r = mega_memory_put_root(m->memory, &commit->oid, &root);
	if (r < 0)
		return err_set(e, r, "ORIGIN_UNAVAILABLE",
			"origin %s: the server %s does not deliver the root directory: %s", m->name,
			m->url, strerror(-r));
	*ret_root = root;
	return 0;
}

/* A full commit id names the same for ever: if its root is known, nothing is asked. */
static bool known_commit(
	struct mega *m, const char *revision, struct mega_commit *commit, struct mega_root *root)
{
	if (oid_parse(revision, &commit->oid) < 0 ||
		mega_memory_root(m->memory, &commit->oid, root) < 0)
		return false;
	commit->time_s = root->time_s;
	return true;
}

int mega_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e)
{
	const struct mega_wait wait = {NULL, deadline_ns};
	struct mega *m = impl;
	struct mega_commit commit;
	struct mega_root root;
	int r;

	if (!known_commit(m, revision, &commit, &root)) {
		r = fetch_commit(m, revision, &wait, &commit, e);
		if (r < 0)
			return r;
		r = mega_memory_root(m->memory, &commit.oid, &root);
		if (r == -ENOENT)
			r = fetch_root(m, &commit, &wait, &root, e);
		if (r < 0)
			return r;
	}
	ret->commit = commit.oid;
	ret->root = root.tree;
	ret->time_s = root.time_s;
	if (!*revision || strcmp(revision, "main") == 0 || strcmp(revision, "master") == 0 ||
		strcmp(revision, "refs/heads/main") == 0)
		(void)snprintf(ret->ref, sizeof(ret->ref), "refs/heads/main");
	return 0;
}
