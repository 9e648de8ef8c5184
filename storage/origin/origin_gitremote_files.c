// SPDX-License-Identifier: Apache-2.0
/*
 * Sizes of files from the files themselves: all that a directory lacks in one request, as long as
 * they are small. What is large is not fetched for its size: that stands in the first bytes of the
 * answer (git_peek.h), the rest of which is not waited for.
 *
 * In a farm each file is fetched by one node. What another one fetches now is waited for, until it
 * has given it, or its lease is gone, or WAIT_MAX_NS have passed.
 *
 * Threads: any that may block.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define WAIT_MAX_NS   (10 * NS_PER_S) /* for a node that lives */
#define LOOK_FIRST_NS (3 * NS_PER_MS)
#define LOOK_MAX_NS   (25 * NS_PER_MS)
/* Of those that nobody waits for: others fetch what comes after them. */
#define AHEAD_CLAIMED 2048u
/* So many large files are cheaper one by one than together with the small ones. */
#define PEEKED_AT_ONCE 32u

int gitremote_get_ahead(struct gitremote *r, enum gitremote_batch which,
	const struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	const struct gitoids *blobs = want->blobs;
	int err = gitremote_get(r, which, blobs->oids, blobs->count, wait);

	if (err < 0 && err != -ETIMEDOUT && err != -ECANCELED && err != -EFBIG &&
		want->own < blobs->count)
		err = gitremote_get(r, which, blobs->oids, want->own, wait);
	return err;
}

int gitremote_keep_unknown(
	struct gitremote *r, struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	struct oid *oids = want->blobs->oids;
	struct gitrepo_handle *h;
	size_t kept = 0;
	uint64_t size;
	int err = gitrepo_take(r->repo, false, wait, &h);

	if (err < 0)
		return err;
	for (size_t i = 0; i < want->own; i++)
		if (!gitsizes_get(&r->sizes, &oids[i], &size) && !gitrepo_has(h, &oids[i]))
			oids[kept++] = oids[i];
	gitrepo_give(r->repo, h, false);
	want->own = kept;
	return 0;
}

static bool listings_refused(struct gitremote *r, bool now)
{
	LOCK_GUARD(&r->lock);
	r->no_listings = r->no_listings || now;
	return r->no_listings;
}

/* The files are too large to be fetched for their sizes: the small ones of the directory come,
 * unless another node has fetched those, and of the others the first bytes. */
static int peek_sizes(struct gitremote *r, const struct gitremote_want *want, bool rest,
	const struct gitrepo_wait *wait)
{
	struct gitremote_want left = *want;
	bool one_by_one = listings_refused(r, false) || (rest && want->own <= PEEKED_AT_ONCE);
	int err = one_by_one ? 0 : gitremote_get(r, BATCH_LISTINGS, want->tree, 1, wait);

	if (err == -EIO)
		(void)listings_refused(r, true); /* then one by one */
	else if (err < 0)
		return err;
	err = gitremote_keep_unknown(r, &left, wait);
	if (err < 0 || left.own == 0)
		return err;
	return gitremote_get(r, BATCH_PEEKS, left.blobs->oids, left.own, wait);
}

static int get_files(struct gitremote *r, const struct gitremote_want *want, bool rest,
	const struct gitrepo_wait *wait)
{
	int err = gitremote_get_ahead(r, BATCH_SMALL, want, wait);

	return err == -EFBIG ? peek_sizes(r, want, rest, wait) : err;
}

/* What is for us to fetch: of the directory; and, if that is any, ahead. The directory's others go
 * to `theirs`. */
static int get_ours(struct gitremote *r, const struct gitremote_want *all, struct gitoids *theirs,
	bool rest, const struct gitrepo_wait *wait)
{
	struct peer_claim *claims[2] = {NULL, NULL};
	struct gitremote_want ours = *all;
	struct gitoids *blobs = all->blobs;
	size_t ahead = blobs->count - all->own;
	int err;

	ahead = ahead < AHEAD_CLAIMED ? ahead : AHEAD_CLAIMED;
	blobs->count = all->own;
	claims[0] = gitremote_claim(r, blobs, 0, theirs);
	ours.own = blobs->count;
	if (ours.own == 0)
		return 0;
	memmove(&blobs->oids[ours.own], &blobs->oids[all->own], ahead * sizeof(blobs->oids[0]));
	blobs->count += ahead;
	claims[1] = gitremote_claim(r, blobs, ours.own, NULL);
	err = get_files(r, &ours, rest, wait);
	gitremote_give(r, claims[0]);
	gitremote_give(r, claims[1]);
	return err;
}

/* A moment; then what is there by now. */
static int look_for_theirs(struct gitremote *r, struct gitoids *theirs, uint64_t *pause_ns,
	const struct gitrepo_wait *wait)
{
	uint64_t next_ns = clock_after(&clock_system, *pause_ns);
	/* the token guards itself; const says only that it is not fired here */
	int err = cancel_sleep_until((struct cancel *)wait->cancel,
		next_ns < wait->deadline_ns ? next_ns : wait->deadline_ns);

	if (err == -ETIMEDOUT)
		err = cancel_check(wait->cancel, wait->deadline_ns);
	*pause_ns = *pause_ns * 3 / 2 < LOOK_MAX_NS ? *pause_ns * 3 / 2 : LOOK_MAX_NS;
	if (err == 0)
		gitremote_bring(r, theirs, wait);
	return err;
}

/* Again and again: what is ours is fetched, what is theirs waited for. */
static int get_among_peers(
	struct gitremote *r, struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	uint64_t give_up_ns = clock_after(&clock_system, WAIT_MAX_NS), pause_ns = LOOK_FIRST_NS;
	bool rest = false;
	int err = 0;

	while (err == 0 && want->own > 0) {
		struct gitoids theirs;

		if (clock_mono_ns(&clock_system) >= give_up_ns)
			return get_files(r, want, rest, wait);
		gitoids_init(&theirs);
		err = get_ours(r, want, &theirs, rest, wait);
		if (err == 0 && theirs.count > 0)
			err = look_for_theirs(r, &theirs, &pause_ns, wait);
		for (size_t i = 0; i < theirs.count; i++) /* fewer than there were */
			want->blobs->oids[i] = theirs.oids[i];
		want->blobs->count = want->own = theirs.count;
		gitoids_fini(&theirs);
		rest = true;
		if (err == 0)
			err = gitremote_keep_unknown(r, want, wait);
		want->blobs->count = want->own;
	}
	return err;
}

int gitremote_get_files(
	struct gitremote *r, const struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	struct gitremote_want left = *want;

	return gitremote_has_peers(r) ? get_among_peers(r, &left, wait)
				      : get_files(r, want, false, wait);
}
