/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of a Mega server. What is stored under a tree's id is always the tree of that id:
 *
 *	1. /file/tree?path=P&oid=T   the tree object itself, if the head of the branch still has it
 *	                             at P: one request, modes included, verified by its hash;
 *	2. /tree/content-hash?path=P&refs=C   the names and ids at the pinned commit, without modes:
 *	                             modes are found by the hash (mega_modes.h), with those of the
 *	                             head as hints.
 *
 * A server may answer for another state than asked for: directories of imported repositories ignore
 * the commit. Then no modes lead to T. That is drift: -EIO, counted and logged, never shown.
 *
 * Threads: any that may block.
 */
#include "origin/mega_internal.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "origin/mega_modes.h"
#include "origin/raw_tree.h"
#include "storage/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TREE_MAX_BYTES (64u << 20)
#define TELL_EVERY_NS  (10 * NS_PER_S)

static void count(struct counter *c)
{
	if (c)
		counter_add(c, 1);
}

/* Drift is the server's fault and hits files that nobody changed; who looks for the cause of an EIO
 * needs to find it in the log. Not more often than each ten seconds. */
static void tell_drift(struct mega *m, const struct mega_place *place, const struct oid *want)
{
	char commit[OID_HEX_MAX], tree[OID_HEX_MAX];
	uint64_t now_ns = clock_mono_ns(&clock_system);
	bool tell;

	count(m->drift);
	lock_acquire(&m->lock);
	tell = !m->told_ns || now_ns - m->told_ns >= TELL_EVERY_NS;
	if (tell)
		m->told_ns = now_ns;
	lock_release(&m->lock);
	if (tell)
		log_warn("mega_drift", LOG_S("origin", m->name), LOG_S("path", place->path),
			LOG_S("commit", oid_hex(&place->commit, commit)),
			LOG_S("tree", oid_hex(want, tree)));
}

/* Where the head of the branch may have it. */
static char *path_at_head(struct mega *m, const struct mega_place *place)
{
	struct mega_root root;
	const char *at = place->at;
	char *path;

	if (!at)
		at = mega_memory_root(m->memory, &place->commit, &root) == 0 ? root.at : "";
	return asprintf(&path, "%s%s%s", at, *at && *place->path ? "/" : "", place->path) < 0
		       ? NULL
		       : path;
}

/* The tree object at the head, if it is `want` or that is NULL: else `out` is left empty. */
static int fetch_head(struct mega *m, const struct mega_place *place, const struct oid *want,
	const struct mega_wait *wait, struct buf *out)
{
	_cleanup_free_ char *path = path_at_head(m, place);
	struct http_answer answer = {0};
	struct buf url;
	int r;

	if (!path)
		return -ENOMEM;
	buf_init(&url, 65536);
	mega_url_tree(&url, m, path, want);
	r = buf_error(&url);
	if (r == 0)
		r = mega_get(m, buf_cstr(&url), wait, &answer);
	buf_fini(&url);
	buf_clear(out);
	if (r == 0 && want && answer.body.len > 0 &&
		digest_verify(want, OBJECT_TREE, answer.body.data, answer.body.len) < 0)
		count(m->lies);
	else if (r == 0)
		r = buf_append(out, answer.body.data, answer.body.len);
	http_answer_fini(&answer);
	return r;
}

static int fetch_listing(struct mega *m, const struct mega_place *place,
	const struct mega_wait *wait, struct mega_listing *ret_listing)
{
	struct http_answer answer = {0};
	struct buf url;
	int r;

	buf_init(&url, 65536);
	mega_url_listing(&url, m, place);
	r = buf_error(&url);
	if (r == 0)
		r = mega_get(m, buf_cstr(&url), wait, &answer);
	buf_fini(&url);
	if (r == 0)
		r = mega_json_listing(answer.body.data, answer.body.len, ret_listing);
	http_answer_fini(&answer);
	return r;
}

/* Modes of the head's entries. The names stay in `head`. */
static int take_hints(
	const struct buf *head, uint8_t oid_len, struct mega_hint **ret_hints, size_t *ret_count)
{
	struct mega_hint *hints = calloc(head->len / (8u + oid_len) + 1, sizeof(*hints));
	struct raw_tree raw = raw_tree_begin(head->data, head->len, oid_len);
	struct raw_tree_entry entry;
	size_t n = 0;

	if (!hints)
		return -ENOMEM;
	while (raw_tree_next(&raw, &entry) > 0) { /* malformed: the hints before it */
		uint32_t mode = S_ISLNK(entry.mode)                              ? 0120000
				: S_ISDIR(entry.mode) && oid_is_none(&entry.oid) ? 0160000
										 : entry.mode;

		hints[n++] = (struct mega_hint){entry.name, entry.name_len, mode};
	}
	*ret_hints = hints;
	*ret_count = n;
	return 0;
}

/* The tree object of a listing, with the head's modes. */
static int guess(struct mega *m, const struct mega_place *place, const struct mega_listing *listing,
	const struct mega_wait *wait, struct buf *out)
{
	uint8_t oid_len = listing->count ? listing->entries[0].oid.len : 20;
	struct mega_hint *hints = NULL;
	size_t hint_count = 0;
	struct buf head;
	int r;

	for (size_t i = 0; i < listing->count; i++)
		if (listing->entries[i].oid.len != oid_len)
			return -EIO;
	buf_init(&head, TREE_MAX_BYTES);
	r = fetch_head(m, place, NULL, wait, &head);
	if (r == 0 || r == -ENOENT) /* nothing there any more: no hints */
		r = take_hints(&head, oid_len, &hints, &hint_count);
	if (r == 0)
		r = mega_modes_guess(listing, hints, hint_count, out);
	free(hints);
	buf_fini(&head);
	return r;
}

