/* SPDX-License-Identifier: Apache-2.0 */
/* See replay.h. On the verb's thread; blocks on the origin for what is not local. */
#include "workflow/replay.h"

#include "workflow/commits.h"
#include "workflow/merge.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/origin.h>
#include <string.h>

#define COMMITS_MAX 10000u
#define COMMIT_MAX  (2u << 20)

/* Where the replay stands. */
struct position {
	struct oid commit, root, tree; /* root: of the whole repository; none: not known yet */
};

struct replay {
	struct wf *w;
	const struct wf_replay *rp;
	struct oid *line; /* the workspace's commits, oldest first */
	size_t count;
	struct position at;
	int64_t now_s;
	struct wf_replayed *out;
};

/* ---- which ---- */

static int find_line(struct replay *x)
{
	struct oid at = x->w->state.head;
	size_t cap = 0;
	int r = 0;

	while (r == 0 && !oid_equal(&at, &x->w->use->commit)) {
		if (x->count == COMMITS_MAX)
			return err_set(x->w->e, -EFBIG, "TOO_MANY_COMMITS",
				"more than %u commits would have to be made anew", COMMITS_MAX);
		if (x->count == cap) {
			struct oid *more;

			cap = cap ? 2 * cap : 16;
			more = reallocarray(x->line, cap, sizeof(*more));
			if (!more)
				return -ENOMEM;
			x->line = more;
		}
		x->line[x->count++] = at;
		r = wf_commit_parent(x->w, &at, &at);
	}
	for (size_t i = 0; i < x->count / 2; i++) {
		struct oid swap = x->line[i];

		x->line[i] = x->line[x->count - 1 - i];
		x->line[x->count - 1 - i] = swap;
	}
	return r == -ENOENT ? -EIO : r;
}

/* Is it below the new base? It is when it was pushed. */
static int is_below(struct replay *x, const struct oid *commit, bool *ret_below)
{
	const struct oid both[2] = {*commit, x->rp->base};
	struct err why = {0};
	struct oid found;
	int r;

	*ret_below = oid_equal(commit, &x->rp->base);
	if (*ret_below)
		return 0;
	if (!x->w->origin)
		return -EHOSTUNREACH;
	if (origin_caps(x->w->origin) & ORIGIN_CAP_CHANGE_LISTS)
		return 0; /* there it came back as another commit */
	r = origin_merge_base(x->w->origin, both, x->w->use->deadline_ns, &found, &why);
	if (r == 0)
		*ret_below = oid_equal(&found, commit);
	else if (r != -ENOENT && r != -EOPNOTSUPP) {
		if (x->w->e)
			*x->w->e = why;
		return r;
	}
	return 0;
}

