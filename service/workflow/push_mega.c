/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push to a Mega server. It takes one commit over the main of the workspace's directory, and makes
 * a change list of it, or moves the one that the user has open there; main stays where it is.
 *
 * So the workspace's commits become one: with the directory's tree, over the commit that the server
 * advertises as main, which must have the tree that the workspace began with. It is made of nothing
 * but those commits, so a repeated push is the same commit, and is found among the change lists if
 * it arrived before. The server does not tell the link: it is the ref with that commit.
 */
#include "workflow/push.h"

#include "workflow/commits.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <errno.h>
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define COMMITS_MAX 1000u
#define COMMIT_MAX  (4u << 20)
#define LISTS_MAX   100000u
#define PREFIX      "refs/cl/"

struct mega_push {
	struct wf *w;
	struct wf_thin thin;
	wf_push_fn progress;
	void *arg;
	struct wf_push_result *result;
	struct oid main, tree, commit; /* the directory's; what is pushed */
	struct wf_push_progress done;
	git_packbuilder *pack;
};

static int tell(struct mega_push *p)
{
	return p->progress ? p->progress(p->arg, &p->done) : 0;
}

/* ---- the server's refs ---- */

struct looking {
	const struct oid *commit; /* which change list has this one? */
	char found[65];
	unsigned count;
};

static int note_ref(void *arg, const struct origin_ref *ref)
{
	struct looking *l = arg;
	const char *link = ref->name + strlen(PREFIX);

	if (strncmp(ref->name, PREFIX, strlen(PREFIX)) != 0)
		return 0;
	if (l->count++ == LISTS_MAX)
		return -EFBIG;
	if (oid_equal(&ref->oid, l->commit) && strlen(link) < sizeof(l->found))
		(void)snprintf(l->found, sizeof(l->found), "%s", link);
	return 0;
}

/* All links, one after the other, for "was it there before?" */
struct links {
	struct buf text; /* " a b c " */
};

static int note_link(void *arg, const struct origin_ref *ref)
{
	struct links *l = arg;

	if (strncmp(ref->name, PREFIX, strlen(PREFIX)) != 0)
		return 0;
	return buf_printf(&l->text, "%s ", ref->name + strlen(PREFIX));
}

static int look(struct mega_push *p, origin_ref_fn fn, void *arg)
{
	struct wf *w = p->w;
	int r = origin_refs(w->origin, w->use->path, w->use->deadline_ns, fn, arg);

	if (r == -EOPNOTSUPP || r == -ENOENT)
		return err_set(w->e, -ENOENT, "ORIGIN_NOT_FOUND",
			"origin %s does not serve the directory /%.200s to Git", w->use->origin,
			w->use->path);
	if (r < 0)
		return err_set(w->e, r == -EACCES ? r : -EHOSTUNREACH,
			r == -EACCES ? "PUSH_DENIED" : "ORIGIN_UNAVAILABLE",
			"origin %s cannot be asked for its change lists: %s", w->use->origin,
			strerror(-r));
	return 0;
}

/* The directory's main must have what the workspace began with. */
static int check_main(struct mega_push *p)
{
	struct wf *w = p->w;
	const struct oid *base = w->use->has_change_list ? &w->list.base : &w->use->root;
	struct origin_change main;
	struct origin_revision rev;
	char hex[OID_HEX_MAX];
	int r = origin_find_change(w->origin, NULL, w->use->path, w->use->deadline_ns, &main);

	if (r == 0)
		r = storage_resolve(w->storage, w->origin, oid_hex(&main.commit, hex),
			w->use->deadline_ns, &rev, NULL);
	if (r < 0)
		return err_set(w->e, r == -EACCES ? r : -EHOSTUNREACH,
			r == -EACCES ? "PUSH_DENIED" : "ORIGIN_UNAVAILABLE",
			"origin %s does not tell what the main of /%.200s is: %s", w->use->origin,
			w->use->path, strerror(-r));
	p->main = main.commit;
	(void)oid_hex(&p->main, p->result->old);
	if (oid_equal(&rev.root, base))
		return 0;
	r = err_set(w->e, -EBUSY, "NON_FAST_FORWARD",
		"/%.200s has moved on the server since the workspace's revision; rebase it first",
		w->use->path);
	err_meta(w->e, "old", p->result->old);
	return r;
}

/* ---- the one commit ---- */

static int add_message(const struct wf_parsed_commit *c, char **message)
{
	char *joined;

	/* from HEAD down: older ones go before */
	if (asprintf(&joined, "%s%s%s", c->message, *message ? "\n" : "",
		    *message ? *message : "") < 0)
		return -ENOMEM;
	free(*message);
	*message = joined;
	return strlen(joined) > COMMIT_MAX / 2 ? -EFBIG : 0;
}

