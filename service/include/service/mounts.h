/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of mounts: create, find, list, delete, lease, watch, and recovery at start. Every
 * state change is journaled and synced before it is acted on. Calls that work (create, delete,
 * update) block on local disk and perhaps on an origin: run them on a worker thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <storage/collect.h>
#include <sys/types.h>

struct cancel;
struct cfg;
struct clock;
struct err;
struct metrics;
struct mounts;
struct sess_farm;
struct storage;
struct tenants;

enum mount_state {
	MOUNT_PROVISIONING = 1,
	MOUNT_READY,
	MOUNT_QUIESCING,
	MOUNT_DELETING,
	MOUNT_DELETED,
	MOUNT_FAILED,
	MOUNT_EXPIRED
};
const char *mount_state_name(enum mount_state s); /* "READY" ... */

#define MOUNT_LABELS_MAX 32

/* Where a change list comes from. The numbers are on disk. */
enum mount_change_kind {
	MOUNT_CHANGE_NONE,
	MOUNT_CHANGE_RANGE, /* text: two commits, "a..b" */
	MOUNT_CHANGE_REF,   /* text: a ref or commit; what it changes since the merge base */
	MOUNT_CHANGE_LINK,  /* text: of a change list on a Mega server; path: where it belongs */
	MOUNT_CHANGE_PATCH, /* data */
	MOUNT_CHANGE_TAR,   /* data; deleted: paths that go */
	MOUNT_CHANGE_KINDS,
};

struct mount_change_source {
	enum mount_change_kind kind;
	const char *text;
	const char *path; /* NULL: the mount's, or a directory above it */
	const void *data;
	size_t len;
	const char *const *deleted;
	size_t deleted_count;
};

struct mount_label {
	char key[64], value[256];
};

/* A mount as callers see it: a copy, owned by the caller; free with mount_info_fini. */
struct mount_info {
	char mount_id[40], job_id[129], tenant[64], origin[64], revision[256], commit[65],
		root_tree[65];
	char *path, *mountpoint, *root, *reason; /* malloc'ed, "" if none */
	enum mount_change_kind change_kind;      /* of the change list, if there is one */
	char *change_text;      /* malloc'ed; as struct mount_change_source has it, but of a patch
				   or an archive its SHA-256 in hex; "" without a change list */
	char *change_path;      /* malloc'ed; of a link */
	char change_commit[65]; /* what it was resolved to; "" for files */
	uint64_t change_paths;  /* that the change list touches */
	enum mount_state state;
	uint64_t quota_bytes, quota_inodes; /* UINT64_MAX = unlimited */
	uint64_t used_bytes, used_inodes;
	uint32_t lease_seconds;
	uint64_t lease_expires_wall_ns, created_wall_ns; /* 0 = none */
	uint64_t generation, sequence;                   /* sequence of its last event */
	uint64_t trees_fetched, blobs_fetched, bytes_fetched, fetch_errors;
	bool read_only;
	uid_t uid;
	gid_t gid;
	struct mount_label *labels;
	unsigned label_count;
};
void mount_info_fini(struct mount_info *m);
int mount_info_copy(const struct mount_info *from, struct mount_info *ret_copy);

struct mounts_config {
	const struct cfg *cfg;
	struct storage *storage;
	struct tenants *tenants;
	struct sess_farm *farm;
	const struct clock *clock;
	struct metrics *metrics;
};
/* Opens the journal, sweeps mounts and directories left by a dead process, brings every recorded
 * mount to READY, or removes it if it was being made or deleted, and starts the reaper of leases.
 * One damaged mount becomes FAILED and does not stop the others. */
int mounts_open(struct mounts **ret_mounts, const struct mounts_config *config, struct err *e);
/* The last thing before a process that hands over ends: leases and deletions rest, for the
 * successor to go on with. No callers may be left. */
void mounts_rest(struct mounts *m);
/* Sessions are closed in order; workspaces and records stay on disk for the next start. */
struct mounts *mounts_close(struct mounts *m);
/* Refuse new mounts from now on (-ESHUTDOWN, reason DRAINING), or take them again. */
void mounts_drain(struct mounts *m, bool on);

/* How much of it is to be local when the call returns. */
enum mount_wait { MOUNT_WAIT_MOUNTED, MOUNT_WAIT_INDEXED, MOUNT_WAIT_WARM };

struct mount_request {
	const char *tenant, *job_id, *origin, *path, *revision, *mountpoint;
	uint64_t quota_bytes, quota_inodes; /* 0 = the tenant's default */
	uint32_t lease_seconds;
	bool read_only;
	uid_t uid;
	gid_t gid;
	const struct mount_change_source *change; /* NULL: no change list */
	const struct mount_label *labels;
	unsigned label_count;
	enum mount_wait wait_for;
	uint32_t preload_depth; /* levels; 0 = all */
};
int mounts_create(struct mounts *m, const struct mount_request *rq, const struct cancel *cancel,
	uint64_t deadline_ns, struct mount_info *ret_info, struct err *e);

