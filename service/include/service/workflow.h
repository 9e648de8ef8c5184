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
