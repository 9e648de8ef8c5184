/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revision → commit of a remote repository, by the rules of origin_git_resolve.c as far as they can
 * be kept without having the repository.
 *
 * Names of refs are asked of the server, and remembered for `refresh`; a full id needs no question
 * if that commit is here. The commit is then fetched with its trees. A short id or an expression
 * (HEAD~3) needs history: that is fetched when someone asks, commits only.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIPS_MAX 20000u

/* What is looked for among the refs, in Git's order. */
static const char *const folders[] = {"", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"};
#define FOLDER_COUNT (sizeof(folders) / sizeof(folders[0]))

struct question {
	char names[FOLDER_COUNT][300];
	unsigned count;
	unsigned best; /* index of the best answer so far; count: none */
	struct gitpkt_ref ref;
};

static int not_found(const char *revision, struct err *e)
{
	return err_set(e, -ENOENT, "REVISION_NOT_FOUND",
		"the server has no branch, tag, ref or commit \"%s\"; git ls-remote lists what it "
		"has",
		revision);
}

static int note_ref(void *arg, const struct gitpkt_ref *ref)
{
	struct question *q = arg;

	for (unsigned i = 0; i < q->best; i++)
		if (strcmp(ref->name, q->names[i]) == 0) {
			q->best = i;
			q->ref = *ref;
		}
	return 0;
}

static int ask_ref(void *arg, const struct gitwire *w)
{
	const char *prefixes[FOLDER_COUNT];
	struct question *q = arg;

	q->best = q->count;
	for (unsigned i = 0; i < q->count; i++)
		prefixes[i] = q->names[i];
	return gitwire_refs(w, prefixes, q->count, note_ref, q);
}

/* Whether what the server said at `asked_ns` may still be used. */
static bool fresh_locked(const struct gitremote *r, uint64_t asked_ns, uint64_t age_ns)
{
	return asked_ns > r->refreshed_ns && clock_mono_ns(&clock_system) - asked_ns < age_ns;
}

static bool remembered(struct gitremote *r, const char *name, struct gitremote_name *ret)
{
	LOCK_GUARD(&r->lock);

	for (unsigned i = 0; i < GITREMOTE_NAMES; i++)
		if (strcmp(r->names[i].name, name) == 0 &&
			fresh_locked(r, r->names[i].asked_ns, r->refresh_ns)) {
			*ret = r->names[i];
			return true;
		}
	return false;
}

/* In place of an older answer, or of the oldest. */
static void remember(struct gitremote *r, const struct gitremote_name *found)
{
	unsigned place = 0;
	LOCK_GUARD(&r->lock);

	for (unsigned i = 0; i < GITREMOTE_NAMES; i++) {
		if (strcmp(r->names[i].name, found->name) == 0) {
			place = i;
			break;
		}
		if (r->names[i].asked_ns < r->names[place].asked_ns)
			place = i;
	}
	r->names[place] = *found;
}

/* Any id: of a tag object if the server has not peeled it. -ENOENT without a message: no such ref.
 */
static int look_up(struct gitremote *r, const char *name, const struct gitrun_wait *wait,
	struct gitremote_name *ret, struct err *e)
{
	struct gitremote_name found = {.asked_ns = clock_mono_ns(&clock_system)};
	bool head = strcmp(name, "HEAD") == 0;
	struct question q = {.count = head ? 1 : FOLDER_COUNT};
	int err;

	if (remembered(r, name, ret))
		return 0;
	if (strlen(name) >= sizeof(found.name))
		return -ENOENT;
	for (unsigned i = 0; i < q.count; i++)
		(void)snprintf(q.names[i], sizeof(q.names[i]), "%s%s", folders[i], name);
	err = gitexchange_call(&r->x, ask_ref, &q, wait, e);
	if (err < 0)
		return err;
	if (q.best == q.count || q.ref.unborn)
		return head ? err_set(e, -ENOENT, "REPOSITORY_EMPTY",
				      "the repository's default branch has no commit; push one, or "
				      "name a revision")
			    : -ENOENT;
	(void)snprintf(found.name, sizeof(found.name), "%s", name);
	(void)snprintf(
		found.ref, sizeof(found.ref), "%s", q.ref.target[0] ? q.ref.target : q.ref.name);
	found.oid = q.ref.peeled.len ? q.ref.peeled : q.ref.oid;
	remember(r, &found);
	*ret = found;
	return 0;
}

static size_t hex_digits(const char *text)
{
	size_t digits = 0;

	while (isxdigit((unsigned char)text[digits]))
		digits++;
	return text[digits] || digits > GIT_OID_HEXSZ ? 0 : digits;
}

/* The reason of a batch's failure was the last one that the server gave. */
static int explain(struct gitremote *r, int err, const char *revision, struct err *e)
{
	struct err last = gitexchange_last(&r->x);

	if (err == -EIO && last.code == -ENXIO)
		return not_found(revision, e);
	if (last.code == err && e)
		*e = last;
	else
		(void)err_set(e, err, NULL, "the commit of \"%s\" cannot be fetched: %s", revision,
			strerror(-err));
	return err;
}

/* The commit with its trees is here. */
static int need_commit(struct gitremote *r, const struct oid *commit, const char *revision,
	const struct gitrepo_wait *wait, struct err *e)
{
	int err;

	if (gitmirror_has_commit(&r->mirror, commit)) {
		if (gitremote_here(r, commit))
			return 0;
		err = gitmirror_forget_commits(&r->mirror);
		if (err < 0)
			return err_set(e, err, NULL, "the list of commits cannot be removed");
	}
	err = gitremote_get(r, BATCH_COMMITS, commit, 1, wait);
	return err < 0 ? explain(r, err, revision, e) : 0;
}

static int commit_of(struct gitremote *r, const struct oid *oid, const char *suffix,
	uint64_t deadline_ns, struct origin_revision *ret, struct err *e)
{
	char expression[1200], hex[OID_HEX_MAX];

	(void)snprintf(expression, sizeof(expression), "%s%s", oid_hex(oid, hex), suffix);
	return gitrepo_resolve(r->repo, expression, deadline_ns, ret, e);
}

/* <id><suffix>: one that says where to go from a commit. */
static int follow(struct gitremote *r, const struct oid *oid, const char *suffix,
	const char *revision, const struct gitrepo_wait *wait, struct origin_revision *ret,
	struct err *e)
{
	int err;

	err = commit_of(r, oid, suffix, wait->deadline_ns, ret, e);
	if (err == -ENOENT || err == -EIO) {
		err = gitremote_fetch_history(r, oid, 1, wait, e);
		if (err < 0)
			return err == -ENXIO ? not_found(revision, e) : err;
		err = commit_of(r, oid, suffix, wait->deadline_ns, ret, e);
	}
	if (err < 0)
		return err == -ENOENT ? not_found(revision, e) : err;
	return need_commit(r, &ret->commit, revision, wait, e);
}

struct tips {
	struct oid *oids;
	size_t count;
};

static int note_tip(void *arg, const struct gitpkt_ref *ref)
{
	struct tips *tips = arg;

	if (!ref->unborn && tips->count < TIPS_MAX)
		tips->oids[tips->count++] = ref->oid;
	return 0;
}

static int ask_tips(void *arg, const struct gitwire *w)
{
	static const char *const prefixes[] = {"refs/heads/", "refs/tags/"};
	struct tips *tips = arg;

	tips->count = 0;
	return gitwire_refs(w, prefixes, 2, note_tip, tips);
}

/* The commits of all branches and tags, at most once each `refresh`. */
static int need_history(struct gitremote *r, const struct gitrepo_wait *wait, struct err *e)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	struct tips tips = {.oids = NULL};
	uint64_t now_ns = clock_mono_ns(&clock_system);
	bool fresh;
	int err;

	lock_acquire(&r->lock);
	fresh = fresh_locked(r, r->history_ns, r->refresh_ns);
	lock_release(&r->lock);
	if (fresh)
		return 0;
	tips.oids = calloc(TIPS_MAX, sizeof(*tips.oids));
	if (!tips.oids)
		return err_set(e, -ENOMEM, NULL, "no memory");
	err = gitexchange_call(&r->x, ask_tips, &tips, &run_wait, e);
	if (err == 0 && tips.count)
		err = gitremote_fetch_history(r, tips.oids, tips.count, wait, e);
	free(tips.oids);
	lock_acquire(&r->lock);
	if (err == 0)
		r->history_ns = now_ns;
	lock_release(&r->lock);
	return err;
}

