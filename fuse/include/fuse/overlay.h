/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay of one tenant: its workspaces as directories below one root, each an upper directory
 * over a lower tree. It knows nothing of libfuse: calls take node ids and names and return 0 or a
 * negative errno, and the session turns them into replies.
 *
 * Node ids. 1 is the root of the session. All others are (workspace serial << OVL_LOCAL_BITS |
 * local); local 1 is the root of the workspace. st_ino equals the node id. An id is never
 * used again before all other serials were.
 * An entry of a lower directory has the id (base of its directory's block + index in the packed
 * directory), so an untouched lower file costs no memory and survives a restart.
 *
 * -EAGAIN from any call, with rq->need filled: nothing was done; call ovl_fetch(rq->need), then
 * repeat the same call. Threads: any. No call waits for a remote. All take their locks inside
 * (docs/locking.md, ranks LOCK_RANK_OVL*).
 */
#pragma once
#include "fuse/lower.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct clock;
struct err;
struct metrics;
struct overlay;
struct ovl_ws;
struct quota;

#define OVL_ROOT_ID    1ull
#define OVL_LOCAL_BITS 40

/* What is missing, when a call answers -EAGAIN. Holds a reference on the workspace: ovl_fetch or
 * ovl_need_drop releases it. */
struct ovl_need {
	enum lower_need_kind kind;
	struct oid oid;
	uint64_t id; /* an upper file whose digests are to be computed, instead of anything of the
			lower; 0: none */
	struct ovl_ws *ws;
	bool optional; /* only for count_links: if it fails or takes long, ask again without */
};

/* Who asks. One per request, on the caller's stack or in its request record. */
struct ovl_req {
	uint64_t unique; /* FUSE unique without the resend bit: names the intent in the journal */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	mode_t umask;
	/* Lookup and getattr: -EAGAIN rather than an st_nlink of 1 ("not counted") for a directory
	 * whose tree is not local. */
	bool count_links;
	struct ovl_need need; /* out, with -EAGAIN */
	bool digested; /* ours, from call to call: digests were computed for this very request */
};

struct ovl_entry {
	uint64_t id; /* counts as one lookup, until ovl_forget */
	struct stat attr;
};

/* ---- an overlay and its workspaces (called by service/, through the session) ---- */

struct ovl_config {
	const char *tenant;
	bool is_private;  /* its directory is 0711, and that of a new workspace 0700 */
	unsigned fds_max; /* open descriptors kept in all; 0 = 2048 */
	/* Nodes kept in all, as far as they are of the lower alone; 0 = 100,000. */
	uint64_t nodes_max;
	const struct clock *clock;
	struct metrics *metrics; /* may be NULL */
};
int ovl_new(struct overlay **ret_overlay, const struct ovl_config *config);
struct overlay *ovl_free(struct overlay *o); /* all workspaces must have been removed */

struct ovl_ws_config {
	const char *name;    /* directory name below the session's root, path_ident_ok */
	uint64_t serial;     /* 1 .. 2^23-1; one of the tenant is used again after all others */
	const char *dir;     /* private directory on disk: upper/ and work/ live in it; created if
				missing */
	struct lower *lower; /* owned by the workspace once ovl_ws_add returns 0 */
	struct oid root_tree;
	/* None, or what a process that was killed was switching to (fuse/switch.h): shown instead
	 * if that switch was made. */
	struct oid switching_to;
	int64_t lower_time_s; /* times of lower entries, until the first switch */
	uid_t uid;            /* owner of lower entries */
	gid_t gid;
	bool read_only;
	struct quota *quota; /* QUOTA_BYTES, QUOTA_INODES are charged; outlives the workspace */
	/* The kernel's connection outlived the process that had this workspace open: what it knows
	 * of ids, open and removed files goes on (ovl_revive.c). -ESTALE: that is not there. */
	bool adopt;
};
/* Opens (recovers, if the directory has content: replays the journal, resolves intents, sweeps
 * orphans and temporaries, charges the exact usage) and makes it visible under its name. -EEXIST:
 * name or serial in use. -EPROTO: directory of another format. */
