/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a push is made of: a repository for the `git` program that has just enough (push_thin.c),
 * and the program, asked and understood (push_git.c).
 */
#pragma once
#include "workflow/wf.h"

#define WF_PUSH_WORDS 512

/* ---- push_thin.c ---- */

/* <workspace>/git/push-PID-XXXXXX: a bare repository with the base as its shallow end, the base's
 * directories on the way to a change, and the workspace's objects as alternates. */
struct wf_thin {
	struct wf *w;
	char *dir; /* absolute; NULL: not made */
	struct wf_odb *odb;
	uint64_t base_bytes; /* of the blobs in it that are there for deltas */
};
int wf_thin_init(struct wf_thin *t, struct wf *w);
void wf_thin_fini(struct wf_thin *t); /* removes it */
/* What Git needs to send `head` to who has the base. */
int wf_thin_fill(struct wf_thin *t, const struct oid *head);
/* The tree object of a directory that is in memory. */
int wf_thin_put_tree(struct wf_thin *t, const struct oid *oid, const struct wf_dir *dir);
/* A small file in it, only for us. */
int wf_thin_write(struct wf_thin *t, const char *name, const char *text);

/* ---- push_git.c ---- */

struct cfg_origin;

/* A server, as it is asked by `git`. */
struct wf_remote {
	struct wf_thin *thin;
	const struct cfg_origin *origin;
	const char *url;
	wf_push_fn progress;
	void *arg;
	bool has_base; /* a reference of the server is the commit that the workspace began with */
	/* of the last program */
	char said[1024]; /* the end of its standard error, without progress */
	char flag;       /* of the ref in its report; 0: none */
	char summary[WF_PUSH_WORDS];
};
/* The files that its configuration needs. */
int wf_remote_init(struct wf_remote *r);
/* What `ref` is on the server; none. Errors as of an origin. */
int wf_remote_look(struct wf_remote *r, const char *ref, struct oid *ret_oid);
/* `commit` to `ref`, which must be `expected` (none: not there). 0: the server said yes. -EBUSY
 * reason NON_FAST_FORWARD or PUSH_REFUSED; -ECONNRESET: it is not known whether it was done.
 * `negotiate`: the server is asked which commits it has; needed unless it names one of the
 * workspace's by itself, because the base may be behind all references. */
int wf_remote_push(struct wf_remote *r, const struct oid *commit, const char *ref,
	const struct oid *expected, bool negotiate);
/* Of a line of progress: true if it is one. Pure. */
bool wf_push_parse_progress(const char *line, struct wf_push_progress *ret_progress);

/* ---- push_mega.c ---- */

struct wf_push_listener {
	wf_push_fn progress;
	void *arg;
};
/* All commits of the workspace as one change list. Errors as wf_push. */
int wf_push_mega(struct wf *w, const struct wf_push_request *rq, const struct wf_push_listener *l,
	struct wf_push_result *result);