static int resolve_short(struct gitremote *r, const char *revision, const struct gitrepo_wait *wait,
	struct origin_revision *ret, struct err *e)
{
	int err = need_history(r, wait, e);

	if (err == 0)
		err = gitrepo_resolve(r->repo, revision, wait->deadline_ns, ret, e);
	if (err == -ENOENT)
		return not_found(revision, e);
	return err < 0 ? err : need_commit(r, &ret->commit, revision, wait, e);
}

/* The part of a revision before what leads away from it. */
static size_t base_length(const char *revision)
{
	const char *reflog = strstr(revision, "@{");
	size_t len = strcspn(revision, "~^");

	return reflog && (size_t)(reflog - revision) < len ? (size_t)(reflog - revision) : len;
}

static int resolve_partial(struct gitremote *r, const char *revision,
	const struct gitrepo_wait *wait, struct origin_revision *ret, struct err *e)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	size_t len = base_length(revision);
	const char *suffix = revision + len;
	struct gitremote_name found = {.ref = ""};
	char base[1024];
	int err = 0;

	(void)snprintf(base, sizeof(base), "%.*s", (int)len, revision);
	if (!*base || strcmp(base, "@") == 0)
		(void)snprintf(base, sizeof(base), "HEAD");
	if (*suffix == '@')
		return err_set(e, -EINVAL, "REVISION_INVALID",
			"\"%s\" asks for a reflog, which a server does not show", revision);
	if (hex_digits(base) == GIT_OID_HEXSZ)
		err = oid_parse(base, &found.oid);
	else
		err = look_up(r, base, &run_wait, &found, e);
	if (err == -ENOENT && !(e && e->reason[0])) {
		if (hex_digits(base) >= 4 && !*suffix)
			return resolve_short(r, base, wait, ret, e);
		return not_found(revision, e);
	}
	if (err < 0)
		return err;
	if (*suffix)
		return follow(r, &found.oid, suffix, revision, wait, ret, e);
	err = need_commit(r, &found.oid, revision, wait, e);
	if (err == 0)
		err = commit_of(r, &found.oid, "", wait->deadline_ns, ret, e);
	/* an annotated tag by its own id: its commit came along */
	if (err == 0)
		err = need_commit(r, &ret->commit, revision, wait, e);
	if (err == 0)
		(void)snprintf(ret->ref, sizeof(ret->ref), "%s", found.ref);
	return err;
}

