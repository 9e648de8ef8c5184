/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The farm, its threads and its sessions, shared by the files of this folder (README.md names who
 * does what).
 *
 *	sess_farm ──► slots (event key → session), park (requests that wait),
 *	  │ owns      control thread, notify threads, workers and answerers (sess_thread)
 *	  └─► session: libfuse's session, /dev/fuse descriptor, saved INIT, counters
 */
#pragma once
#include "fuse/session.h"
#include "session/follow.h"
#include "session/wire.h"
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse3/fuse_lowlevel.h>

#include <base/list.h>
#include <base/lock.h>
#include <base/metrics.h>
#include <pthread.h>
#include <stdatomic.h>

struct control;
struct notify;
struct park;
struct slots;

/* Frozen for the life of a connection: a successor must offer the same. One size for all, because
 * buffers are shared. */
#define SESS_MAX_WRITE      (1u << 20)
#define SESS_BUFFER_BYTES   (SESS_MAX_WRITE + 4096u) /* payload, and before it a page for headers */
#define SESS_REQUEST_BYTES  (SESS_MAX_WRITE + WIRE_WRITE_HEADERS) /* the longest request */
#define SESS_MAX_BACKGROUND 256u
#define SESS_CONGESTION     192u
#define SESS_READ_AHEAD_KB  "1024"
#define SESS_OPCODES        64u
#define SESS_ANSWERERS      2u

/* ---- threads that answer requests (thread.c) ---- */

/* What the request in the buffer says that libfuse does not pass on. */
struct sess_raw {
	uint64_t unique; /* without the resend bit */
	uint32_t opcode;
	uint32_t pid;   /* of the thread that asks; 0: nobody's */
	bool resent;    /* the kernel sends it again: a dead process may have done it */
	bool kill_suid; /* FUSE_WRITE_KILL_SUIDGID, FATTR_KILL_SUIDGID */
	bool tmpfile;   /* a TMPFILE, passed to libfuse as CREATE */
};

struct sess_thread {
	struct sess_farm *farm;
	pthread_t thread;
	char *out; /* SESS_BUFFER_BYTES, resident, locked, not inherited by fork */
	char *in;  /* in workers: the same, SESS_REQUEST_BYTES; a WRITE's payload begins a page */
	struct sess_raw raw; /* of the request being handled */
	int spin_score;
	unsigned wakes;
	pid_t tid; /* of the thread that entered */
	_Atomic uint32_t busy_opcode;
	_Atomic uint64_t busy_since_ns; /* in a request since then; 0: in none. For the watchdog */
	struct follower follower;
};

int sess_thread_init(struct sess_thread *t, struct sess_farm *farm, bool reads);
void sess_thread_fini(struct sess_thread *t);
/* Start with all signals blocked. */
int sess_thread_start(pthread_t *ret_thread, const char *name, void *(*fn)(void *arg), void *arg);
/* Make `t` the calling thread's. libfuse's callbacks have no other way to find it. */
void sess_thread_enter(struct sess_thread *t);
struct sess_thread *sess_thread_self(void);

/* ---- sessions ---- */

struct session {
	struct sess_farm *farm;
	struct overlay *overlay;
	char *tenant, *mountpoint, *state_dir;
	struct fuse_session *se;
	bool mounted, attached, has_slot; /* how far sess_open came */
	int state_fd;                     /* the state directory */
	uint64_t key;                     /* in farm->slots */
	struct list in_farm;              /* guarded by farm->lock */
	unsigned dev_major, dev_minor;    /* of the mount; 0, 0: unknown; const once open */

	_Atomic bool draining; /* new requests are refused */

	struct lock lock; /* LOCK_RANK_SESSION: what follows */
	struct cond changed;
	enum { SESS_STARTING, SESS_RUNNING, SESS_FAILED, SESS_ENDED } life;
	int failure; /* with SESS_FAILED */

	/* INIT, written and read by the one worker that handles it */
	char *init_request;
	uint32_t init_len;
	_Atomic uint64_t init_unique; /* the reply to watch for; 0: answered */

	bool resends; /* the kernel can send requests again (old_kernel.c); const after INIT */

	/* A connection that was adopted (adopt.c) */
	bool adopt;   /* asked for; const */
	bool adopted; /* not served yet; the opener's */
	char *agreed; /* the INIT reply that the kernel has; while it is answered again */
	uint32_t agreed_len;

	struct list parked; /* guarded by the park's lock, as the next */
	unsigned parked_count;

