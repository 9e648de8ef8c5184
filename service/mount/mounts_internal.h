/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to mounts.c and mount_*.c: the registry and one mount in it.
 *
 * One lock, `mu`, guards the registry and the fields of every mount. Nothing that blocks happens
 * under it: a thread that is going to work on a mount claims it (`busy`), works without the lock,
 * and releases it. Only the claimer changes the record, through mount_commit, which journals the
 * new record, then puts it in place and publishes the event. So the claimer may read the record
 * without the lock; everyone else reads it under the lock.
 */
#pragma once
#include "lease_heap.h"
#include "mount_codec.h"
#include "mount_journal.h"
#include "mount_serial.h"
#include "mount_watch.h"
#include "name_table.h"

#include <base/err.h>
#include <base/list.h>
#include <base/lock.h>
#include <base/metrics.h>
#include <base/quota.h>
#include <base/sm.h>
#include <fuse/switch.h>
#include <service/mounts.h>

struct mount_fetches;
struct mount_change_call;
struct mount_host;
struct mount_use;
struct ovl_ws;
struct pool;
struct storage_kept;
struct tenant;
struct trash;

#define ENDED_KEPT_NS    (3600 * NS_PER_S) /* DELETED and FAILED mounts are remembered */
#define ENDED_KEPT_COUNT 10000
#define HOST_IDLE_NS     (60 * NS_PER_S) /* a session without mounts is closed after */

struct mount {
	struct mounts *registry; /* const */
	struct list link;        /* in mounts.all; guarded by mu */
	struct name_node by_id;  /* guarded by mu */
	struct name_node by_job; /* only of the mount that has the job id now; guarded by mu */
	struct lease_node lease; /* guarded by mu */
	struct cond changed;     /* busy ended */
	unsigned refs;           /* guarded by mu; one for the list, one for each waiter */
	bool busy;               /* claimed; guarded by mu */
	bool known;              /* journaled: shown to callers; guarded by mu */
	bool has_job;            /* the job id is its own; guarded by mu */
	struct sm sm;            /* guarded by mu; sm.state == rec.state */
	struct mount_record rec; /* see above */
	uint64_t sequence;       /* of its last event; guarded by mu */
	char job_key[MOUNT_JOB_KEY_MAX]; /* tenant/job; const */
	char *root;                      /* const */
	struct err *failure; /* why its creation failed, for those who waited; NULL: it did not, or
				there was no memory to say so: they try themselves. Guarded by mu */

	/* What is open; changed by the claimer only, read by others under mu when `attached`. */
	bool attached; /* guarded by mu */
	bool bound;
	bool counted; /* QUOTA_MOUNTS is charged */
	struct tenant *tenant;
	struct mount_host *host;
	struct ovl_ws *ws;
	struct quota quota; /* initialised while attached */
	struct mount_fetches *fetches;
	struct storage_kept **kept; /* see mount_kept.h */
	unsigned kept_count;
	struct mount *next_stranded; /* see mount_revive.c */

	struct list uses;            /* see mount_use.h; guarded by mu, as is the next */
	bool closing;                /* no new uses */
	struct mount_use *alone;     /* the only one; others wait. Guarded by mu */
	struct ovl_switched to_tell; /* see mount_switch_resume; of the opening thread */
	bool plan_done;              /* ... and the workflow's plan goes once it is told */
};

struct mounts_metrics {
	struct counter *created, *create_failed, *deleted, *expired, *recovered, *recover_failed;
	struct histogram *create_time;
	struct gauge *ready;
	struct counter *adopted_sessions, *revived_nodes, *resolved_intents;
	struct histogram *takeover_time;
	struct counter *stuck, *aborted;
	struct counter *switched, *switch_failed;
	struct histogram *switch_time;
	struct gauge *stuck_now;
};

/* Workspace serials, by tenant. */
struct mount_serial {
	struct tenant *tenant;         /* const */
	struct serial_counter counter; /* guarded by mu */
};

struct mounts {
	struct mounts_config config;   /* const */
	struct mounts_metrics metrics; /* const */
	char *workspaces_dir;          /* const */
	struct mount_journal *journal; /* const */
	struct trash *trash;           /* const */
	struct pool *deleters;         /* const until the end; deletes what has expired */