static bool all_is_fresh(struct gitremote *r, uint64_t age_ns)
{
	LOCK_GUARD(&r->lock);
	return fresh_locked(r, r->all_ns, age_ns);
}

/* Everything is here, no older than `refresh`; or a little older than that is good enough. */
static int need_all(struct gitremote *r, const char *revision, uint64_t age_ns,
	const struct gitrepo_wait *wait, struct err *e)
{
	static const struct oid everything = {.len = GIT_OID_RAWSZ};
	int err;

	if (all_is_fresh(r, age_ns))
		return 0;
	err = gitremote_get(r, BATCH_ALL, &everything, 1, wait);
	/* one that was under way may have begun before a refresh */
	if (err == 0 && !all_is_fresh(r, NS_NEVER))
		err = gitremote_get(r, BATCH_ALL, &everything, 1, wait);
	return err < 0 ? explain(r, err, revision, e) : 0;
}

static int resolve_mirror(struct gitremote *r, const char *revision,
	const struct gitrepo_wait *wait, struct origin_revision *ret, struct err *e)
{
	int err;

	/* a full id names the same commit for ever */
	if (hex_digits(revision) == GIT_OID_HEXSZ &&
		gitrepo_resolve(r->repo, revision, wait->deadline_ns, ret, NULL) == 0)
		return 0;
	err = need_all(r, revision, r->refresh_ns, wait, e);
	if (err == 0)
		err = gitrepo_resolve(r->repo, revision, wait->deadline_ns, ret, e);
	if (err != -ENOENT)
		return err;
	/* it may be new */
	err = need_all(r, revision, NS_PER_S, wait, e);
	return err < 0 ? err : gitrepo_resolve(r->repo, revision, wait->deadline_ns, ret, e);
}

