/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a part of a repository local ahead of its use: directories below a root, and what the
 * files in them hold. Everything is asked for in the background, so whoever waits for something of
 * the same origin goes first.
 */
#pragma once
#include "storage/readahead.h"
#include "storage/storage.h"

struct cancel;

struct warm_progress {
	uint64_t directories, blobs, bytes; /* local now, or from the start */
	uint64_t directories_found, blobs_found, bytes_found;
	uint64_t directories_asked, bytes_asked, blobs_asked; /* what counts for the limits */
	uint64_t failed;
	bool indexed;     /* what was found is all there is: an end can be foreseen */
	bool stopped;     /* by a limit: there is more */
	uint32_t reached; /* entry of the root: the last whose content was looked at */
};

/* Where a walk that was stopped by a limit would go on: at entry place[0].idx, then from
 * place[1].idx of its directory on, and so on. */
struct warm_rest {
	struct readahead_place place[READAHEAD_DEPTH];
	unsigned count;
};

struct warm_plan {
	struct origin *origin;
	unsigned tenant; /* storage_tenant */
	struct oid root;
	uint32_t first;                /* entry of the root to begin with */
	unsigned depth;                /* levels below the root; UINT_MAX: all */
	bool contents;                 /* false: directories only */
	bool hurry;                    /* contents at once, instead of all directories first */
	uint64_t bytes_max, blobs_max; /* that are asked for; 0: no limit */
	uint64_t directories_max;
	struct warm_rest *ret_rest; /* may be NULL */
	/* All may be NULL; called on the thread of storage_warm. wanted: this file, or anything
	 * below this directory? `path` is relative to the root. passed: the walk has come to this
	 * content, local or not. report: every 200 ms or so. */
	bool (*wanted)(void *arg, const char *path, bool directory);
	void (*passed)(void *arg, const struct oid *blob);
	void (*report)(void *arg, const struct warm_progress *progress);
	void *arg;
};

/* Blocks until all is local, or asked for as far as the limits go. 0; -ECANCELED, -ETIMEDOUT;
 * otherwise what the last failure was (the rest was done, unless nothing worked any more).
 * *ret_progress is valid whatever the result. Not on a fetch thread. */
int storage_warm(struct storage *st, const struct warm_plan *plan, const struct cancel *cancel,
	uint64_t deadline_ns, struct warm_progress *ret_progress);