int ovl_ws_add(struct overlay *o, const struct ovl_ws_config *config, struct ovl_ws **ret_ws,
	struct err *e);
/* Takes the name away, lets running calls end, makes later ones on its ids -ESTALE, persists ids
 * and usage, closes. What is on disk stays. The usage is given back to the quota's parent by the
 * owner of the quota, not here. */
void ovl_ws_remove(struct overlay *o, struct ovl_ws *ws);
/* The same for a workspace whose directory is going to be deleted: nothing is written for a later
 * start. */
void ovl_ws_discard(struct overlay *o, struct ovl_ws *ws);
uint64_t ovl_ws_root_id(const struct ovl_ws *ws);

struct ovl_ws_stats {
	uint64_t nodes, directories, copied_up, journal_bytes, orphans;
	uint64_t revived, resolved; /* nodes and open intents of the last process, with adopt */
	bool journal_set_aside;     /* it was damaged: work/journal.damaged */
};
void ovl_ws_stats(struct ovl_ws *ws, struct ovl_ws_stats *ret_stats);
/* Nodes whose memory was freed so far, all workspaces. */
uint64_t ovl_nodes_freed(const struct overlay *o);

/* Starts what a -EAGAIN named; consumes rq->need. `fn` as lower_done. A negative result means: not
 * started. */
int ovl_fetch(struct ovl_need *need, uint64_t deadline_ns, lower_done fn, void *arg);
void ovl_need_drop(struct ovl_need *need);

#define OVL_FORMAT 1 /* of a workspace's directory, its journal and counts included */

/* Makes the kernel write back what programs changed in a file through a shared mapping and the
 * overlay has not seen yet. Called without any lock on a thread that serves no requests; may wait
 * for requests to be served. NULL takes it away: after 0 it is not running any more; -ETIMEDOUT. */
typedef void (*ovl_flush)(void *arg, uint64_t id);
int ovl_set_flush(struct overlay *o, ovl_flush flush, void *arg, uint64_t deadline_ns);

/* Of a request that the kernel sends again: was it done by a process that is dead? `id` is any id
 * of its workspace, `unique` that of the request without the resend bit. Then the answer is
 * success. */
bool ovl_was_done(struct overlay *o, uint64_t id, uint64_t unique);
/* Removed files of all workspaces that are kept because the kernel has lookups of them, as far as
 * the counts of a process that is dead say so. Before requests are served; free() the ids. */
int ovl_orphans(struct overlay *o, uint64_t **ret_ids, size_t *ret_count);

/* ---- requests (called by session/ops_*.c) ---- */

/* -ENOENT: certain, may be cached for ever (except below OVL_ROOT_ID). */
int ovl_lookup(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_entry *ret_entry);
void ovl_forget(struct overlay *o, uint64_t id, uint64_t count);
/* After -EDQUOT: will the workspace of `id` get something back by itself, because there are removed
 * objects that the kernel has not forgotten yet? */
bool ovl_quota_returns(struct overlay *o, uint64_t id);
int ovl_getattr(struct overlay *o, struct ovl_req *rq, uint64_t id, struct stat *ret_attr);

enum ovl_set {
	OVL_SET_MODE = 1 << 0,
	OVL_SET_UID = 1 << 1,
	OVL_SET_GID = 1 << 2,
	OVL_SET_SIZE = 1 << 3,
	OVL_SET_ATIME = 1 << 4,
	OVL_SET_MTIME = 1 << 5,
	OVL_SET_ATIME_NOW = 1 << 6,
	OVL_SET_MTIME_NOW = 1 << 7,
	OVL_SET_CTIME = 1 << 8,
	OVL_SET_KILL_SUID = 1 << 9,
};
int ovl_setattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct stat *attr,
	unsigned set, struct stat *ret_attr);

