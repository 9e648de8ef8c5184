/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for objects that arrive together become one. Whoever wants objects adds those that
 * nobody has asked for yet to what is pending, and waits; a few threads take all that is pending,
 * fetch it in one go, and wake those who wait. An object is under way at most once.
 *
 *	absent ──► pending ──► under way ──► over (result) ──► absent
 *
 * Threads: any may wait; fetches run on the batch's own pool.
 */
#pragma once
#include "storage/digest.h"

#include <stddef.h>
#include <stdint.h>

struct cancel;
struct gitbatch;

/* Fetch these. 0: those that the server has are here. -ENXIO: it refused, for at least one of
 * them. Others: it failed for all. */
typedef int (*gitbatch_fetch_fn)(void *arg, const struct oid *oids, size_t count);
/* Whether an object is here, after a fetch. NULL: one that succeeded has brought all, one that was
 * refused none. */
typedef bool (*gitbatch_here_fn)(void *arg, const struct oid *oid);

struct gitbatch_config {
	gitbatch_fetch_fn fetch;
	gitbatch_here_fn here;
	void *arg;
	unsigned threads;
	uint64_t window_ns; /* how long a request waits for company when nothing is under way */
	unsigned take_max;  /* objects in one fetch; 0: as many as there are, 8192 at most */
};
int gitbatch_new(struct gitbatch **ret_batch, const struct gitbatch_config *config);
/* Waits for the fetches under way: whoever frees makes them end. Nobody waits any more. */
struct gitbatch *gitbatch_free(struct gitbatch *b);

/* Until all of them are over. 0: all are here; else the first failure (-EIO: the server does not
 * have it), or -ETIMEDOUT, -ECANCELED of the wait; -EAGAIN: too many are pending. */
int gitbatch_get(struct gitbatch *b, const struct oid *oids, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns);
