/* SPDX-License-Identifier: Apache-2.0 */
/* A local Git repository behind libgit2: what origin_git.c, origin_git_resolve.c and
 * origin_git_read.c share. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "origin/loose_check.h"
#include "origin/raw_tree.h"
#include "storage/origin_impl.h"

#include <git2.h>

/* An open repository for one call at a time: libgit2's objects are not for several threads. */
struct gitrepo_handle {
	struct list node; /* in the idle list, or in none */
	git_repository *repo;
	git_odb *odb;
	struct loose_dirs loose;
	unsigned generation; /* of the repository when it was looked at last */
	unsigned epoch;      /* of the repository when it was opened */
};

struct gitrepo {
	char *path;    /* const after open; absolute */
	char *git_dir; /* const after open: what git calls the repository */
	struct lock lock;
	struct cond freed;
	struct list idle;    /* all guarded by lock */
	unsigned count;      /* handles, idle or in use */
	uint64_t lent_bytes; /* of objects that are in memory now */
	unsigned generation; /* grows when we have added objects ourselves */
	unsigned epoch;      /* and this when we have removed some */
	/* Sizes of blobs that are not here, or NULL; const after open. */
	bool (*known_size)(void *arg, const struct oid *blob, uint64_t *ret_size);
	void *known_arg;
};

/* How long a call may wait. */
struct gitrepo_wait {
	const struct cancel *cancel;
	uint64_t deadline_ns;
};

/* A repository by its absolute path. */
int gitrepo_open_path(struct gitrepo **ret_repo, const char *path, struct err *e);
void gitrepo_close(void *impl);
/* Objects were added: every handle looks at the disk again before its next call. */
void gitrepo_changed(struct gitrepo *g);
/* Objects were removed: no handle from before is used for another call. */
void gitrepo_dropped(struct gitrepo *g);

/* A handle for one call: an idle one, or (also if `fresh`) a new one. Waits for one if too many are
 * in use. */
int gitrepo_take(struct gitrepo *g, bool fresh, const struct gitrepo_wait *wait,
	struct gitrepo_handle **ret_handle);
/* Give it back; with `discard`, close it: what it has mapped may be out of date. */
void gitrepo_give(struct gitrepo *g, struct gitrepo_handle *h, bool discard);

/* Memory for an object, out of a budget; one that is larger than the budget is read when no other
 * is. */
struct gitrepo_loan {
	git_odb_object *object;
	uint64_t bytes;
};
int gitrepo_borrow(struct gitrepo *g, uint64_t bytes, const struct gitrepo_wait *wait,
	struct gitrepo_loan *ret_loan);
void gitrepo_pay_back(struct gitrepo *g, struct gitrepo_loan *loan); /* frees the object */

/* libgit2's return code and last error as a negative errno. */
int gitrepo_errno(int code);
/* libgit2's last message, for people. */
const char *gitrepo_message(void);
static inline struct oid gitrepo_oid(const git_oid *id)
{
	return oid_from_bytes(id->id, GIT_OID_RAWSZ);
}

/* Without looking at the disk again. */
bool gitrepo_has(struct gitrepo_handle *h, const struct oid *oid);
/* Every entry of a tree that is here; a negative result of `fn` ends it. */
typedef int (*gitrepo_entry_fn)(void *arg, const struct raw_tree_entry *entry);
int gitrepo_walk_tree(
	struct gitrepo_handle *h, const struct oid *tree, gitrepo_entry_fn fn, void *arg);

/* -EINVAL reason REVISION_INVALID for what does not name one commit by its form. */
int gitrepo_check_form(const char *revision, struct err *e);
int gitrepo_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e);
int gitrepo_merge_base(void *impl, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e);
int gitrepo_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitrepo_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns);
int gitrepo_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len);
