/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An origin is where a repository lives. Callers see revisions, trees and blobs by oid; what kind
 * it is shows only in its capabilities. All calls block (they run on fetch threads), honour cancel
 * and deadline, and never report a failure as absence: -ENOENT means that the origin answered,
 * completely, that there is no such thing. Errors: -ENOENT, -EIO (answer malformed, pack corrupt),
 * -EHOSTUNREACH, -ETIMEDOUT, -EACCES, -ECANCELED; and of a tree -EBADMSG: it is what its id says,
 * but holds an entry that cannot be shown on Linux (a name of more than 255 bytes, "", ".", "..",
 * ".git", two equal ones).
 */
#pragma once
#include "storage/blob.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stdint.h>

struct cancel;
struct err;
struct metrics;
struct origin;
struct tree_builder;
struct tree_view;

enum origin_cap {
	ORIGIN_CAP_PINNED = 1 << 0, /* a commit id names the same content for ever */
	ORIGIN_CAP_SIZES = 1 << 1,  /* sizes come with the tree, without reading blobs */
	ORIGIN_CAP_MODES = 1 << 2,
	ORIGIN_CAP_LOCAL = 1 << 3, /* no network */
	ORIGIN_CAP_PUSH = 1 << 4,
	ORIGIN_CAP_LFS = 1 << 6,   /* shows contents where the repository has LFS pointers */
	ORIGIN_CAP_BATCH = 1 << 5, /* many blobs cost one request: see origin_prepare_blobs */
	/* see origin_find_change; what is pushed there becomes commits of the server's own */
	ORIGIN_CAP_CHANGE_LISTS = 1 << 7,
};

/* How a server is reached, for every kind of origin that is not local. NULL or 0: the default.
 * Files are named, never their contents; they are read again when they have changed. */
struct origin_net {
	const char *username;             /* with password_file */
	const char *password_file;        /* first line, without the end of line */
	const char *token_file;           /* likewise; a bearer token, instead of the two above */
	const char *ca_file;              /* PEM; instead of the system's */
	const char *cert_file, *key_file; /* PEM; both or none */
	const char *ssh_key_file;         /* ssh; NULL: those of the service's user */
	const char *ssh_known_hosts_file; /* likewise */
	const char *proxy;                /* a URL; "none"; NULL: as the environment says */
	uint64_t connect_timeout_ns;      /* 0 = 10 s */
	uint64_t timeout_ns;              /* of silence in one request; 0 = 15 s */
	unsigned max_requests;            /* at one time; 0 = 32 */
};

struct origin_config {
	const char *name; /* path_ident_ok */
	const char *type; /* "git" */
	const char *url;  /* git: a path, file://, or http://, https://, ssh://, git://,
			     user@host:path */
	const char *mode; /* of a remote Git repository: "partial", "mirror"; NULL: the default */
	const char *
		state_dir; /* the origin's own directory, made on need; NULL: it can keep nothing */
	uint64_t mirror_bytes; /* of a remote Git repository, mode partial: what is kept of it at
				  most; 0 = 20 GiB */
	uint64_t refresh_ns;   /* how long the name of a revision may be remembered; 0 = 30 s */
	struct origin_net net;
	bool lfs; /* ORIGIN_CAP_LFS */
	const char
		*lfs_url; /* of the LFS server; NULL: <url>.git/info/lfs, of Mega <url>/info/lfs */
	struct metrics *metrics;
	/* What a person should know and no caller is told; `event` as of a log line. NULL: nobody
	 * listens. Any thread, no lock held. */
	void (*notice)(const char *origin, const char *event, const char *text);
};

struct origin_revision {
	struct oid commit;
	struct oid root; /* tree of the commit */
	int64_t time_s;  /* committer time */
	char ref[256];   /* full ref name if the revision named one, else "" */
};

/* Once per process, before the first origin of type "git" and before threads: libgit2 and its
 * options, for all its users in this process. Without it an origin still opens, but libgit2 refuses
 * repositories of other users. */
int origin_git_init(struct err *e);
void origin_git_fini(void);

/* Opens and checks that the repository is there: -ENOENT reason ORIGIN_NOT_FOUND, -EACCES,
 * -EOPNOTSUPP (a format that is not read). Unknown type: -EINVAL with the known ones in the
 * message. */
int origin_open(struct origin **ret_origin, const struct origin_config *config, struct err *e);
struct origin *origin_ref(struct origin *o);
struct origin *origin_unref(struct origin *o);
const char *origin_name(const struct origin *o);
const char *origin_url(const struct origin *o); /* without credentials */
unsigned origin_caps(const struct origin *o);

/* A revision: "" (default branch), branch, tag (annotated ones are peeled), full ref, full or
 * unique short id (>= 4 digits) of a commit, in the order of git rev-parse; HEAD~1 and the like
 * too. -ENOENT reason REVISION_NOT_FOUND, or REPOSITORY_EMPTY for ""; -EINVAL reason
 * REVISION_AMBIGUOUS for a short id of several commits, REVISION_NOT_A_COMMIT, REVISION_INVALID
 * (ranges, paths, malformed). */
int origin_resolve(struct origin *o, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret_revision, struct err *e);
/* What names of revisions meant is forgotten: who resolves one next is told what the server says
 * then. Nothing changes for what is mounted. Never blocks. */
void origin_refresh(struct origin *o);
/* Whether it answers now, by a question that costs little. 0, or why it does not. Blocks. */
int origin_probe(struct origin *o, const struct cancel *cancel, uint64_t deadline_ns);
/* The best common ancestor of two commits (git merge-base). -ENOENT reason NO_MERGE_BASE, or
 * REVISION_NOT_FOUND: it does not have them;
 * -EOPNOTSUPP: this kind of origin does not tell. */
