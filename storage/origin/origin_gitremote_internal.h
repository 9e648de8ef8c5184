/* SPDX-License-Identifier: Apache-2.0 */
/* A remote Git repository: what the origin_gitremote*.c files share. */
#pragma once
#include "base/metrics.h"
#include "origin/git_ahead.h"
#include "origin/git_batch.h"
#include "origin/git_exchange.h"
#include "origin/git_mirror.h"
#include "origin/git_order.h"
#include "origin/git_sizes.h"
#include "origin/origin_git_internal.h"

#define GITREMOTE_NAMES 64u

/* What a name meant when the server was asked last. */
struct gitremote_name {
	char name[256]; /* "": unused */
	char ref[256];
	struct oid oid; /* of what it names, tags peeled */
	uint64_t asked_ns;
};

enum gitremote_batch {
	BATCH_BLOBS,
	BATCH_SIZES,
	BATCH_SMALL,    /* blobs that are wanted for their sizes */
	BATCH_LISTINGS, /* by trees: the small files of those directories */
	BATCH_PEEKS,    /* sizes of large blobs */
	BATCH_TREES,
	BATCH_COMMITS,
	BATCH_ALL,
	BATCH_COUNT
};

struct gitremote {
	/* const after open */
	struct giturl url;
	char **env;
	char *name, *ssh_key, *ssh_hosts;
	struct gitmirror mirror;
	struct gitrepo *repo;
	struct gitexchange x;
	struct gitbatch *batch[BATCH_COUNT];
	struct gitsizes sizes;
	struct cancel *closing;
	uint64_t refresh_ns;
	void (*notice)(const char *origin, const char *event, const char *text);
	struct counter *requests[BATCH_COUNT], *objects[BATCH_COUNT], *received; /* or NULL */
	/* guarded by lock */
	struct lock lock;
	bool partial;          /* mode; may fall back to mirror */
	bool no_listings;      /* the server has refused BATCH_LISTINGS */
	uint64_t all_ns;       /* mode mirror: when everything was fetched; 0: not yet */
	uint64_t history_ns;   /* when the history of all refs was fetched; 0: not yet */
	uint64_t refreshed_ns; /* answers from before are not used any more */
	struct gitahead ahead;
	struct gitorder order;
	struct gitremote_name names[GITREMOTE_NAMES];
};

bool gitremote_partial(struct gitremote *r);
/* The server cannot do partial: from now on everything is fetched. */
void gitremote_fall_back(struct gitremote *r, const char *why);
/* Whether an object is in the mirror. */
bool gitremote_here(struct gitremote *r, const struct oid *oid);
/* Fetch, through a batch; errors as gitbatch_get. */
int gitremote_get(struct gitremote *r, enum gitremote_batch which, const struct oid *oids,
	size_t count, const struct gitrepo_wait *wait);
/* origin_gitremote_fetch.c: those batches, and the history of some commits. */
int gitremote_make_batches(struct gitremote *r);
int gitremote_fetch_history(struct gitremote *r, const struct oid *tips, size_t count,
	const struct gitrepo_wait *wait, struct err *e);

/* origin_gitremote_sizes.c: every file of a tree that is here has a size. */
int gitremote_need_sizes(
	struct gitremote *r, const struct oid *tree, const struct gitrepo_wait *wait);

int gitremote_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e);
int gitremote_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e);
void gitremote_refresh(void *impl);
int gitremote_probe(void *impl, const struct cancel *cancel, uint64_t deadline_ns);
int gitremote_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitremote_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitremote_prepare_blobs(void *impl, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitremote_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len);