/* Partial, if the server can; from then on that is known. */
static int choose(struct gitremote *r, const struct gitrepo_wait *wait, struct err *e)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	struct gitpkt_offer offer;
	int err = gitexchange_offer(&r->x, &run_wait, &offer, e);

	if (err == -EPROTONOSUPPORT) {
		gitremote_fall_back(r, "the server does not speak version 2 of Git's protocol");
		return 0;
	}
	if (err == 0 && !offer.filter)
		gitremote_fall_back(r, "the server does not allow filters "
				       "(uploadpack.allowFilter)");
	return err;
}

void gitremote_refresh(void *impl)
{
	struct gitremote *r = impl;
	LOCK_GUARD(&r->lock);

	r->refreshed_ns = clock_mono_ns(&clock_system);
}

int gitremote_probe(void *impl, const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrun_wait wait = {.cancel = cancel, .deadline_ns = deadline_ns};
	struct question q = {.names = {"HEAD"}, .count = 1};
	struct gitremote *r = impl;
	int err = gitexchange_call(&r->x, ask_ref, &q, &wait, NULL);

	return err == -EPROTONOSUPPORT ? 0 : err; /* it answers, in its own way */
}

int gitremote_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e)
{
	const struct gitrepo_wait wait = {NULL, deadline_ns};
	struct gitremote *r = impl;
	struct oid oid;
	int err = gitrepo_check_form(revision, e);

	if (err < 0)
		return err;
	/* what is pinned needs no server */
	if (hex_digits(revision) == GIT_OID_HEXSZ && oid_parse(revision, &oid) == 0 &&
		gitmirror_has_commit(&r->mirror, &oid) &&
		gitrepo_resolve(r->repo, revision, deadline_ns, ret, NULL) == 0)
		return 0;
	if (gitremote_partial(r)) {
		err = choose(r, &wait, e);
		if (err < 0)
			return err;
	}
	return gitremote_partial(r) ? resolve_partial(r, revision, &wait, ret, e)
				    : resolve_mirror(r, revision, &wait, ret, e);
}

/* Where two commits parted is in their history, which is here only if someone asked for it. */
int gitremote_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e)
{
	const struct gitrepo_wait wait = {NULL, deadline_ns};
	struct gitremote *r = impl;
	int err;

	if (oid_equal(&commits[0], &commits[1])) {
		*ret_base = commits[0];
		return 0;
	}
	if (gitremote_partial(r)) {
		err = gitremote_fetch_history(r, commits, 2, &wait, e);
		if (err < 0)
			return err == -ENXIO
				       ? err_set(e, -ENOENT, "REVISION_NOT_FOUND",
						 "the server does not have the commits any more")
				       : err;
	}
	return gitrepo_merge_base(r->repo, commits, deadline_ns, ret_base, e);
}