int origin_merge_base(struct origin *o, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e);
/* What Git's side of a directory ("" = all) of a Mega server advertises: refs/heads/main, and
 * refs/cl/<link> for each change list. A negative result of `fn` ends it. -EOPNOTSUPP: another kind
 * of origin. */
struct origin_ref {
	char name[256];
	struct oid oid;
};
typedef int (*origin_ref_fn)(void *arg, const struct origin_ref *ref);
int origin_refs(
	struct origin *o, const char *path, uint64_t deadline_ns, origin_ref_fn fn, void *arg);
/* `commit` to the main of such a directory, which must be `old`. 0: the server said yes. -EPERM: it
 * said no, and why; -EACCES; anything else: it is not known whether it was done, look at the refs.
 * Never repeated by itself. */
struct origin_push {
	const char *path;
	struct oid old, commit;
	const void *pack;
	size_t len;
	const struct cancel *cancel;
	uint64_t deadline_ns;
};
int origin_push(struct origin *o, const struct origin_push *push, char *ret_why, size_t cap);
/* A change list of the server, by its link (NULL: none, but the directory's main for both commits)
 * and the directory that it belongs to ("" = all). Both
 * commits are of that directory alone: their root trees are what it has. -ENOENT: none of that name
 * belongs there; -ENODATA: the server does not tell commits of directories; -EOPNOTSUPP: this kind
 * of origin has no change lists. */
struct origin_change {
	struct oid commit; /* what it wants */
	struct oid base;   /* what it was made over; none: the server does not give their trees */
};
int origin_find_change(struct origin *o, const char *link, const char *path, uint64_t deadline_ns,
	struct origin_change *ret_change);
/* The files of such a change list as it is now, where nothing else is to be had: their paths are
 * below its directory, and neither modes nor the commit are told. A negative result of `fn` ends
 * it. -ENOENT: there is no such change list; -EIO, -EOPNOTSUPP. */
enum origin_file_action {
	ORIGIN_FILE_NEW,
	ORIGIN_FILE_MODIFIED,
	ORIGIN_FILE_DELETED, /* the id is that of what goes */
	ORIGIN_FILE_RENAMED,
	ORIGIN_FILE_ACTIONS,
};
struct origin_change_file {
	enum origin_file_action action;
	const char *path, *old_path; /* of a renamed one; else NULL */
	struct oid oid;
};
typedef int (*origin_change_file_fn)(void *arg, const struct origin_change_file *file);
int origin_change_files(struct origin *o, const char *link, uint64_t deadline_ns,
	origin_change_file_fn fn, void *arg);
/* All entries of one tree into the builder, sizes included if ORIGIN_CAP_SIZES. On failure the
 * builder holds a part: drop it. -ESTALE: the origin does not know where this tree is; see
 * origin_learn_tree. */
int origin_read_tree(struct origin *o, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns);
/* For origins that are asked by path: they remember where trees are as they read the directories
 * above them, but a directory may come from elsewhere (another origin, the farm). This tells them
 * what is in one. -ESTALE: it is not known where that one is itself. Nothing for other origins.
 * Blocks. */
int origin_learn_tree(struct origin *o, const struct oid *tree, const struct tree_view *view);
/* Roots of commits that such an origin was asked for, at most `cap`. */
int origin_roots(struct origin *o, struct oid *ret_roots, unsigned cap, unsigned *ret_count);
/* Make many blobs cheap to read: with ORIGIN_CAP_BATCH one request brings all that the origin does
 * not have at hand, and reading them then waits for no network; without, this is nothing. Blobs are
 * optional here: after an error some may have come, and each can still be read by itself. */
int origin_prepare_blobs(struct origin *o, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns);
/* Whether a blob is at hand, so that reading it waits for no network. */
bool origin_has_blob(struct origin *o, const struct oid *blob);
/* Before it is used: what it may ask of the other nodes of the farm. What is passed is copied; its
 * `arg` must outlive all calls. */
struct origin_peers;
void origin_set_peers(struct origin *o, const struct origin_peers *peers);
/* A tree or commit object as it is, malloc'ed and verified: for who needs what the index does not
 * keep (the commits of submodules, parents). -EOPNOTSUPP: this kind of origin has no such thing. */
struct origin_raw_request {
	struct oid oid;
	enum object_kind kind;
	const struct cancel *cancel;
	uint64_t deadline_ns;
};
int origin_read_raw(
	struct origin *o, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len);
/* Content of Git LFS by its SHA-256, with ORIGIN_CAP_LFS. Not verified here. */
struct origin_lfs {
	uint8_t sha256[32];
	uint64_t size;
};
int origin_read_lfs(struct origin *o, const struct origin_lfs *lfs, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns);
/* Make many of them cheaper to read soon: the server is asked where they are in few requests.
 * Optional, as origin_prepare_blobs is. */
int origin_prepare_lfs(struct origin *o, const struct origin_lfs *lfs, unsigned count,
	const struct cancel *cancel, uint64_t deadline_ns);
/* A Git LFS pointer as every Git LFS writes it. */
bool origin_lfs_parse(const char *text, size_t len, struct origin_lfs *ret_lfs);
/* The same content to the server, unless it is there, from the beginning of a file of this size.
 * -EACCES. */
int origin_write_lfs(struct origin *o, const struct origin_lfs *lfs, int fd,
	const struct cancel *cancel, uint64_t deadline_ns);
/* For blob_fetch: produce() of this origin. */
struct blob_source origin_blob_source(struct origin *o);