	/* counters */
	_Atomic uint64_t requests[SESS_OPCODES], errors[SESS_ERRNOS];
	_Atomic uint64_t replies, reply_lost, parked_total, interrupted, timed_out, busy_ns,
		spurious;
};

static inline void sess_count(_Atomic uint64_t *n, uint64_t add)
{
	atomic_fetch_add_explicit(n, add, memory_order_relaxed); /* a statistic: no ordering */
}

static inline uint64_t sess_counted(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed); /* as above */
}

/* The kernel ended the connection. [session.c] */
void sess_ended(struct session *s);
/* The INIT reply is on its way to the kernel, or failed. [session.c] */
void sess_started(struct session *s, int result);

/* [session_mount.c] Through the farm's mounter, on the control thread. */
int sess_mount(struct session *s, int *ret_fd, struct err *e);
void sess_unmount(struct session *s);
/* Finds the device; raises the read-ahead window. */
void sess_mount_tune(struct session *s);
/* End the connection at once. False: it cannot be told; closing the descriptor ends it. */
bool sess_mount_abort(struct session *s);

/* [old_kernel.c] What the INIT request says of it. */
void sess_note_kernel(struct session *s);
/* If it cannot send requests again: read through an opening of our own from now on, under the same
 * number. Nothing may be under way. */
int sess_own_opening(struct session *s, int fd);
/* The first answer to INIT, as writev; does that before. */
ssize_t sess_write_init(struct session *s, int fd, const struct iovec *iov, int count);

/* [custom_io.c] */
extern const struct fuse_custom_io sess_custom_io;
/* [init.c] */
void sess_op_init(void *userdata, struct fuse_conn_info *conn);
/* Keep the raw request until its reply. */
int sess_init_save_request(struct session *s, const void *request, size_t len);
/* Patch the reply (what libfuse forgets), write request and reply to the state directory. */
int sess_init_finish(struct session *s, void *init_out, size_t len);
void sess_init_forget(struct session *s);
/* From the state directory: request and reply of the connection, to s->init_request and s->agreed.
 * -ENOENT, -EPROTO. */
int sess_init_load(struct session *s);
/* The reply to a request that was answered by another process: 0 if it says the same. */
int sess_init_compare(struct session *s, const void *init_out, size_t len);
/* [adopt.c] */
int sess_adopt(struct session *s, struct err *e);
/* [raw.c] Look at a request before libfuse does. False: drop it. */
bool sess_raw_inspect(struct session *s, struct sess_raw *raw, char *buf, size_t len);
/* [ops.c] */
extern const struct fuse_lowlevel_ops sess_ops;

/* ---- the farm ---- */

struct sess_farm_metrics {
	struct counter *requests[SESS_OPCODES]; /* never NULL; unknown opcodes share the last */
	struct counter *replies_lost, *stale_events, *spurious, *spin_hits, *spin_misses,
		*forced_aborts, *leaked, *followed, *followed_requests, *follow_starved;
	struct counter *resent, *resent_done;
	struct counter *parked, *park_refused, *park_interrupted, *park_timed_out;
	struct histogram *park_wait;
};

struct sess_farm {
	struct sess_mounter *mounter;
	const struct clock *clock;
	struct metrics *metrics; /* the caller's, or own_metrics */
	struct metrics *own_metrics;
	struct sess_farm_metrics m;

	int epoll_fd, stop_fd;
	int fusectl_fd; /* the kernel's connections; -1: no way to them */
	unsigned cpus, worker_count;
	struct sess_thread *workers;
	unsigned workers_started;
	bool spin;              /* configured */
	_Atomic bool spin_calm; /* the machine has room for it */
	_Atomic bool spinner;   /* somebody spins */

	struct sess_thread answerers[SESS_ANSWERERS];
	unsigned answerers_started;

	struct slots *slots;
	struct park *park;
	struct control *control;
	struct notify *notify;
	struct follow *follow; /* NULL: no worker follows a client */

	struct lock lock; /* LOCK_RANK_SESSIONS: the list */
	struct list sessions;
};

/* [farm.c] */
void sess_answerers_stop(struct sess_farm *farm);

/* [workers.c] */
int sess_workers_start(struct sess_farm *farm);
void sess_workers_stop(struct sess_farm *farm);
int sess_workers_watch(struct sess_farm *farm, int fd, uint64_t key);
void sess_workers_unwatch(struct sess_farm *farm, int fd);
/* Let the workers see what waits in the session `key`, if it is still there. */
void sess_workers_arm(struct sess_farm *farm, uint64_t key);