/* Names a mount: mount_id, or (tenant, job_id). With `tenant` set, a mount of another is as if it
 * were not there; NULL = any (admin). */
struct mount_key {
	const char *mount_id, *job_id, *tenant;
};
int mounts_get(
	struct mounts *m, const struct mount_key *key, struct mount_info *ret_info, struct err *e);
int mounts_delete(struct mounts *m, const struct mount_key *key, uint64_t deadline_ns,
	struct mount_info *ret_info, struct err *e);
int mounts_renew(struct mounts *m, const struct mount_key *key, uint32_t lease_seconds,
	struct mount_info *ret_info, struct err *e);

enum mount_update_field {
	MOUNT_UPDATE_BYTES = 1,
	MOUNT_UPDATE_INODES = 2,
	MOUNT_UPDATE_LEASE = 4,
	MOUNT_UPDATE_LABELS = 8
};
struct mount_update {
	unsigned fields;
	uint64_t quota_bytes, quota_inodes;
	uint32_t lease_seconds;
	const struct mount_label *labels;
	unsigned label_count;
};
int mounts_update(struct mounts *m, const struct mount_key *key, const struct mount_update *update,
	struct mount_info *ret_info, struct err *e);

/* What names the mount of a switch, and how long it may take. */
struct mount_switch_call {
	const struct mount_key *key;
	uint64_t expected_generation; /* 0: any. -ESTALE, reason GENERATION_CHANGED */
	struct cancel *cancel;        /* may be NULL */
	uint64_t deadline_ns;
};
/* Lays another change list over the mount's revision, or none (`source` NULL), while jobs use it:
 * what they have open goes on, what they wrote stays on top. -ESTALE reason
 * CHANGE_LIST_DOES_NOT_APPLY; -EBUSY WORKSPACE_HAS_COMMITS, NOT_READY. Nothing has changed then. */
int mounts_set_change_list(struct mounts *m, const struct mount_switch_call *call,
	const struct mount_change_source *source, struct mount_info *ret_info, struct err *e);

struct mount_filter {
	const char *tenant, *origin; /* NULL = any */
	uint32_t states;             /* bit set of 1 << enum mount_state; 0 = any */
	const struct mount_label *labels;
	unsigned label_count;
	const char *page_token; /* NULL or "" = start; opaque */
	unsigned page_size;     /* 0 = 100; at most 1000 */
	const char *mount_id;   /* NULL = any */
};
/* Up to page_size copies in an array to the caller (mount_info_fini each, then free), and the next
 * token ("" at the end). */
int mounts_list(struct mounts *m, const struct mount_filter *filter, struct mount_info **ret_infos,
	unsigned *ret_count, char ret_token[64], struct err *e);
uint64_t mounts_ready_count(struct mounts *m);
/* Those that have not ended: ready, being made, switched or deleted. */
uint64_t mounts_live_count(struct mounts *m);
/* Calls `fn`, which must not block nor take locks, for the directory that each mount shows, and for
 * the one before while it is switched. */
void mounts_each_root(struct mounts *m, storage_root_fn fn, void *arg);

#define MOUNT_HOLDERS_MAX 256u

/* A process that uses a mount. */
struct mount_holder {
	char mount_id[40], job_id[129], tenant[64], command[32];
	pid_t pid;
	uid_t uid;
	const char *how; /* "open", "mapped", "directory", "root", "program" */
};
/* Of one mount, or with `key` NULL of all, at most MOUNT_HOLDERS_MAX; an array to free. Reads
 * /proc: some milliseconds per hundred processes. */
int mounts_holders(struct mounts *m, const struct mount_key *key, struct mount_holder **ret_holders,
	unsigned *ret_count);

/* Watching. Events are numbered by one sequence that goes on over restarts. `fn` is called in
 * order, on the thread that changes a mount or, for the present state, on the caller's, with the
 * registry locked: it must only copy and queue. */
enum mount_event_kind {
	MOUNT_EVENT_PRESENT = 1,
	MOUNT_EVENT_SYNCED,
	MOUNT_EVENT_CHANGED,
	MOUNT_EVENT_REMOVED
};
struct mount_event {
	enum mount_event_kind kind;
	uint64_t sequence, wall_ns;
	const struct mount_info *mount; /* NULL for SYNCED */
};
typedef void (*mount_watch_fn)(void *arg, const struct mount_event *event);
struct mount_watch;
int mounts_watch(struct mounts *m, const struct mount_filter *filter, uint64_t since_sequence,
	mount_watch_fn fn, void *arg, struct mount_watch **ret_watch);
/* After it returns `fn` is not called any more. */
void mounts_unwatch(struct mounts *m, struct mount_watch *w);

/* Sum of FUSE requests by opcode over all sessions, for GetNode. */
void mounts_fuse_counts(struct mounts *m, uint64_t ret_counts[64]);
