/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Git workflow of a workspace. Its cost follows the number of changes, not the size of the
 * repository: changes are found in the upper, trees are compared by id, and only directories on the
 * way to a change are rewritten.
 *
 * All calls block (local disk, and the origin for what is not local yet); they honour the cancel
 * token and the deadline. Calls that change something take turns per workspace; the others see the
 * state before or after a change, never one in between. Common errors: -ENOENT MOUNT_NOT_FOUND,
 * -EBUSY NOT_READY, -ESTALE GENERATION_CHANGED or HEAD_CHANGED (with the present one in the
 * metadata), -ECANCELED, -ETIMEDOUT.
 */
#pragma once
#include <service/mounts.h>
#include <stddef.h>
#include <stdint.h>

struct wf_call {
	struct mounts *mounts;
	struct mount_key key;
	bool admin;
	uint64_t expected_generation; /* 0: any */
	const char *expected_head;    /* full commit id; "" or NULL: any */
	struct cancel *cancel;        /* may be NULL */
	uint64_t deadline_ns;
};

/* Pathspecs as Git's: a path, a directory, or a pattern with *, ? and [...]; ":(exclude)" or ":!",
 * ":(glob)", ":(literal)", ":(icase)", ":(top)". None: everything. */
struct wf_paths {
	const char *const *spec;
	size_t count;
};
#define WF_PATHS_MAX 10000

/* Where the workspace stands. */
struct wf_head {
	char base[65], head[65]; /* commits */
	uint64_t generation;
};

/* ---- status ---- */

enum wf_kind {
	WF_ADDED = 1,
	WF_MODIFIED,
	WF_DELETED,
	WF_RENAMED,
	WF_TYPE_CHANGED,
	WF_MODE_CHANGED,
	WF_UNTRACKED,
	WF_IGNORED
};
struct wf_status_entry {
	const char *path;     /* relative to the workspace, as bytes; a collapsed directory ends in
				 '/' */
	const char *old_path; /* WF_RENAMED; else NULL */
	enum wf_kind kind;
	bool staged;       /* HEAD against what is staged; else what is staged against the files */
	uint32_t mode;     /* Git's, after the change; of a deleted one before it */
	uint32_t old_mode; /* 0: there was none */
	uint64_t size_bytes; /* of a file as it is now, 0 if deleted or staged */
	unsigned similarity; /* WF_RENAMED: percent */
};
enum wf_untracked { WF_UNTRACKED_NORMAL, WF_UNTRACKED_ALL, WF_UNTRACKED_NO };
struct wf_status_request {
	struct wf_paths paths;
	enum wf_untracked
		untracked; /* NORMAL: a directory with nothing tracked in it is one entry */
	bool ignored;      /* list what is ignored too */
	bool no_renames;
};
/* In Git's order of paths; a path may come twice, staged first. A non-zero answer ends it and is
 * returned. */
typedef int (*wf_status_fn)(void *arg, const struct wf_status_entry *entry);
int wf_status(const struct wf_call *call, const struct wf_status_request *rq, wf_status_fn fn,
	void *arg, struct wf_head *ret_head, struct err *e);

/* ---- what is staged, and commits ---- */

struct wf_add_request {
	struct wf_paths paths; /* none: everything */
	bool update;           /* only what is tracked */
	bool force;            /* also what is ignored */
};
struct wf_add_result {
	uint64_t files, bytes, removed; /* stored; removed from what is staged */
	struct wf_head head;
};
/* -ENOENT PATHSPEC_NO_MATCH (metadata pathspec): nothing is staged then. -EPERM PATH_IGNORED: named
 * itself, and ignored. -EDQUOT, -ENOSPC. */
int wf_add(const struct wf_call *call, const struct wf_add_request *rq,
	struct wf_add_result *ret_result, struct err *e);

enum wf_reset_mode { WF_RESET_MIXED, WF_RESET_SOFT, WF_RESET_HARD };
struct wf_reset_request {
	enum wf_reset_mode mode;
	const char *to; /* "" or "HEAD", "BASE", "HEAD~2", a commit of the workspace */
	struct wf_paths paths;
};
struct wf_reset_result {
	uint64_t staged, files; /* paths whose staged entry, whose file was set */
	struct wf_head head;
};
/* -ENOENT REVISION_NOT_FOUND, PATHSPEC_NO_MATCH. */
int wf_reset(const struct wf_call *call, const struct wf_reset_request *rq,
	struct wf_reset_result *ret_result, struct err *e);

struct wf_signature {
	const char *name, *email; /* name NULL: not set */
	int64_t time_s;
	int offset_minutes; /* of the time zone, east of Greenwich */
	bool has_time;      /* else now */
};
struct wf_commit_request {
	const char *message;
	struct wf_signature author, committer; /* committer not set: as author */
	bool allow_empty;
	const char *signature; /* armored, of the commit without it; passed through. May be NULL */
};
struct wf_commit_result {
	char commit[65], tree[65], parent[65];
	uint64_t added, modified, deleted; /* paths */
};
/* -EINVAL with the field; -EBUSY NOTHING_TO_COMMIT. */
int wf_commit(const struct wf_call *call, const struct wf_commit_request *rq,
	struct wf_commit_result *ret_result, struct err *e);

struct wf_log_entry {
	char commit[65], tree[65], parent[65];
	struct wf_signature author, committer;
	const char *message;
};
typedef int (*wf_log_fn)(void *arg, const struct wf_log_entry *entry);
/* The workspace's commits, newest first; `limit` 0: all. */
int wf_log(const struct wf_call *call, unsigned limit, wf_log_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e);