	struct lock mu;  /* LOCK_RANK_MOUNTS */
	struct list all; /* by creation; guarded by mu, as all below */
	struct name_table by_id, by_job;
	struct list hosts;
	struct cond hosts_changed;
	struct lease_heap leases;
	struct watch_hub watch;
	struct mount_serial *serials; /* one per tenant */
	unsigned serial_count;        /* const */
	uint64_t last_order;
	uint64_t sequence_end; /* numbers up to here are reserved in the journal; by opener and
				  reaper only */
	size_t count, ready_count, ended_count;
	uint64_t closed_fuse_counts[64]; /* of sessions that were closed */
	unsigned waiting_warm;           /* calls in prefetch_wait */
	bool draining;
	uint64_t recovery_ns, recovery_wall_ns; /* when mounts_recover began */
	bool recovering; /* in mounts_recover: sessions may be adopted; by the opening thread */

	pthread_t reaper;
	bool reaper_running; /* by the opening and closing thread */
	bool reaper_stop;
	struct cond reaper_wake;
	uint64_t nodes_freed; /* when memory was last given back; by the reaper only */
	bool revive_asked;    /* the reaper looks for ended sessions at once; guarded by mu */

	pthread_t watchdog;
	bool watchdog_running; /* by the opening and closing thread */
	bool watchdog_stop;    /* guarded by mu */
	struct cond watchdog_wake;
};

/* ---- mounts.c ---- */

/* A mount with this record, which it takes over; in no table yet. refs 1. NULL: no memory. */
struct mount *mount_new(struct mounts *m, struct mount_record *rec);
void mount_unref_locked(struct mount *mt);
/* Into the list; by id if `known`; by job if `has_job` (whoever had the job id before loses it).
 * -EEXIST, -ENOMEM. */
int mount_register_locked(struct mounts *m, struct mount *mt, bool known, bool has_job);
/* Out of all tables; drops the list's reference. */
void mount_unregister_locked(struct mount *mt);
/* NULL: none, or one of another tenant. */
struct mount *mount_find_locked(struct mounts *m, const struct mount_key *key);
int mount_not_found(const struct mount_key *key, struct err *e);
/* The counter of the tenant, or NULL. */
struct mount_serial *mount_serial_of(struct mounts *m, const struct tenant *tn);
/* A copy of what callers see, into an empty or an own structure. */
int mount_copy_info_locked(const struct mount *mt, struct mount_info *ret_info, struct err *e);
/* `deadline_ns` as it came from outside: 0 or far away becomes some minutes from now. */
uint64_t mount_deadline(const struct mounts *m, uint64_t deadline_ns);
/* Numbers of events up to far beyond what may be needed until the next call. */
int mount_reserve_sequence(struct mounts *m);
/* Wait until nobody works on it. -ETIMEDOUT. The caller holds a reference. */
int mount_claim_locked(struct mount *mt, uint64_t deadline_ns, struct err *e);
void mount_release_locked(struct mount *mt);
void mount_release(struct mount *mt);

/* ---- mount_create.c ---- */

/* Commit, time and root of `next` from a revision, and the record's change list over it. Blocks. */
int mount_root_resolve(struct mount *mt, const struct mount_change_call *call, const char *revision,
	struct mount_record *next, struct err *e);

/* ---- mount_commit.c ---- */

/* Says in `e` that the journal gave `err`; returns it. */
int mount_journal_failed(const struct mounts *m, int err, struct err *e);
/* Journal `next` (a changed copy of the record), then put it in place and publish; `kind` 0:
 * nothing to publish. On success `next` is taken over and empty; on failure nothing has changed.
 * Claimer only. */
int mount_commit(struct mount *mt, struct mount_record *next, unsigned rows,
	enum mount_event_kind kind, struct err *e);
/* The same for a state and, unless NULL, a reason. */
int mount_move(
	struct mount *mt, enum mount_state to, const char *reason, unsigned rows, struct err *e);
/* Put a record in place without journaling it (what the journal has is as good after a restart). */
void mount_put_locked(struct mount *mt, struct mount_record *next, enum mount_event_kind kind);
/* An event with what it is now. The mount is registered. */
void mount_publish_locked(struct mount *mt, enum mount_event_kind kind);

/* ---- mount_info.c ---- */