/* How many of the line, from the oldest, are there already. */
static int find_first(struct replay *x, size_t *ret_first)
{
	size_t lo = 0, hi = x->count;
	bool below = false;
	int r = 0;

	if (hi) /* mostly none is */
		r = is_below(x, &x->line[0], &below);
	if (r < 0 || !below) {
		*ret_first = 0;
		return r;
	}
	for (lo = 1; r == 0 && lo < hi;) {
		size_t mid = lo + (hi - lo) / 2;

		r = is_below(x, &x->line[mid], &below);
		if (below)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_first = lo;
	return r;
}

/* ---- one commit ---- */

static int build(
	struct replay *x, const struct wf_parsed_commit *c, const struct oid *root, struct buf *b)
{
	struct wf_signature committer = {.name = NULL};
	_cleanup_free_ char *memory = NULL;
	char hex[OID_HEX_MAX];
	int r = 0;

	if (x->rp->committer && x->rp->committer->name) {
		committer = *x->rp->committer;
	} else {
		r = wf_signature_parse(c->committer, &committer, &memory);
		committer.has_time = false;
	}
	if (r < 0)
		return r == -EBADMSG ? -EIO : r;
	(void)buf_printf(b, "tree %s\n", oid_hex(root, hex)); /* the buffer remembers a failure */
	(void)buf_printf(b, "parent %s\n", oid_hex(&x->at.commit, hex));
	(void)buf_printf(b, "author %s\n", c->author);
	wf_signature_put(b, "committer", &committer, x->now_s);
	(void)buf_printf(b, "\n%s", c->message);
	return buf_error(b);
}

static int write_commit(struct replay *x, const struct wf_parsed_commit *c, const struct oid *tree)
{
	struct position next = {.tree = *tree};
	struct buf b;
	int r = oid_is_none(&x->at.root) ? wf_root_of_base(x->w, &x->at.commit, &x->at.root) : 0;

	if (r == 0)
		r = wf_root_with(x->w, &x->at.root, tree, &next.root);
	if (r < 0)
		return r;
	buf_init(&b, COMMIT_MAX);
	r = build(x, c, &next.root, &b);
	if (r == 0)
		r = wf_odb_write(x->w, WF_COMMIT, b.data, b.len, &next.commit);
	buf_fini(&b);
	if (r == 0)
		x->at = next;
	return r;
}

/* The commit's change, merged into what came before. */
static int merge(struct replay *x, const struct oid *commit, const struct wf_parsed_commit *c,
	struct oid *ret_tree, bool *ret_empty)
{
	char of[64], hex[OID_HEX_MAX];
	struct wf_merge m = {.ours = x->at.tree,
		.choice = x->rp->choice,
		.of = of,
		.conflicts = x->rp->conflicts};
	int r = wf_commit_tree(x->w, &c->parent, &m.base);

	(void)snprintf(of, sizeof(of), " (commit %.12s)", oid_hex(commit, hex));
	if (r == 0)
		r = wf_subtree(x->w, &c->tree, &m.theirs);
	if (r == 0)
		r = wf_merge(x->w, &m, ret_tree);
	if (r == 0) /* as Git does: what was empty from the start stays */
		*ret_empty = oid_equal(ret_tree, &x->at.tree) && !oid_equal(&m.base, &m.theirs);
	return r;
}

static int replay_one(struct replay *x, const struct oid *commit, struct wf_rebased *ret)
{
	struct wf_parsed_commit c;
	bool empty = false;
	struct oid tree;
	int r = wf_commit_read(x->w, commit, &c);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	if (oid_equal(&c.parent, &x->at.commit)) {
		r = wf_subtree(x->w, &c.tree, &tree);
		if (r == 0)
			x->at = (struct position){*commit, c.tree, tree};
	} else {
		r = merge(x, commit, &c, &tree, &empty);
		if (r == 0 && !empty && !x->rp->conflicts->count)
			r = write_commit(x, &c, &tree);
	}
	wf_parsed_commit_fini(&c);
	*ret = (struct wf_rebased){.commit = ""};
	(void)oid_hex(commit, ret->old);
	if (!empty)
		(void)oid_hex(&x->at.commit, ret->commit);
	return r;
}

/* ---- all ---- */

static int run(struct replay *x)
{
	size_t first = 0;
	int r = find_line(x);

	if (r == 0)
		r = find_first(x, &first);
	if (r < 0 || !x->count)
		return r;
	x->out->commits = calloc(x->count, sizeof(*x->out->commits));
	if (!x->out->commits)
		return -ENOMEM;
	x->out->count = x->count;
	for (size_t i = 0; i < first; i++) {
		(void)oid_hex(&x->line[i], x->out->commits[i].old);
		(void)oid_hex(&x->line[i], x->out->commits[i].commit);
	}
	/* after a conflict nothing that comes is as it would be */
	for (size_t i = first; r == 0 && i < x->count && !x->rp->conflicts->count; i++) {
		r = wf_check(x->w);
		if (r == 0)
			r = replay_one(x, &x->line[i], &x->out->commits[i]);
	}
	return r;
}

int wf_replay(struct wf *w, const struct wf_replay *rp, struct wf_replayed *ret)
{
	struct replay x = {.w = w,
		.rp = rp,
		.at = {.commit = rp->base, .tree = rp->tree},
		.now_s = (int64_t)(clock_wall_ns(&clock_system) / NS_PER_S),
		.out = ret};
	int r;

	*ret = (struct wf_replayed){.commits = NULL};
	r = run(&x);
	free(x.line);
	if (r < 0)
		wf_replayed_fini(ret);
	ret->head = x.at.commit;
	ret->tree = x.at.tree;
	return r;
}

void wf_replayed_fini(struct wf_replayed *r)
{
	free(r->commits);
	*r = (struct wf_replayed){.commits = NULL};
}