/* Of all commits of the workspace, the oldest first. */
static int join_messages(struct wf *w, char **ret_message)
{
	_cleanup_free_ char *message = NULL;
	struct oid at = w->state.head;
	int r = 0;

	for (unsigned i = 0; r == 0 && !oid_equal(&at, &w->use->commit); i++) {
		struct wf_parsed_commit c;

		r = i == COMMITS_MAX ? -EFBIG : wf_commit_read(w, &at, &c);
		if (r < 0)
			return r == -ENOENT ? -EIO : r;
		r = add_message(&c, &message);
		at = c.parent;
		wf_parsed_commit_fini(&c);
	}
	*ret_message = TAKE_PTR(message);
	return r;
}

static int make_commit(struct mega_push *p)
{
	_cleanup_free_ char *message = NULL;
	struct wf_parsed_commit head;
	char tree[OID_HEX_MAX], main[OID_HEX_MAX];
	struct buf b;
	int r = join_messages(p->w, &message);

	if (r == 0)
		r = wf_commit_read(p->w, &p->w->state.head, &head);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	buf_init(&b, COMMIT_MAX);
	r = buf_printf(&b, "tree %s\nparent %s\nauthor %s\ncommitter %s\n\n%s",
		oid_hex(&p->tree, tree), oid_hex(&p->main, main), head.author, head.committer,
		message);
	if (r == 0)
		r = digest_object(DIGEST_SHA1, OBJECT_COMMIT, b.data, b.len, &p->commit);
	if (r == 0)
		r = wf_odb_put(p->thin.odb, WF_COMMIT, b.data, b.len);
	buf_fini(&b);
	wf_parsed_commit_fini(&head);
	(void)oid_hex(&p->commit, p->result->new);
	return r;
}

/* ---- the pack ---- */

static int insert(struct mega_push *p, const struct oid *oid)
{
	git_oid id;

	memcpy(id.id, oid->bytes, sizeof(id.id));
	p->done.objects++;
	return git_packbuilder_insert(p->pack, &id, NULL) < 0 ? -EIO : 0;
}

/* What the workspace made; all else came from the server. */
static int insert_tree(struct mega_push *p, const struct oid *tree, const struct oid *base)
{
	struct wf_dir dir, old;
	int r;

	if (oid_equal(tree, base) || !wf_odb_has(p->w, tree))
		return 0;
	r = insert(p, tree);
	if (r == 0)
		r = wf_check(p->w);
	if (r == 0)
		r = wf_load_dir(p->w, tree, &dir);
	if (r < 0)
		return r;
	r = wf_load_dir(p->w, base, &old);
	for (size_t i = 0; r == 0 && i < dir.count; i++) {
		static const struct oid none;
		const struct wf_node *node = &dir.entries[i].node;
		const struct wf_dirent *was =
			wf_dir_find(&old, dir.entries[i].name, dir.entries[i].len);

		if (wf_is_dir(node))
			r = insert_tree(p, &node->oid,
				was && wf_is_dir(&was->node) ? &was->node.oid : &none);
		else if (node->mode != WF_MODE_GITLINK && !(was && wf_same(node, &was->node)) &&
			 wf_odb_has(p->w, &node->oid))
			r = insert(p, &node->oid);
	}
	wf_dir_fini(&dir);
	wf_dir_fini(&old); /* empty after a failure */
	return r;
}

static int push_pack(struct mega_push *p, const git_buf *pack)
{
	struct wf *w = p->w;
	const struct origin_push push = {.path = w->use->path,
		.old = p->main,
		.commit = p->commit,
		.pack = pack->ptr,
		.len = pack->size,
		.cancel = w->use->cancel,
		.deadline_ns = w->use->deadline_ns};
	char why[256] = "";
	int r;

	p->done.phase = WF_PUSH_WRITING;
	p->done.total = p->done.objects;
	p->done.bytes = pack->size;
	r = tell(p);
	if (r == 0)
		r = origin_push(w->origin, &push, why, sizeof(why));
	if (r == -EPERM) {
		bool moved = strstr(why, "conflict") || strstr(why, "stale");

		return err_set(w->e, -EBUSY, moved ? "NON_FAST_FORWARD" : "PUSH_REFUSED",
			"the server refused the push to /%.128s: %.200s", w->use->path, why);
	}
	if (r == -EACCES)
		return err_set(w->e, r, "PUSH_DENIED",
			"origin %s does not accept the credentials that are configured: %.200s",
			w->use->origin, why);
	if (r < 0 && w->e)
		(void)snprintf(w->e->message, sizeof(w->e->message), "%s", why);
	return r;
}

