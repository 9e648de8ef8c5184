/* SPDX-License-Identifier: Apache-2.0 */
/* A local Git repository behind libgit2: what origin_git.c, origin_git_resolve.c and origin_git_read.c share. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "storage/origin_impl.h"

#include <git2.h>

/* An open repository for one call at a time: libgit2's objects are not for several threads. */
struct gitrepo_handle {
	struct list node; /* in the idle list, or in none */
	git_repository *repo;
	git_odb *odb;
};

struct gitrepo {
	char *path;	  /* const after open; absolute */
	struct lock lock;
	struct cond freed;
	struct list idle; /* guarded by lock */
	unsigned count;	  /* handles, idle or in use; guarded by lock */
};

/* A handle for one call: an idle one, or (also if `fresh`) a new one. Waits for one until the deadline, if too many are in use. */
int gitrepo_take(struct gitrepo *g, bool fresh, const struct cancel *cancel, uint64_t deadline_ns,
	struct gitrepo_handle **ret_handle);
/* Give it back; with `discard`, close it: what it has mapped may be out of date. */
void gitrepo_give(struct gitrepo *g, struct gitrepo_handle *h, bool discard);

/* libgit2's return code and last error as a negative errno. */
int gitrepo_errno(int code);
/* libgit2's last message, for people. */
const char *gitrepo_message(void);
static inline struct oid gitrepo_oid(const git_oid *id)
{
	return oid_from_bytes(id->id, GIT_OID_RAWSZ);
}

int gitrepo_resolve(void *impl, const char *revision, uint64_t deadline_ns, struct origin_revision *ret,
	struct err *e);
int gitrepo_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitrepo_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns);
