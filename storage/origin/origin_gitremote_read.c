/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and blobs of a remote repository.
 *
 * The trees of a commit came with it. What a directory still needs are the sizes of its files: from
 * the server's object-info where it has that, otherwise by fetching the blobs, all of them in one
 * request. Who walks a tree in order would pay one round trip for each directory; so the more
 * directories are asked for in an order that was expected, the more of the following ones are asked
 * for at the same time (git_ahead.h); and likewise the files of one who reads them in the order in
 * which they were listed (git_order.h).
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define AHEAD_TREES 1024u /* directories looked at for one request, at most */
#define LISTED_MAX  256u
#define NEXT_MAX    2048u
#define NEXT_BYTES  (16u << 20) /* of the blobs that come along with one */

/* A list of ids, each once. */
struct oidlist {
	struct oid *oids;
	size_t count, cap;
	struct hashmap seen;
	uint64_t key[2];
};

static void oidlist_init(struct oidlist *l)
{
	*l = (struct oidlist){.oids = NULL};
	hashmap_init(&l->seen);
	(void)io_random(l->key, sizeof(l->key)); /* without: a list with repetitions is slower */
}

static void oidlist_fini(struct oidlist *l)
{
	hashmap_fini(&l->seen);
	free(l->oids);
}

static int oidlist_add(struct oidlist *l, const struct oid *oid)
{
	int r = hashmap_insert(&l->seen, io_hash(oid->bytes, oid->len, l->key), l);

	if (r == -EEXIST)
		return 0;
	if (r == 0 && l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct oid *grown = reallocarray(l->oids, cap, sizeof(*grown));

		r = grown ? 0 : -ENOMEM;
		if (grown) {
			l->oids = grown;
			l->cap = cap;
		}
	}
	if (r == 0)
		l->oids[l->count++] = *oid;
	return r;
}

/* What a directory holds. */
struct look {
	struct gitremote *r;
	struct gitrepo_handle *h;
	struct oidlist *blobs; /* those whose size is not known */
	struct oid *children;  /* directories, in order */
	size_t child_count, child_cap;
	struct oid files[LISTED_MAX]; /* blobs, in order, until they are noted */
	size_t file_count;
};

/* Files are noted many at a time: that takes the lock. */
static void note_files(struct look *look)
{
	LOCK_GUARD(&look->r->lock);
	for (size_t i = 0; i < look->file_count; i++)
		gitorder_listed(&look->r->order, &look->files[i]);
	look->file_count = 0;
}