static int pack_and_push(struct mega_push *p)
{
	const struct oid *base = p->w->use->has_change_list ? &p->w->list.base : &p->w->use->root;
	git_repository *repository = NULL;
	git_buf pack = {0};
	int r = -EIO;

	p->done.phase = WF_PUSH_COUNTING;
	if (git_repository_open(&repository, p->thin.dir) == 0 &&
		git_packbuilder_new(&p->pack, repository) == 0)
		r = insert(p, &p->commit);
	if (r == 0)
		r = insert_tree(p, &p->tree, base);
	if (r == 0)
		r = tell(p);
	if (r == 0 && git_packbuilder_write_buf(&pack, p->pack) < 0)
		r = -EIO;
	if (r == 0)
		r = push_pack(p, &pack);
	git_buf_dispose(&pack);
	git_packbuilder_free(p->pack);
	git_repository_free(repository);
	return r;
}

/* ---- the verb ---- */

static bool was_there(struct links *before, const char *link)
{
	char word[80];

	(void)snprintf(word, sizeof(word), " %s ", link);
	return strstr(buf_cstr(&before->text), word);
}

/* Which change list it became; also whether it arrived, if there was no answer. */
static int find_list(struct mega_push *p, struct links *before, int pushed)
{
	struct looking l = {.commit = &p->commit};
	char why[256] = "";
	int r;

	if (pushed < 0 && p->w->e)
		(void)snprintf(why, sizeof(why), "%.255s", p->w->e->message);
	r = look(p, note_ref, &l);
	if (r < 0 && pushed < 0)
		return err_set(p->w->e, -ECONNRESET, "PUSH_OUTCOME_UNKNOWN",
			"the server did not answer, and cannot be asked what it did; push again: "
			"%.200s",
			why);
	if (r < 0)
		return r;
	if (!l.found[0])
		return err_set(p->w->e, -ECONNRESET,
			pushed < 0 ? "PUSH_LOST" : "PUSH_OUTCOME_UNKNOWN",
			"the server has no change list with the commit; push again: %.200s", why);
	if (p->w->e)
		*p->w->e = (struct err){.code = 0};
	(void)snprintf(p->result->change_list, sizeof(p->result->change_list), "%s", l.found);
	p->result->created = !was_there(before, l.found);
	return 0;
}

static int run(struct mega_push *p, struct links *before)
{
	int r = check_main(p);

	if (r == 0)
		r = wf_thin_init(&p->thin, p->w);
	if (r == 0)
		r = make_commit(p);
	if (r == 0) {
		struct looking l = {.commit = &p->commit};

		(void)buf_puts(&before->text, " "); /* the buffer remembers a failure */
		r = look(p, note_ref, &l);
		if (r == 0 && l.found[0]) {
			p->result->up_to_date = true;
			(void)snprintf(p->result->change_list, sizeof(p->result->change_list), "%s",
				l.found);
			return 0;
		}
	}
	if (r == 0)
		r = look(p, note_link, before);
	if (r == 0)
		r = pack_and_push(p);
	/* an answer that was lost, or none; what the server refused is known */
	if (r == 0 || !(p->w->e && p->w->e->code))
		r = find_list(p, before, r);
	return r;
}

int wf_push_mega(struct wf *w, const struct wf_push_request *rq, const struct wf_push_listener *l,
	struct wf_push_result *result)
{
	struct mega_push p = {.w = w,
		.progress = l->progress,
		.arg = l->arg,
		.result = result,
		.tree = w->state.tree};
	struct links before;
	int r;

	if (rq->ref && rq->ref[0] && strcmp(rq->ref, "main") != 0 &&
		strcmp(rq->ref, "refs/heads/main") != 0)
		return err_field(w->e, "ref",
			"a Mega server takes pushes to main only, and makes change lists of them");
	if (rq->force_with_lease && rq->force_with_lease[0])
		return err_field(w->e, "force_with_lease", "is nothing that a Mega server knows");
	if (!w->origin)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s cannot be opened", w->use->origin);
	if (oid_is_none(&p.tree))
		return err_set(w->e, -EBUSY, "PUSH_REFUSED",
			"a Mega server has no directories without files");
	(void)snprintf(result->ref, sizeof(result->ref), "refs/heads/main");
	buf_init(&before.text, 16u << 20);
	r = run(&p, &before);
	buf_fini(&before.text);
	wf_thin_fini(&p.thin);
	return r;
}