/* ---- diff ---- */

enum wf_diff_format {
	WF_DIFF_PATCH,
	WF_DIFF_NUMSTAT,
	WF_DIFF_NAME_ONLY,
	WF_DIFF_NAME_STATUS,
	WF_DIFF_STAT,
	WF_DIFF_SHORTSTAT
};
struct wf_diff_request {
	/* "INDEX", or as `to` of a reset. `to` "": the files; `from` "": what is staged if `to` is
	 * the files, else HEAD. */
	const char *from, *to;
	struct wf_paths paths;
	enum wf_diff_format format;
	unsigned context; /* lines around a change */
	unsigned width;   /* of WF_DIFF_STAT, in columns; 0: that of no terminal */
	bool no_renames;
};
typedef int (*wf_diff_fn)(void *arg, const char *text, size_t len);
/* The text that `git diff` writes, in pieces. What is not tracked is left out. -EFBIG
 * DIFF_TOO_LARGE.
 */
int wf_diff(const struct wf_call *call, const struct wf_diff_request *rq, wf_diff_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e);

/* ---- the change list ---- */

struct wf_list_entry {
	const char *path; /* bytes of a name may be anything but NUL */
	size_t path_len;
	uint32_t mode, old_mode; /* Git's; 0: it is not there with, or without, the change list */
};
typedef int (*wf_list_fn)(void *arg, const struct wf_list_entry *entry);
/* What the workspace's change list does to its revision, in Git's order of paths; nothing without
 * one. A non-zero answer ends it and is returned. */
int wf_list_entries(const struct wf_call *call, wf_list_fn fn, void *arg, struct wf_head *ret_head,
	struct err *e);

/* ---- fetch, rebase ---- */

struct wf_fetch_result {
	char revision[256], commit[65];
	int64_t time_s;
	bool moved; /* it is not the workspace's base any more */
	struct wf_head head;
};
/* What `revision` ("": the one that the mount was made with) is at the origin by now. */
int wf_fetch(const struct wf_call *call, const char *revision, struct wf_fetch_result *ret_result,
	struct err *e);

enum wf_conflict_choice {
	WF_CONFLICT_FAIL,
	WF_CONFLICT_KEEP_MINE,
	WF_CONFLICT_TAKE_THEIRS,
	WF_CONFLICT_MERGE /* by lines; what cannot be merged fails */
};
struct wf_rebase_request {
	const char *revision; /* as for wf_fetch */
	enum wf_conflict_choice on_conflict;
	struct wf_signature committer; /* of commits that are made anew; name NULL: each one's */
};
struct wf_rebased {
	char old[65], commit[65]; /* commit "": the new base has its change already */
};
struct wf_rebase_result {
	struct wf_rebased *commits; /* those of the workspace, oldest first */
	size_t count;
};
void wf_rebase_result_fini(struct wf_rebase_result *result);
struct mount_info;
/* Moves the workspace to another revision while jobs use it; its commits as `git rebase --onto`
 * does. -ESTALE REBASE_CONFLICT, with the paths (err_line); -EBUSY NOT_READY,
 * WORKSPACE_HAS_COMMITS; -EFBIG TOO_MANY_COMMITS, TOO_MANY_CHANGES; -ENOENT REVISION_NOT_FOUND,
 * PATH_NOT_FOUND. Nothing has changed then. After another error the move may have been made but
 * for single files, which the next change of the workspace ends. */
int wf_rebase(const struct wf_call *call, const struct wf_rebase_request *rq,
	struct mount_info *ret_info, struct wf_rebase_result *ret_result, struct err *e);

/* ---- push ---- */

enum wf_push_phase {
	WF_PUSH_COUNTING = 1,
	WF_PUSH_COMPRESSING,
	WF_PUSH_WRITING,
	WF_PUSH_SERVER, /* a line of text from the server */
	WF_PUSH_LFS     /* contents to the LFS server, before all others; `bytes` of them */
};
struct wf_push_progress {
	enum wf_push_phase phase;
	uint64_t objects, total, bytes; /* total 0: not known yet */
	const char *text;
};
typedef int (*wf_push_fn)(void *arg, const struct wf_push_progress *progress);
struct wf_push_request {
	const char
		*ref; /* "refs/...", or a branch; "": the branch that the mount's revision names */
	/* The commit that the reference must be on the server; then it need not be below HEAD. "":
	 * it must be below HEAD, or absent. */
	const char *force_with_lease;
};
struct wf_push_result {
	char ref[256], old[65], new[65]; /* old "": there was none */
	bool created, up_to_date;
	char change_list[65]; /* on a Mega server: its link; `created` is about it */
};
/* -EACCES PUSH_NOT_ALLOWED (the tenant), PUSH_DENIED (the server); -EBUSY NOTHING_TO_PUSH,
 * NON_FAST_FORWARD, PUSH_REFUSED; -ENOENT ORIGIN_NOT_FOUND; -EHOSTUNREACH ORIGIN_UNAVAILABLE;
 * -ECONNRESET PUSH_LOST, PUSH_OUTCOME_UNKNOWN. After any of them it may be repeated. */
int wf_push(const struct wf_call *call, const struct wf_push_request *rq, wf_push_fn progress,
	void *arg, struct wf_push_result *ret_result, struct err *e);