static int add_child(struct look *look, const struct oid *tree)
{
	if (look->child_count == look->child_cap) {
		size_t cap = look->child_cap ? 2 * look->child_cap : 32;
		struct oid *grown = reallocarray(look->children, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		look->children = grown;
		look->child_cap = cap;
	}
	look->children[look->child_count++] = *tree;
	return 0;
}

static int look_at_entry(void *arg, const struct raw_tree_entry *entry)
{
	struct look *look = arg;
	uint64_t size;

	if (entry->oid.len == 0)
		return 0; /* a submodule */
	if (S_ISDIR(entry->mode))
		return add_child(look, &entry->oid);
	if (look->file_count == LISTED_MAX)
		note_files(look);
	look->files[look->file_count++] = entry->oid;
	if (gitsizes_get(&look->r->sizes, &entry->oid, &size) || gitrepo_has(look->h, &entry->oid))
		return 0;
	return oidlist_add(look->blobs, &entry->oid);
}

/* Directories to look at: a stack, the next one last. */
static int look_ahead(struct look *look, const struct oid *next, size_t next_count, size_t budget)
{
	struct oid *stack = calloc(2 * AHEAD_TREES, sizeof(*stack));
	size_t depth = 0;

	if (!stack)
		return -ENOMEM;
	while (next_count > 0)
		stack[depth++] = next[--next_count];
	for (size_t i = look->child_count; i > 0 && depth < 2 * AHEAD_TREES; i--)
		stack[depth++] = look->children[i - 1];
	for (unsigned looked = 0; depth > 0 && looked < AHEAD_TREES && look->blobs->count < budget;
		looked++) {
		struct oid tree = stack[--depth];

		look->child_count = 0;
		/* One that cannot be read is found out when it is asked for. */
		if (gitrepo_walk_tree(look->h, &tree, look_at_entry, look) < 0)
			continue;
		for (size_t i = look->child_count; i > 0 && depth < 2 * AHEAD_TREES; i--)
			stack[depth++] = look->children[i - 1];
	}
	free(stack);
	return 0;
}

/* What is missing of `tree`, first, and of what comes after it. */
static int plan(struct gitremote *r, const struct oid *tree, struct look *look, size_t *ret_own)
{
	struct oid *next = NULL;
	size_t next_count = 0;
	unsigned window = 0;
	int err = gitrepo_walk_tree(look->h, tree, look_at_entry, look);

	if (err < 0)
		return err;
	*ret_own = look->blobs->count;
	if (*ret_own) {
		next = calloc(AHEAD_TREES, sizeof(*next));
		if (!next)
			return -ENOMEM;
	}
	lock_acquire(&r->lock);
	if (*ret_own) {
		window = gitahead_missed(&r->ahead, tree, clock_mono_ns(&clock_system));
		next_count = gitahead_next(&r->ahead, tree, next, AHEAD_TREES);
	}
	gitahead_listed(&r->ahead, tree, look->children, look->child_count);
	lock_release(&r->lock);
	if (window)
		err = look_ahead(look, next, next_count, *ret_own + window);
	note_files(look);
	free(next);
	return err;
}

/* Sizes if the server tells them, else the blobs. What was not asked for may fail. */
static int fetch_planned(struct gitremote *r, const struct oidlist *blobs, size_t own,
	const struct gitrepo_wait *wait)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	enum gitremote_batch which;
	struct gitpkt_offer offer;
	int err = gitexchange_offer(&r->x, &run_wait, &offer, NULL);

	if (err < 0)
		return err;
	which = offer.object_info ? BATCH_SIZES : BATCH_BLOBS;
	err = gitremote_get(r, which, blobs->oids, blobs->count, wait);
	if (err < 0 && err != -ETIMEDOUT && err != -ECANCELED && own < blobs->count)
		err = gitremote_get(r, which, blobs->oids, own, wait);
	return err;
}

/* A tree that is not here although its commit is: the mirror was damaged. It is fetched again. */
static int need_tree(struct gitremote *r, const struct oid *tree, const struct gitrepo_wait *wait)
{
	return gitremote_here(r, tree) ? 0 : gitremote_get(r, BATCH_TREES, tree, 1, wait);
}

static int need_sizes(struct gitremote *r, const struct oid *tree, const struct gitrepo_wait *wait)
{
	struct look *look = calloc(1, sizeof(*look));
	struct oidlist blobs;
	size_t own = 0;
	int err = look ? gitrepo_take(r->repo, false, wait, &look->h) : -ENOMEM;

	if (err < 0) {
		free(look);
		return err;
	}
	oidlist_init(&blobs);
	look->r = r;
	look->blobs = &blobs;
	err = plan(r, tree, look, &own);
	gitrepo_give(r->repo, look->h, err == -EIO || err == -ENOENT);
	if (err == 0 && own > 0)
		err = fetch_planned(r, &blobs, own, wait);
	oidlist_fini(&blobs);
	free(look->children);
	free(look);
	return err;
}

int gitremote_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitremote *r = impl;
	int err = 0;

	if (gitremote_partial(r)) {
		err = need_tree(r, tree, &wait);
		if (err == 0)
			err = need_sizes(r, tree, &wait);
	}
	return err < 0 ? err : gitrepo_read_tree(r->repo, tree, builder, cancel, deadline_ns);
}

int gitremote_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len)
{
	const struct gitrepo_wait wait = {rq->cancel, rq->deadline_ns};
	struct gitremote *r = impl;
	int err = 0;

	if (rq->kind == OBJECT_TREE && gitremote_partial(r))
		err = need_tree(r, &rq->oid, &wait);
	return err < 0 ? err : gitrepo_read_raw(r->repo, rq, ret_data, ret_len);
}