int mega_fetch_tree(struct mega *m, const struct mega_place *place, const struct oid *want,
	const struct mega_wait *wait, struct buf *out)
{
	struct mega_listing listing = {0};
	int r = want ? fetch_head(m, place, want, wait, out) : 0;

	if ((r < 0 && r != -ENOENT) || (want && out->len > 0))
		return r;
	r = fetch_listing(m, place, wait, &listing);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	/* An empty list stands for a path that is not there; only a root can be empty in Git. */
	if (listing.count == 0 && *place->path)
		r = -EBADMSG;
	if (r == 0)
		r = guess(m, place, &listing, wait, out);
	if (r == 0 && want)
		r = mega_modes_solve(out, want);
	mega_listing_fini(&listing);
	if (r == -EBADMSG) {
		tell_drift(m, place, want);
		r = -EIO;
	}
	return r;
}

/* The entries of one directory while it is put together. */
struct gathering {
	struct raw_tree_entry *entries;
	struct oid *blobs; /* none where there is no size to ask for */
	uint64_t *sizes;
	size_t count;
};

static void gathering_fini(struct gathering *g)
{
	free(g->entries);
	free(g->blobs);
	free(g->sizes);
}

static int gather(const struct buf *tree, uint8_t oid_len, struct gathering *g)
{
	struct raw_tree raw = raw_tree_begin(tree->data, tree->len, oid_len);
	size_t max = tree->len / (8u + oid_len) + 1;
	int r;

	g->entries = calloc(max, sizeof(*g->entries));
	g->blobs = calloc(max, sizeof(*g->blobs));
	g->sizes = calloc(max, sizeof(*g->sizes));
	if (!g->entries || !g->blobs || !g->sizes)
		return -ENOMEM;
	while ((r = raw_tree_next(&raw, &g->entries[g->count])) > 0) {
		if (!S_ISDIR(g->entries[g->count].mode))
			g->blobs[g->count] = g->entries[g->count].oid;
		g->count++;
	}
	return r;
}

static int build(const struct gathering *g, struct tree_builder *builder)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->count; i++) {
		const struct tree_builder_entry entry = {
			.name = g->entries[i].name,
			.name_len = g->entries[i].name_len,
			.mode = g->entries[i].mode,
			.oid = g->entries[i].oid,
			.size_known = true,
			.size = g->sizes[i],
		};

		r = tree_builder_add(builder, &entry);
	}
	return r;
}

/* Where the directories in this one are. */
static int note_places(
	const struct gathering *g, const struct mega_place *place, struct mega_facts *facts)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->count; i++) {
		const struct raw_tree_entry *entry = &g->entries[i];
		const struct mega_child child = {entry->name, entry->name_len, entry->oid};

		if (S_ISDIR(entry->mode) && !oid_is_none(&entry->oid))
			r = mega_note_place(facts, place, &child);
	}
	return r;
}

static int read_entries(struct mega *m, const struct mega_place *place, const struct buf *tree,
	const struct mega_wait *wait, struct tree_builder *builder)
{
	struct mega_facts *facts = mega_facts_new();
	struct gathering g = {0};
	int r = facts ? gather(tree, place->commit.len, &g) : -ENOMEM;

	if (r == 0)
		r = mega_fetch_sizes(m, g.blobs, g.count, wait, g.sizes, facts);
	if (r == 0)
		r = build(&g, builder);
	if (r == 0)
		r = note_places(&g, place, facts);
	if (r == 0)
		r = mega_memory_learn(m->memory, facts);
	gathering_fini(&g);
	(void)mega_facts_free(facts);
	return r;
}

int mega_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct mega_wait wait = {cancel, deadline_ns};
	struct mega *m = impl;
	struct mega_place place;
	struct buf raw;
	int r = mega_memory_place(m->memory, tree, &place);

	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	buf_init(&raw, TREE_MAX_BYTES);
	r = mega_fetch_tree(m, &place, tree, &wait, &raw);
	if (r == 0)
		r = read_entries(m, &place, &raw, &wait, builder);
	buf_fini(&raw);
	free(place.path);
	return r == -ENOENT ? -EIO : r;
}

int mega_read_raw(void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len)
{
	const struct mega_wait wait = {rq->cancel, rq->deadline_ns};
	struct mega *m = impl;
	struct mega_place place;
	struct buf raw;
	int r;

	if (rq->kind != OBJECT_TREE) /* the server has no such endpoint */
		return -EOPNOTSUPP;
	r = mega_memory_place(m->memory, &rq->oid, &place);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	buf_init(&raw, TREE_MAX_BYTES);
	r = mega_fetch_tree(m, &place, &rq->oid, &wait, &raw);
	if (r == 0) {
		*ret_len = raw.len;
		*ret_data = buf_take(&raw);
		r = *ret_data ? 0 : -ENOMEM;
	}
	buf_fini(&raw);
	free(place.path);
	return r == -ENOENT ? -EIO : r;
}
