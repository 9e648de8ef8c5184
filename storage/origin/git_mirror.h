/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private bare repository of a remote origin, below its state directory:
 *
 *	lock            held (flock) by whoever changes refs or packs, programs included
 *	commits         ids of the commits that are here with all their trees, by lines
 *	mirror.git/     objects and, in mode mirror, refs
 *
 * It is crash-safe because objects appear whole or not at all (git index-pack), a commit is listed
 * after its objects are on disk, and what a killed program has left is removed at the next start.
 * Objects are taken away only beyond a budget, and only those that can be fetched again
 * (git_mirror_trim.c): a commit that is mounted stays readable whatever happens to its branch. So
 * that they are found quickly, many small packs are put together now and then.
 *
 * Threads: any; `git` is run by the calling thread, putting together by a pool of one.
 */
#pragma once
#include "base/lock.h"
#include "origin/git_run.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>

struct counter;
struct err;
struct gauge;
struct giturl;
struct pool;

/* How large the packs may become; set before the first comes in. */
struct gitmirror_budget {
	uint64_t bytes; /* 0: no limit */
	struct gauge *size;
	struct counter *trimmed; /* both may be NULL */
	/* Objects have been removed. On the tidier's thread, no lock held. */
	void (*dropped)(void *arg);
	void *arg;
};

struct gitmirror {
	char *path, *commits_path, *lock_path; /* const after open */
	char *const *env;
	struct pool *tidier;
	struct cancel *closing;
	struct lock lock;
	struct oid *commits; /* sorted by arrival; all guarded by lock */
	size_t commit_count, commit_cap;
	unsigned packs; /* new since they were put together */
	bool tidying;
	bool trim_waits;                /* for the end of the requests that are counted here: */
	unsigned haves_told;            /* requests under way that build on `commits` */
	struct gitmirror_budget budget; /* const once packs come in */
};

void gitmirror_init(struct gitmirror *m);
void gitmirror_fini(struct gitmirror *m); /* waits for what it runs, which ends soon */
int gitmirror_open(struct gitmirror *m, const char *state_dir, struct err *e);
/* The environment of its programs; set once, before any of the calls below. */
void gitmirror_set_env(struct gitmirror *m, char *const *env);

/* A pack on its way in, in a directory of its own until it is whole. */
struct gitpack {
	struct gitrun run; /* git index-pack: write to it */
	char *dir;
};
/* The bytes are checked and every object is named by its own hash: what the
 * server sent can be incomplete, but never wrong. */
int gitmirror_begin_pack(struct gitmirror *m, struct gitpack *ret_pack, struct err *e);
/* The end of the pack; then its objects can be read. Either this or the next. */
int gitmirror_end_pack(
	struct gitmirror *m, struct gitpack *pack, const struct gitrun_wait *wait, struct err *e);
/* It does not come: nothing is left. */
void gitmirror_drop_pack(struct gitpack *pack);

bool gitmirror_has_commit(struct gitmirror *m, const struct oid *commit);
/* The latest that are complete, at most `cap`, to be told to a server. Nothing of them is removed
 * until gitmirror_end_haves. */
size_t gitmirror_begin_haves(struct gitmirror *m, struct oid *ret_commits, size_t cap);
void gitmirror_end_haves(struct gitmirror *m);
/* One that is listed is not here: the mirror was damaged, and no entry is believed any more. */
int gitmirror_forget_commits(struct gitmirror *m);
int gitmirror_add_commit(struct gitmirror *m, const struct oid *commit);

/* Fetch everything (mode mirror): all refs become those of the server, HEAD too. */
int gitmirror_fetch_all(struct gitmirror *m, const struct giturl *url,
	const struct gitrun_wait *wait, struct err *e);
