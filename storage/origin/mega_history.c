/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of a Mega server's commits, and where two of them parted. The server tells commits
 * with their parents, a page at a time, so the history is walked from both commits until nothing is
 * left that one of them has and the other may have: on a line of commits that is as soon as the
 * page with the older one has come.
 *
 *	sides 1, 2   of which of the two commits it is an ancestor; 3: of both
 *	loaded       its parents are known; the others are asked for next
 *
 * The best ancestor of both is one that is no parent of such a one. Bounded by the number of pages.
 *
 * Threads: any that may block.
 */
#include "origin/http_url.h"
#include "origin/mega_internal.h"

#include "base/err.h"
#include "base/hashmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE      100u
#define PAGES_MAX 256u
#define BOTH      3u

int mega_fetch_history(struct mega *m, const struct mega_history_call *call)
{
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	struct http_request request = {.method = HTTP_POST,
		.headers = headers,
		.max_bytes = MEGA_JSON_MAX_BYTES,
		.deadline_ns = call->wait.deadline_ns};
	struct http_answer answer = {0};
	char body[256], hex[OID_HEX_MAX];
	struct buf url;
	int r;

	(void)snprintf(body, sizeof(body),
		"{\"pagination\":{\"page\":1,\"per_page\":%u},"
		"\"additional\":{\"path\":\"/\",\"refs\":\"%s\"}}",
		call->count, oid_hex(call->commit, hex));
	request.body = body;
	request.body_len = strlen(body);
	buf_init(&url, 65536);
	http_url_begin(&url, m->url, "/api/v1/commits/history");
	r = buf_error(&url);
	request.url = buf_cstr(&url);
	if (r == 0)
		r = http_perform(m->http, &request, call->wait.cancel, &answer);
	buf_fini(&url);
	if (r < 0 && answer.status == 400)
		r = -ENOENT; /* as it answers of commits that it does not know */
	if (r == 0)
		r = mega_json_history(answer.body.data, answer.body.len, call->fn, call->arg);
	http_answer_fini(&answer);
	return r;
}

/* ---- the graph, as far as it is known ---- */

struct node {
	struct node *next; /* in the order in which they were heard of */
	struct node *next_changed;
	struct oid oid;
	struct node **parents; /* `parent_count`, when it is loaded */
	size_t parent_count;
	unsigned sides;
	bool loaded, changed, beaten;
};

struct graph {
	struct hashmap map; /* oid_hash of each */
	struct node *first, **last;
	struct node *changed; /* whose sides their parents do not have yet */
	const struct oid *asked;
	bool answered;
};

/* -EIO: ids that were made to be confused. */
static int node_of(struct graph *g, const struct oid *oid, struct node **ret_node)
{
	struct node *n = hashmap_find(&g->map, oid_hash(oid));

	*ret_node = n;
	if (n)
		return oid_equal(&n->oid, oid) ? 0 : -EIO;
	n = calloc(1, sizeof(*n));
	if (!n || hashmap_insert(&g->map, oid_hash(oid), n) < 0) {
		free(n);
		return -ENOMEM;
	}
	n->oid = *oid;
	*g->last = n;
	g->last = &n->next;
	*ret_node = n;
	return 0;
}

static void graph_fini(struct graph *g)
{
	struct node *n;

	while ((n = g->first)) {
		g->first = n->next;
		free(n->parents);
		free(n);
	}
	hashmap_fini(&g->map);
}

static void add_sides(struct graph *g, struct node *n, unsigned sides)
{
	if ((n->sides | sides) == n->sides)
		return;
	n->sides |= sides;
	if (n->changed)
		return;
	n->changed = true;
	n->next_changed = g->changed;
	g->changed = n;
}

/* Ancestors have what their descendants have. */
static void spread_sides(struct graph *g)
{
	struct node *n;

	while ((n = g->changed)) {
		g->changed = n->next_changed;
		n->changed = false;
		for (size_t i = 0; i < n->parent_count; i++)
			add_sides(g, n->parents[i], n->sides);
	}
}

