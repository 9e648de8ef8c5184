/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revision → commit, by the rules of git rev-parse: a full id names itself; then refs, in Git's
 * order (as given, refs/, refs/tags/, refs/heads/, refs/remotes/); then a unique short id of a
 * commit; then expressions like HEAD~1 or v1^{commit}. What does not name one commit (a range, a
 * path in a tree, a search through history) is refused.
 */
#include "origin/origin_git_internal.h"

#include "base/cancel.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define CANDIDATES_MAX 64
#define DIGITS_MIN     4 /* as in Git */

static int not_found(const char *revision, struct err *e)
{
	return err_set(e, -ENOENT, "REVISION_NOT_FOUND",
		"there is no branch, tag, ref or commit \"%s\"; git branch -a and git tag list "
		"what there is",
		revision);
}

static int not_a_commit(const char *revision, struct err *e)
{
	return err_set(
		e, -EINVAL, "REVISION_NOT_A_COMMIT", "\"%s\" does not name a commit", revision);
}

static int damaged(const char *revision, struct err *e)
{
	return err_set(e, -EIO, NULL, "\"%s\" cannot be read: %s; try git fsck on the repository",
		revision, gitrepo_message());
}

/* Expressions that do not name one commit, or that would search the history for it. */
int gitrepo_check_form(const char *revision, struct err *e)
{
	const char *why = NULL;

	for (const char *p = revision; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			why = "has a control character";
	if (strchr(revision, ':'))
		why = "names a path or a search; a revision is a commit";
	else if (strstr(revision, "..") || revision[0] == '^')
		why = "is a range; a revision is one commit";
	else if (strstr(revision, "^{/"))
		why = "is a search; a revision is one commit";
	return why ? err_set(e, -EINVAL, "REVISION_INVALID", "\"%s\" %s", revision, why) : 0;
}

/* libgit2 would hang on an object that was cut short, so those that are certain to be read are
 * looked at before. */
static bool readable(const struct gitrepo_handle *h, const git_oid *id)
{
	struct oid oid = gitrepo_oid(id);

	return loose_check(&h->loose, &oid) == 0;
}

static int fill(struct gitrepo_handle *h, const git_oid *id, const char *revision,
	struct origin_revision *ret, struct err *e)
{
	git_commit *commit;

	if (!readable(h, id) || git_commit_lookup(&commit, h->repo, id) < 0)
		return damaged(revision, e);
	ret->commit = gitrepo_oid(id);
	ret->root = gitrepo_oid(git_commit_tree_id(commit));
	ret->time_s = git_commit_time(commit);
	git_commit_free(commit);
	return 0;
}

/* Peels tags; takes over `object`. */
static int fill_from_object(struct gitrepo_handle *h, git_object *object, const char *revision,
	struct origin_revision *ret, struct err *e)
{
	git_object *commit = NULL;
	int r = GIT_ERROR;

	if (git_object_type(object) != GIT_OBJECT_TAG ||
		readable(h, git_tag_target_id((const git_tag *)object)))
		r = git_object_peel(&commit, object, GIT_OBJECT_COMMIT);

	git_object_free(object);
	if (r == GIT_ENOTFOUND || r == GIT_ERROR)
		return damaged(revision, e);
	if (r < 0)
		return not_a_commit(revision, e);
	r = fill(h, git_object_id(commit), revision, ret, e);
	git_object_free(commit);
	return r;
}

/* Takes over `ref`. */
static int fill_from_ref(struct gitrepo_handle *h, git_reference *ref, const char *revision,
	struct origin_revision *ret, struct err *e)
{
	git_reference *direct = NULL;
	git_object *object = NULL;
	int r;

	r = git_reference_resolve(&direct, ref);
	git_reference_free(ref);
	if (r == GIT_ENOTFOUND)
		return not_found(revision, e);
	if (r < 0)
		return damaged(revision, e);
	(void)snprintf(ret->ref, sizeof(ret->ref), "%s", git_reference_name(direct));
	r = readable(h, git_reference_target(direct))
		    ? git_object_lookup(
			      &object, h->repo, git_reference_target(direct), GIT_OBJECT_ANY)
		    : GIT_ERROR;
	git_reference_free(direct);
	if (r < 0)
		return damaged(revision, e);
	return fill_from_object(h, object, revision, ret, e);
}

static int resolve_head(struct gitrepo_handle *h, struct origin_revision *ret, struct err *e)
{
	git_reference *head = NULL;
	int r = git_repository_head(&head, h->repo);

	if (r == GIT_EUNBORNBRANCH || r == GIT_ENOTFOUND)
		return err_set(e, -ENOENT, "REPOSITORY_EMPTY",
			"the repository's default branch has no commit; push one, or name a "
			"revision");
	if (r < 0)
		return damaged("HEAD", e);
	return fill_from_ref(h, head, "HEAD", ret, e);
}

struct short_id {
	git_odb *odb;
	git_oid prefix;
	size_t digits;
	git_oid found[CANDIDATES_MAX];
	unsigned count;
};

static int collect(const git_oid *id, void *arg)
{
	struct short_id *s = arg;

	if (git_oid_ncmp(id, &s->prefix, s->digits) != 0)
		return 0;
	for (unsigned i = 0; i < s->count; i++)
		if (git_oid_equal(&s->found[i], id))
			return 0; /* packed and loose */
	if (s->count == CANDIDATES_MAX)
		return GIT_EUSER;
	s->found[s->count++] = *id;
	return 0;
}

/* Several objects begin so: is only one of them a commit? Walks all ids; only for this rare case.
 */
static int pick_commit(struct short_id *s, git_oid *ret_id)
{
	unsigned commits = 0;

	if (git_odb_foreach(s->odb, collect, s) < 0)
		return GIT_EAMBIGUOUS;
	for (unsigned i = 0; i < s->count; i++) {
		git_object_t type;
		size_t size;

		if (git_odb_read_header(&size, &type, s->odb, &s->found[i]) < 0)
			return GIT_ERROR;
		if (type != GIT_OBJECT_COMMIT && type != GIT_OBJECT_TAG)
			continue;
		*ret_id = s->found[i];
		commits++;
	}
	return commits == 1 ? 0 : commits ? GIT_EAMBIGUOUS : GIT_ENOTFOUND;
}

/* Digits, if it is nothing but that, and not too many for an id; 0 otherwise. */
static size_t id_digits(const char *revision)
{
	size_t digits = 0;

	while (isxdigit((unsigned char)revision[digits]))
		digits++;
	return revision[digits] || digits > GIT_OID_HEXSZ ? 0 : digits;
}

static int resolve_id(struct gitrepo_handle *h, const char *revision, size_t digits,
	struct origin_revision *ret, struct err *e)
{
	struct short_id s = {.odb = h->odb, .digits = digits};
	git_object *object = NULL;
	git_oid id;
	int r;

	if (digits < DIGITS_MIN)
		return not_found(revision, e);
	r = git_oid_fromstrn(&s.prefix, revision, digits);
	if (r == 0 && digits == GIT_OID_HEXSZ && !readable(h, &s.prefix))
		return damaged(revision, e);
	if (r == 0)
		r = git_object_lookup_prefix(&object, h->repo, &s.prefix, digits, GIT_OBJECT_ANY);
	if (r == GIT_EAMBIGUOUS) {
		r = pick_commit(&s, &id);
		if (r == 0)
			r = git_object_lookup(&object, h->repo, &id, GIT_OBJECT_ANY);
	}
	if (r == GIT_EAMBIGUOUS)
		return err_set(e, -EINVAL, "REVISION_AMBIGUOUS",
			"\"%s\" is the beginning of more than one commit's id; give more digits",
			revision);
	if (r == GIT_ENOTFOUND)
		return not_found(revision, e);
	if (r < 0)
		return damaged(revision, e);
	return fill_from_object(h, object, revision, ret, e);
}

static int resolve_expression(
	struct gitrepo_handle *h, const char *revision, struct origin_revision *ret, struct err *e)
{
	git_object *object = NULL;
	int r = git_revparse_single(&object, h->repo, revision);

	switch (r) {
	case 0:
		return fill_from_object(h, object, revision, ret, e);
	case GIT_ENOTFOUND:
		return not_found(revision, e);
	case GIT_EAMBIGUOUS:
		return err_set(e, -EINVAL, "REVISION_AMBIGUOUS",
			"\"%s\" may be more than one commit", revision);
	case GIT_EPEEL:
		return not_a_commit(revision, e);
	case GIT_EINVALIDSPEC:
		return err_set(
			e, -EINVAL, "REVISION_INVALID", "\"%s\" is not a revision", revision);
	default:
		return damaged(revision, e);
	}
}

static int resolve_with(
	struct gitrepo_handle *h, const char *revision, struct origin_revision *ret, struct err *e)
{
	size_t digits = id_digits(revision);
	git_reference *ref = NULL;
	int r;

	if (!*revision || strcmp(revision, "HEAD") == 0)
		return resolve_head(h, ret, e);
	if (digits == GIT_OID_HEXSZ)
		return resolve_id(h, revision, digits, ret, e);
	r = git_reference_dwim(&ref, h->repo, revision);
	if (r == 0)
		return fill_from_ref(h, ref, revision, ret, e);
	if (r != GIT_ENOTFOUND && r != GIT_EINVALIDSPEC)
		return damaged(revision, e);
	if (digits)
		return resolve_id(h, revision, digits, ret, e);
	return resolve_expression(h, revision, ret, e);
}

int gitrepo_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e)
{
	const struct gitrepo_wait wait = {NULL, deadline_ns};
	struct gitrepo *g = impl;
	int r;

	r = gitrepo_check_form(revision, e);
	if (r < 0)
		return r;
	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		bool doubtful;

		r = gitrepo_take(g, again, &wait, &h);
		if (r < 0)
			return err_set(
				e, r, NULL, "%s cannot be opened: %s", g->path, gitrepo_message());
		*ret = (struct origin_revision){0};
		r = resolve_with(h, revision, ret, e);
		doubtful = r == -ENOENT || r == -EIO; /* see origin_git_read.c */
		gitrepo_give(g, h, doubtful);
		if (!doubtful || again)
			return r;
	}
}

