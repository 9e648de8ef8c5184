/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other nodes of the farm, as an origin sees them that downloads more than it was asked for:
 * what comes along with a file, or is fetched for its size. Each of those is downloaded by one node
 * as well, and given to the others. Implemented by storage_peers.c, over the leases of Redis: an
 * optimisation, never a promise.
 *
 * All but `give`, `busy` and `size` ask Redis, for its short deadlines, and belong on fetch
 * threads. No lock is held.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel;
struct peer_claim;

struct origin_peers {
	void *arg;
	/* Which of these blobs are for this node to download: ret_ours[i] is false if another does
	 * that now, or has done it. What is returned goes to `give`; NULL: nobody must hear of it.
	 */
	struct peer_claim *(*claim)(
		void *arg, const struct oid *blobs, size_t count, bool *ret_ours);
	/* What was claimed has come, or will not: what origin_has_blob() is given to the others, in
	 * the background; then they may download the rest. Takes the claim over. Never waits. */
	void (*give)(void *arg, struct peer_claim *claim);
	/* So much of what was claimed waits to be given that what nobody waits for should not be
	 * claimed: others had to wait for it. */
	bool (*busy)(void *arg);
	/* Make local what others have given of these. */
	void (*bring)(void *arg, const struct oid *blobs, size_t count, const struct cancel *cancel,
		uint64_t deadline_ns);
	/* The size of one that is local. */
	bool (*size)(void *arg, const struct oid *blob, uint64_t *ret_size);
};
