/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making what a mount shows local ahead of its use: on request, or before a new mount is handed
 * out. Always in the background: whoever waits for a file of the same origin goes first.
 */
#pragma once
#include <storage/warm.h>

struct cancel;
struct err;
struct mount_key;
struct mounts;

struct prefetch_request {
	const char *const *paths; /* relative to the mount, patterns; none: all of it */
	unsigned path_count;
	unsigned depth;     /* levels below each of them; 0: all */
	uint64_t bytes_max; /* 0: no limit */
	bool directories_only;
};

/* How far it is; `elapsed_ns` since it began. */
typedef void (*prefetch_report)(
	void *arg, const struct warm_progress *progress, uint64_t elapsed_ns);

/* Blocks until it is done; `fn` is called now and then and at the end, on this thread. -ENOENT
 * reason PATH_NOT_FOUND, -EBUSY reason NOT_READY, -EHOSTUNREACH reason ORIGIN_UNAVAILABLE: what
 * could not be had, after the rest was; -EINVAL, -ECANCELED, -ETIMEDOUT. */
int mounts_prefetch(struct mounts *m, const struct mount_key *key,
	const struct prefetch_request *rq, const struct cancel *cancel, uint64_t deadline_ns,
	prefetch_report fn, void *arg, struct err *e);