static bool has_commit(struct gitrepo_handle *h, const git_oid *id)
{
	git_commit *commit = NULL;
	int r = git_commit_lookup(&commit, h->repo, id);

	git_commit_free(commit);
	return r != GIT_ENOTFOUND;
}

static int merge_base_with(
	struct gitrepo_handle *h, const struct oid commits[2], struct oid *ret_base, struct err *e)
{
	git_oid one, two, base;
	int r;

	if (commits[0].len != GIT_OID_RAWSZ || commits[1].len != GIT_OID_RAWSZ)
		return err_set(e, -EINVAL, "REVISION_NOT_A_COMMIT", "not commits of Git");
	memcpy(one.id, commits[0].bytes, GIT_OID_RAWSZ);
	memcpy(two.id, commits[1].bytes, GIT_OID_RAWSZ);
	if (!has_commit(h, &one) || !has_commit(h, &two))
		return err_set(e, -ENOENT, "REVISION_NOT_FOUND",
			"the repository does not have the commit");
	r = git_merge_base(&base, h->repo, &one, &two);
	if (r == 0) {
		*ret_base = gitrepo_oid(&base);
		return 0;
	}
	if (r == GIT_ENOTFOUND)
		return err_set(e, -ENOENT, "NO_MERGE_BASE",
			"the change list and the revision have no commit in common");
	return err_set(
		e, gitrepo_errno(r), NULL, "the history cannot be read: %s", gitrepo_message());
}

int gitrepo_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e)
{
	const struct gitrepo_wait wait = {NULL, deadline_ns};
	struct gitrepo *g = impl;

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		int r = gitrepo_take(g, again, &wait, &h);

		if (r < 0)
			return err_set(
				e, r, NULL, "%s cannot be opened: %s", g->path, gitrepo_message());
		r = merge_base_with(h, commits, ret_base, e);
		gitrepo_give(g, h, r < 0);
		if (r == 0 || again)
			return r;
	}
}