/* Target into buf, NUL-terminated; -ENAMETOOLONG if cap is too small (cap of 4097 always fits). */
int ovl_readlink(struct overlay *o, struct ovl_req *rq, uint64_t id, char *buf, size_t cap);
/* Bytes read. */
ssize_t ovl_read(
	struct overlay *o, struct ovl_req *rq, uint64_t id, void *buf, size_t len, uint64_t offset);

/* Listing from `offset` (0 = start): calls `fill` for each entry with the offset of the next one,
 * until fill returns non-zero (no room; that entry is not consumed); `fill` must not call the
 * overlay. plus: entry->attr is complete and the lookup is counted if entry->id != 0 and fill took
 * it; an entry whose size is not yet known has id 0 and only st_ino and the type. Offsets stay
 * valid across restarts. Includes "." and "..". */
typedef int (*ovl_fill)(
	void *arg, const char *name, const struct ovl_entry *entry, uint64_t next_offset);
int ovl_readdir(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, bool plus,
	ovl_fill fill, void *arg);

/* mode carries the type for mknod; the umask has been applied by the kernel. rdev 0/0 character
 * devices are -EPERM. */
int ovl_mknod(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	dev_t rdev, struct ovl_entry *ret_entry);
int ovl_mkdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	struct ovl_entry *ret_entry);
int ovl_symlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	const char *target, struct ovl_entry *ret_entry);
/* flags: O_EXCL, O_TRUNC matter; the descriptor goes to the LRU. */
int ovl_create(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	mode_t mode, int flags, struct ovl_entry *ret_entry);
/* An unnamed file in the workspace of `parent` (O_TMPFILE); ovl_link gives it a name. */
int ovl_tmpfile(struct overlay *o, struct ovl_req *rq, uint64_t parent, mode_t mode,
	struct ovl_entry *ret_entry);
int ovl_link(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t new_parent,
	const char *new_name, struct ovl_entry *ret_entry);
int ovl_unlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name);
int ovl_rmdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name);
/* flags of renameat2: RENAME_NOREPLACE, RENAME_EXCHANGE; RENAME_WHITEOUT is -EINVAL. Between
 * workspaces: -EXDEV. */
struct ovl_rename {
	uint64_t parent, new_parent;
	const char *name, *new_name;
	unsigned flags;
};
int ovl_rename(struct overlay *o, struct ovl_req *rq, const struct ovl_rename *rename);

/* Bytes written. kill_suid: drop set-id bits first (FUSE_WRITE_KILL_SUIDGID). */
ssize_t ovl_write(struct overlay *o, struct ovl_req *rq, uint64_t id, const void *data, size_t len,
	uint64_t offset, bool kill_suid);
int ovl_fallocate(struct overlay *o, struct ovl_req *rq, uint64_t id, int mode, uint64_t offset,
	uint64_t len);
/* New position; whence SEEK_DATA or SEEK_HOLE. */
int64_t ovl_lseek(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, int whence);
struct ovl_copy {
	uint64_t in_id, in_offset, out_id, out_offset, len;
};
/* -EOPNOTSUPP when the source is not in an upper: the kernel then copies by itself. */
ssize_t ovl_copy_range(struct overlay *o, struct ovl_req *rq, const struct ovl_copy *copy);
int ovl_fsync(struct overlay *o, struct ovl_req *rq, uint64_t id, bool data_only);
int ovl_statfs(struct overlay *o, struct ovl_req *rq, uint64_t id, struct statvfs *ret_stat);

/* xattrs as in xattr(7): cap 0 asks for the length; -ERANGE, -ENODATA. Names of the overlay's own
 * are neither seen nor settable; those of digests (ovl_xattr.c) can be read only. */
ssize_t ovl_getxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	void *value, size_t cap);
ssize_t ovl_listxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, char *list, size_t cap);
int ovl_setxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	const void *value, size_t len, int flags);
int ovl_removexattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name);