/* What callers see, borrowing everything from the mount: valid under the lock. */
void mount_view_locked(const struct mount *mt, struct mount_info *ret_view);
/* The same from a record alone; `root` is borrowed. */
void mount_view_of_record(
	const struct mount_record *r, const char *root, struct mount_info *ret_view);
/* malloc'ed run_dir/mnt/<tenant>/<job>; NULL: no memory. */
char *mount_root_path(const struct mounts *m, const char *tenant, const char *job_id);
bool mount_filter_matches(const struct mount_filter *filter, const struct mount_info *info);

/* ---- mount_attach.c: what is open of a mount; claimer only ---- */

struct mount_attach {
	struct origin *origin; /* NULL: gone */
	bool recover;          /* the directory must be there already */
	bool adopt;            /* if its session was adopted: it was open in it */
	uint64_t deadline_ns;
};
/* Session, account, lower, workspace, bind mount, as the record says. On failure everything is
 * undone again. Blocks. */
int mount_attach(struct mount *mt, const struct mount_attach *how, struct err *e);
/* Closes all of it and puts the last usage into the record (in memory). What is on disk stays.
 * Blocks. */
void mount_detach(struct mount *mt);

/* ---- mount_mountpoint.c ---- */

/* May a workspace be bound at `path`? Sets whether it has to be made. Looks at the disk. */
int mountpoint_check(const struct mounts *m, const char *path, bool *ret_make, struct err *e);
/* It passed the check and could not be bound all the same: the error for the caller. Returns `err`.
 */
int mountpoint_refused(const char *path, int err, struct err *e);
/* -EBUSY if another mount has it, or lies in it, or it in the other. */
int mountpoint_free_locked(struct mounts *m, const char *path, struct err *e);
/* After it was unbound: remove the directory if it was made by us. */
void mountpoint_remove(struct mounts *m, const struct mount_record *r);

/* ---- mount_delete.c; claimer only ---- */

/* From READY, FAILED or EXPIRED to DELETED. */
int mount_delete_claimed(struct mount *mt, struct err *e);
/* The later half, also for recovery: everything that is left of a mount that is DELETING goes. */
int mount_finish_delete(struct mount *mt, struct err *e);
/* What a mount that is no longer attached has on disk and in accounts. */
void mount_remove_leftovers(struct mount *mt);

/* ---- mount_lease.c ---- */

int mount_reaper_start(struct mounts *m, struct err *e);
void mount_reaper_stop(struct mounts *m);
/* Set, or with 0 take away, the time of a mount according to its record. */
void mount_lease_arm_locked(struct mount *mt);
/* Try again soon what was due or half done. */
void mount_retry_locked(struct mount *mt);
uint64_t mount_lease_end(
	const struct mounts *m, uint32_t lease_seconds); /* wall clock; 0 for none */

/* What the reaper does every half minute. */
void mount_keep_house(struct mounts *m);

/* ---- mount_memory.c ---- */

void mount_memory_give_back(struct mounts *m);

/* ---- mount_watchdog.c ---- */

int mount_watchdog_start(struct mounts *m, struct err *e);
void mount_watchdog_stop(struct mounts *m);

/* ---- mount_revive.c ---- */

/* Sessions that the kernel has ended (somebody unmounted or aborted them) are closed, opened again,
 * and their mounts put back. Blocks. */
void mounts_revive(struct mounts *m);

/* ---- recover.c ---- */

/* What a job wrote stays; the mount is tried again at the next start. Claimer only. */
int mount_mark_failed(struct mount *mt, const struct err *why);

int mounts_recover(struct mounts *m, struct err *e);

/* ---- mount_adopt.c: sessions that outlived the last process; by the opening thread ---- */

/* One of its workspaces cannot be taken over: the session is given up, and what was put on it comes
 * back on a new one. False: it was not adopted. */
bool mount_adopt_give_up(struct mounts *m, const char *tenant);
/* Detach what the last process left mounted and nobody goes on with: at the mountpoints of these
 * records, and in the directory of sessions. */
int mount_adopt_sweep(struct mounts *m, const struct mount_record *records, unsigned count);
/* All workspaces are back: the adopted sessions are served. `records` as they were found. */
void mount_adopt_serve(struct mounts *m, const struct mount_record *records, unsigned count);
