/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sizes of the files of a directory, before it is listed. From the server's object-info where
 * it has that; otherwise from the files themselves (origin_gitremote_files.c).
 *
 * Who walks a tree in order would pay one round trip for each directory; so the more directories
 * are asked for in an order that was expected, the more of the following ones are asked for at the
 * same time (git_ahead.h).
 *
 * Threads: any that may block.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/clock.h"
#include "origin/git_oids.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define AHEAD_TREES 1024u /* directories looked at for one request, at most */
#define LISTED_MAX  256u

/* What a directory holds. */
struct look {
	struct gitremote *r;
	struct gitrepo_handle *h;
	struct gitoids *blobs; /* those whose size is not known */
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
	return gitoids_add(look->blobs, &entry->oid);
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

/* Sizes if the server tells them, else the files, as far as they are small. */
static int fetch_planned(
	struct gitremote *r, const struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	struct gitremote_want rest = *want;
	struct gitpkt_offer offer;
	int err = gitexchange_offer(&r->x, &run_wait, &offer, NULL);

	if (err == 0 && offer.object_info) {
		err = gitremote_get_ahead(r, BATCH_SIZES, want, wait);
		if (err != -EIO)
			return err;
		/* it does not tell all of them, or what cannot be */
		err = gitremote_keep_unknown(r, &rest, wait);
		rest.blobs->count = rest.own;
	}
	return err < 0 || rest.own == 0 ? err : gitremote_get_files(r, &rest, wait);
}

int gitremote_need_sizes(
	struct gitremote *r, const struct oid *tree, const struct gitrepo_wait *wait)
{
	struct look *look = calloc(1, sizeof(*look));
	struct gitoids blobs;
	size_t own = 0;
	int err = look ? gitrepo_take(r->repo, false, wait, &look->h) : -ENOMEM;

	if (err < 0) {
		free(look);
		return err;
	}
	gitoids_init(&blobs);
	look->r = r;
	look->blobs = &blobs;
	err = plan(r, tree, look, &own);
	gitrepo_give(r->repo, look->h, err == -EIO || err == -ENOENT);
	if (err == 0 && own > 0)
		err = fetch_planned(r, &(struct gitremote_want){tree, &blobs, own}, wait);
	gitoids_fini(&blobs);
	free(look->children);
	free(look);
	return err;
}
