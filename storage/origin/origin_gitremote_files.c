// SPDX-License-Identifier: Apache-2.0
/*
 * Sizes of files from the files themselves: all that a directory lacks in one request, as long as
 * they are small. What is large is not fetched for its size: that stands in the first bytes of the
 * answer (git_peek.h), the rest of which is not waited for.
 *
 * In a farm each file is fetched by one node. What another one fetches now is waited for, until it
 * has given it, or its lease is gone; or until nothing has come for WAIT_MAX_NS, or WAIT_ALL_NS
 * have passed.
 *
 * Threads: any that may block.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define WAIT_MAX_NS    (4 * NS_PER_S) /* for a node that lives, and gives nothing */
#define WAIT_ALL_NS    (8 * NS_PER_S) /* less than half of what a listing may take */
#define BUSY_MAX_NS    (2 * NS_PER_S) /* for what we are to give */
#define LOOK_FIRST_NS  (3 * NS_PER_MS)
#define LOOK_MAX_NS    (25 * NS_PER_MS)
#define CLAIM_AGAIN_NS (300 * NS_PER_MS)
/* Of those that nobody waits for: others fetch what comes after them. */
#define AHEAD_CLAIMED 1024u
/* Of what another node fetches so many are looked for before all are. */
#define SAMPLE_MAX 8u
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

	ahead = gitremote_peers_busy(r) ? 0 : ahead < AHEAD_CLAIMED ? ahead : AHEAD_CLAIMED;
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

/* What others fetch comes in about the order in which it is asked for: as long as none of the first
 * ones has come nothing else is looked for. */
static bool none_came(
	struct gitremote *r, const struct gitoids *theirs, const struct gitrepo_wait *wait)
{
	size_t count = theirs->count < SAMPLE_MAX ? theirs->count : SAMPLE_MAX;
	struct gitoids first;
	bool none;
	int err = 0;

	gitoids_init(&first);
	for (size_t i = 0; err == 0 && i < count; i++)
		err = gitoids_add(&first, &theirs->oids[i]);
	gitremote_bring(r, &first, wait);
	none = err == 0 && first.count == count;
	gitoids_fini(&first);
	return none;
}

/* Wait until something has come, but not for long: a lease may be gone. Then what is there. */
static int wait_for_theirs(
	struct gitremote *r, struct gitoids *theirs, const struct gitrepo_wait *wait)
{
	uint64_t claim_ns = clock_after(&clock_system, CLAIM_AGAIN_NS), pause_ns = LOOK_FIRST_NS;
	bool none = true;
	int err = 0;

	while (err == 0 && none && clock_mono_ns(&clock_system) < claim_ns) {
		uint64_t next_ns = clock_after(&clock_system, pause_ns);

		/* the token guards itself; const says only that it is not fired here */
		err = cancel_sleep_until((struct cancel *)wait->cancel,
			next_ns < wait->deadline_ns ? next_ns : wait->deadline_ns);
		if (err == -ETIMEDOUT)
			err = cancel_check(wait->cancel, wait->deadline_ns);
		pause_ns = pause_ns * 3 / 2 < LOOK_MAX_NS ? pause_ns * 3 / 2 : LOOK_MAX_NS;
		none = err == 0 && none_came(r, theirs, wait);
	}
	if (err == 0)
		gitremote_bring(r, theirs, wait);
	return err;
}

/* When waiting for others ends, if nothing comes from now on. */
static uint64_t give_up_at(uint64_t last_ns)
{
	uint64_t at_ns = clock_after(&clock_system, WAIT_MAX_NS);

	return at_ns < last_ns ? at_ns : last_ns;
}

/* When it ends in any case. Who waits for this directory may have joined a fetch that has more time
 * than he has. */
static uint64_t last_look_at(const struct gitrepo_wait *wait)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	uint64_t left_ns = wait->deadline_ns > now_ns ? wait->deadline_ns - now_ns : 0;

	return now_ns + (left_ns / 2 < WAIT_ALL_NS ? left_ns / 2 : WAIT_ALL_NS);
}

/* Others wait for what we have claimed: before more is claimed, most of it is given. They may claim
 * what comes next meanwhile. */
static int give_first(struct gitremote *r, uint64_t until_ns, const struct gitrepo_wait *wait)
{
	int err = 0;

	while (err == 0 && gitremote_peers_busy(r) && clock_mono_ns(&clock_system) < until_ns) {
		/* see wait_for_theirs */
		err = cancel_sleep_until(
			(struct cancel *)wait->cancel, clock_after(&clock_system, LOOK_FIRST_NS));
		err = err == -ETIMEDOUT ? cancel_check(wait->cancel, wait->deadline_ns) : err;
	}
	return err;
}

/* Again and again: what is ours is fetched, what is theirs waited for. */
static int get_among_peers(
	struct gitremote *r, struct gitremote_want *want, const struct gitrepo_wait *wait)
{
	uint64_t last_ns = last_look_at(wait), give_up_ns = give_up_at(last_ns);
	uint64_t busy_ns = clock_after(&clock_system, BUSY_MAX_NS);
	bool rest = false;
	int err = give_first(r, busy_ns < last_ns ? busy_ns : last_ns, wait);

	while (err == 0 && want->own > 0) {
		struct gitoids theirs;
		size_t asked = want->own;

		if (clock_mono_ns(&clock_system) >= give_up_ns)
			return get_files(r, want, rest, wait);
		gitoids_init(&theirs);
		err = get_ours(r, want, &theirs, rest, wait);
		if (err == 0 && theirs.count > 0)
			err = wait_for_theirs(r, &theirs, wait);
		if (theirs.count < asked)
			give_up_ns = give_up_at(last_ns);
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