/* A mega_history_fn. */
static int take_commit(void *arg, const struct oid *commit, const struct oid *parents, size_t count)
{
	struct graph *g = arg;
	struct node *n;
	int r = node_of(g, commit, &n);

	if (r == 0 && !g->answered && !oid_equal(commit, g->asked))
		r = -EIO;
	g->answered = true;
	if (r < 0 || n->loaded)
		return r;
	n->parents = calloc(count + 1, sizeof(struct node *));
	if (!n->parents)
		return -ENOMEM;
	n->loaded = true;
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = node_of(g, &parents[i], &n->parents[i]);
		if (r == 0)
			add_sides(g, n->parents[n->parent_count++], n->sides);
	}
	return r;
}

/* The one to ask for next: what only one side is known to have. With `all`, what both have too. */
static const struct node *find_unknown(const struct graph *g, bool all)
{
	for (const struct node *n = g->first; n; n = n->next)
		if (!n->loaded && n->sides && (all || n->sides != BOTH))
			return n;
	return NULL;
}

/* How many best ancestors there are, as far as is known; the first of them. */
static unsigned find_best(struct graph *g, const struct node **ret_best)
{
	unsigned count = 0;

	for (const struct node *n = g->first; n; n = n->next)
		for (size_t i = 0; n->sides == BOTH && i < n->parent_count; i++)
			n->parents[i]->beaten = true;
	*ret_best = NULL;
	for (const struct node *n = g->first; n; n = n->next) {
		if (n->sides != BOTH || n->beaten)
			continue;
		count++;
		*ret_best = *ret_best ? *ret_best : n;
	}
	return count;
}

/* -E2BIG: the history is too long. */
static int walk(struct mega *m, struct graph *g, uint64_t deadline_ns, const struct node **ret_best)
{
	for (unsigned pages = 0;; pages++) {
		const struct node *unknown = find_unknown(g, false);
		int r;

		/* several: one of them may be above another, by commits that nobody needed so far
		 */
		if (!unknown && find_best(g, ret_best) > 1)
			unknown = find_unknown(g, true);
		if (!unknown)
			return 0;
		if (pages == PAGES_MAX)
			return -E2BIG;
		g->asked = &unknown->oid;
		g->answered = false;
		r = mega_fetch_history(m, &(struct mega_history_call){.commit = g->asked,
						  .count = PAGE,
						  .wait = {NULL, deadline_ns},
						  .fn = take_commit,
						  .arg = g});
		if (r < 0)
			return r;
		if (!g->answered)
			return -EIO;
		spread_sides(g);
	}
}

static int explain(const struct mega *m, int r, struct err *e)
{
	if (r == -ECANCELED || r == -ETIMEDOUT)
		return r; /* told by who called */
	if (r == -E2BIG)
		return err_set(e, -EFBIG, "TOO_MANY_COMMITS",
			"origin %s: more than %u commits lie between the change list and the "
			"revision; "
			"name a range, \"a..b\"",
			m->name, PAGE * PAGES_MAX);
	if (r == -ENOENT)
		return err_set(e, r, "REVISION_NOT_FOUND",
			"origin %s: the server does not tell the history of the commit; name a "
			"range, \"a..b\"",
			m->name);
	return err_set(e, r, "ORIGIN_UNAVAILABLE",
		"origin %s: the server does not tell its "
		"history: %s",
		m->name, strerror(-r));
}

int mega_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e)
{
	struct graph g = {.last = &g.first};
	const struct node *best = NULL;
	struct mega *m = impl;
	int r = 0;

	hashmap_init(&g.map);
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		struct node *n;

		r = node_of(&g, &commits[i], &n);
		if (r == 0)
			add_sides(&g, n, 1u << i);
	}
	if (r == 0)
		r = walk(m, &g, deadline_ns, &best);
	if (r < 0)
		r = explain(m, r, e);
	else if (!best)
		r = err_set(e, -ENOENT, "NO_MERGE_BASE",
			"the change list and the revision have no commit in common");
	else
		*ret_base = best->oid;
	graph_fini(&g);
	return r;
}
