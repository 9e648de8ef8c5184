/* SPDX-License-Identifier: Apache-2.0 */
/* A remote Git repository: what the origin_gitremote*.c files share. */
#pragma once
#include "base/metrics.h"
#include "origin/git_ahead.h"
#include "origin/git_batch.h"
#include "origin/git_exchange.h"
#include "origin/git_mirror.h"
#include "origin/git_oids.h"
#include "origin/git_order.h"
#include "origin/git_sizes.h"
#include "origin/origin_git_internal.h"
#include "storage/origin_peers.h"

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
	struct origin_peers peers; /* .claim NULL: there are none */
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

/* Files whose sizes are wanted: the first `own` are those of a directory, the others are asked for
 * ahead, and may fail. */
struct gitremote_want {
	const struct oid *tree;
	struct gitoids *blobs;
	size_t own;
};
/* origin_gitremote_files.c: through a batch; all, or at least the directory's own. */
int gitremote_get_ahead(struct gitremote *r, enum gitremote_batch which,
	const struct gitremote_want *want, const struct gitrepo_wait *wait);
/* Of the directory's own, those whose size is not known and that are not here go to the front, and
 * are all that count as its own. */
int gitremote_keep_unknown(
	struct gitremote *r, struct gitremote_want *want, const struct gitrepo_wait *wait);
/* The sizes from the files themselves, as far as no other node fetches them. */
int gitremote_get_files(
	struct gitremote *r, const struct gitremote_want *want, const struct gitrepo_wait *wait);

/* origin_gitremote_peers.c: what other nodes download is not asked for here. */
bool gitremote_has_peers(struct gitremote *r);
/* Those that are for us, of blobs [from, blobs->count), stay there; the others are added to
 * `ret_theirs` (NULL: they are not wanted). What is returned goes to gitremote_give when they have
 * come, or have not. */
struct peer_claim *gitremote_claim(
	struct gitremote *r, struct gitoids *blobs, size_t from, struct gitoids *ret_theirs);
void gitremote_give(struct gitremote *r, struct peer_claim *claim);
/* Nothing is to be claimed that nobody waits for. */
bool gitremote_peers_busy(struct gitremote *r);
/* What others have given: their sizes are known then. Those that are left stay in `blobs`. */
void gitremote_bring(struct gitremote *r, struct gitoids *blobs, const struct gitrepo_wait *wait);
bool gitremote_has_blob(void *impl, const struct oid *blob);
void gitremote_set_peers(void *impl, const struct origin_peers *peers);

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