/* Those that are not here, each once. */
static int missing(struct gitremote *r, const struct oid *blobs, size_t count,
	const struct gitrepo_wait *wait, struct oidlist *ret_missing)
{
	struct gitrepo_handle *h;
	int err = gitrepo_take(r->repo, false, wait, &h);

	if (err < 0)
		return err;
	for (size_t i = 0; err == 0 && i < count; i++)
		if (!gitrepo_has(h, &blobs[i]))
			err = oidlist_add(ret_missing, &blobs[i]);
	gitrepo_give(r->repo, h, false);
	return err;
}

/* Fetch `own` blobs, and those that come along as far as their sizes are known and small. */
static int bring(
	struct gitremote *r, struct oidlist *wanted, size_t own, const struct gitrepo_wait *wait)
{
	uint64_t size, bytes = 0;
	size_t kept = own;
	int err;

	for (size_t i = own; i < wanted->count && bytes < NEXT_BYTES; i++)
		if (gitsizes_get(&r->sizes, &wanted->oids[i], &size) && size < NEXT_BYTES - bytes) {
			bytes += size;
			wanted->oids[kept++] = wanted->oids[i];
		}
	err = gitremote_get(r, BATCH_BLOBS, wanted->oids, kept, wait);
	if (err < 0 && err != -ETIMEDOUT && err != -ECANCELED && kept > own)
		err = gitremote_get(r, BATCH_BLOBS, wanted->oids, own, wait);
	return err;
}

int gitremote_prepare_blobs(void *impl, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitremote *r = impl;
	struct oidlist wanted;
	int err;

	if (!gitremote_partial(r))
		return 0;
	oidlist_init(&wanted);
	err = missing(r, blobs, count, &wait, &wanted);
	if (err == 0)
		err = bring(r, &wanted, wanted.count, &wait);
	oidlist_fini(&wanted);
	return err;
}

/* One blob for a reader; if he reads in order, those that come next too. */
static int need_blob(struct gitremote *r, const struct oid *blob, const struct gitrepo_wait *wait)
{
	struct oidlist wanted;
	struct oid *next;
	size_t count;
	int err;

	if (!gitremote_partial(r) || gitremote_here(r, blob))
		return 0;
	next = calloc(NEXT_MAX, sizeof(*next));
	if (!next)
		return -ENOMEM;
	lock_acquire(&r->lock);
	count = gitorder_missed(&r->order, blob, next, NEXT_MAX);
	lock_release(&r->lock);
	oidlist_init(&wanted);
	err = oidlist_add(&wanted, blob);
	if (err == 0)
		err = missing(r, next, count, wait, &wanted);
	if (err == 0)
		err = bring(r, &wanted, 1, wait);
	oidlist_fini(&wanted);
	free(next);
	return err;
}

/* Passes a blob on, if its size is the one that the server told when the directory was listed. */
struct checking_sink {
	struct blob_sink sink; /* first: the sink is this */
	struct blob_sink *to;
	bool told;
	uint64_t size;
};

static int check_begin(struct blob_sink *s, uint64_t size)
{
	struct checking_sink *check = (struct checking_sink *)s;

	if (check->told && check->size != size)
		return -EBADMSG;
	return check->to->begin(check->to, size);
}

static int check_write(struct blob_sink *s, const void *data, size_t len)
{
	struct checking_sink *check = (struct checking_sink *)s;

	return check->to->write(check->to, data, len);
}

int gitremote_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct checking_sink check = {
		.sink = {.begin = check_begin, .write = check_write}, .to = sink};
	struct gitremote *r = impl;
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	int err = need_blob(r, blob, &wait);

	if (err < 0)
		return err;
	check.told = gitsizes_get(&r->sizes, blob, &check.size);
	return gitrepo_read_blob(r->repo, blob, &check.sink, cancel, deadline_ns);
}
