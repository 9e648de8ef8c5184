// SPDX-License-Identifier: Apache-2.0
/*
 * What the other nodes of the farm download of the same server is not downloaded here; see
 * storage/origin_peers.h.
 *
 * Threads: any that may block; what is asked of the farm is asked without a lock.
 */
#include "origin/origin_gitremote_internal.h"

#include <errno.h>
#include <stdlib.h>

static struct origin_peers peers_of(struct gitremote *r)
{
	LOCK_GUARD(&r->lock);
	return r->peers;
}

void gitremote_set_peers(void *impl, const struct origin_peers *peers)
{
	struct gitremote *r = impl;
	LOCK_GUARD(&r->lock);

	r->peers = *peers;
}

bool gitremote_has_peers(struct gitremote *r)
{
	return peers_of(r).claim != NULL;
}

bool gitremote_has_blob(void *impl, const struct oid *blob)
{
	return gitremote_here(impl, blob);
}

struct peer_claim *gitremote_claim(
	struct gitremote *r, struct gitoids *blobs, size_t from, struct gitoids *ret_theirs)
{
	const struct origin_peers peers = peers_of(r);
	size_t n = blobs->count - from, kept = from;
	struct peer_claim *claim;
	bool *ours = peers.claim && n ? calloc(n, sizeof(*ours)) : NULL;

	if (!ours)
		return NULL;
	claim = peers.claim(peers.arg, &blobs->oids[from], n, ours);
	for (size_t i = from; i < blobs->count; i++)
		/* without memory to remember it, it is ours */
		if (ours[i - from] || (ret_theirs && gitoids_add(ret_theirs, &blobs->oids[i]) < 0))
			blobs->oids[kept++] = blobs->oids[i];
	blobs->count = kept;
	free(ours);
	return claim;
}

void gitremote_give(struct gitremote *r, struct peer_claim *claim)
{
	const struct origin_peers peers = peers_of(r);

	if (claim)
		peers.give(peers.arg, claim);
}

bool gitremote_peers_busy(struct gitremote *r)
{
	const struct origin_peers peers = peers_of(r);

	return peers.busy && peers.busy(peers.arg);
}

void gitremote_bring(struct gitremote *r, struct gitoids *blobs, const struct gitrepo_wait *wait)
{
	const struct origin_peers peers = peers_of(r);
	size_t left = 0;
	uint64_t size;

	peers.bring(peers.arg, blobs->oids, blobs->count, wait->cancel, wait->deadline_ns);
	for (size_t i = 0; i < blobs->count; i++) {
		if (peers.size(peers.arg, &blobs->oids[i], &size))
			gitsizes_put(&r->sizes, &blobs->oids[i], size);
		else
			blobs->oids[left++] = blobs->oids[i];
	}
	blobs->count = left;
}
