/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE sessions: one per tenant, served by one fixed pool of workers shared by all sessions. A
 * worker never waits for a remote: a request that must fetch is parked. Mounting, unmounting and
 * stat of our own mounts happen only on the control thread, invalidations only on the notify
 * thread. The /dev/fuse descriptor is opened and mounted by a `sess_mounter`: in this process, or
 * in the keeper, which outlives it, or here with a copy in a store that outlives it.
 */
#pragma once
#include "fuse/overlay.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct clock;
struct err;
struct fd_store;
struct metrics;
struct ovl_switched;
struct sess_farm; /* the epoll set, workers, park table, control and notify threads */
struct session;

/* Who opens /dev/fuse and mounts. Implementations: sess_mounter_local (this process),
 * sess_mounter_keeper (over a socket), sess_mounter_store (this process, and a copy elsewhere). */
struct sess_mounter {
	/* Before the first mount or adopt of this process; from here on it counts as one that has
	 * started. The farm does it if nobody did before. May be NULL. */
	int (*begin)(struct sess_mounter *m);
	/* Mount and return the O_NONBLOCK|O_CLOEXEC descriptor. Blocking; control thread only. */
	int (*mount)(struct sess_mounter *m, const char *tenant, const char *mountpoint,
		int *ret_fd, struct err *e);
	/* Lazy unmount; forget the descriptor. -EINVAL if nothing was mounted there is fine. */
	int (*unmount)(struct sess_mounter *m, const char *tenant, const char *mountpoint);
	/* The descriptor of a connection that outlived its process, still mounted there. -ENOENT.
	 * NULL: none ever does. */
	int (*adopt)(
		struct sess_mounter *m, const char *tenant, const char *mountpoint, int *ret_fd);
	/* What was not adopted may go. May be NULL. */
	int (*settle)(struct sess_mounter *m);
	/* The process is told to stop and takes so much longer. May be NULL. */
	int (*stopping)(struct sess_mounter *m, unsigned seconds);
	/* We live. How many seconds until this has to be said again, lest we are killed; 0: it need
	 * not. NULL: nobody kills. */
	unsigned (*alive)(struct sess_mounter *m);
	void (*free)(struct sess_mounter *m);
	/* Keeps other descriptors as long; NULL: nothing outlives this process. The mounter's. */
	struct fd_store *store;
	const char *name; /* "local", "keeper", "systemd": shown by GetNode */
};
struct sess_mounter *sess_mounter_local_new(void);
/* Takes the descriptor, also on failure. NULL: no memory. `begin` says hello; -EPROTO, -ETIMEDOUT:
 * no keeper of our version at the other end. */
struct sess_mounter *sess_mounter_keeper_new(int socket_fd);
/* This process mounts, and the store, which outlives the mounter, keeps a copy. NULL: no memory. */
struct sess_mounter *sess_mounter_store_new(struct fd_store *store, const char *name);
struct sess_mounter *sess_mounter_free(struct sess_mounter *m);

struct sess_farm_config {
	struct sess_mounter *mounter;  /* outlives the farm */
	unsigned workers;              /* 0 = clamp(CPUs, 2, 8) */
	unsigned parked_max;           /* 0 = 16384, all sessions together */
	uint64_t read_deadline_ns;     /* for a parked READ; 0 = 60 s */
	uint64_t metadata_deadline_ns; /* for parked metadata; 0 = 20 s */
	bool spin;                     /* adaptive spinning (off on one CPU or under load) */
	const struct clock *clock;
	struct metrics *metrics;
};
int sess_farm_new(
	struct sess_farm **ret_farm, const struct sess_farm_config *config, struct err *e);
/* Every session must have been closed. */
struct sess_farm *sess_farm_free(struct sess_farm *farm);

#define SESS_STATE_FORMAT 1u /* of what sessions leave in their state directories */

/* Put everything down for a successor, each request answered before: only the end of the process is
 * left. Nobody may open or close sessions, or change workspaces, any more. All go on being served
 * until nobody waits for a fetch, `limit_ns` at most; then the rest is waited for as long again.
 * -ETIMEDOUT: something was still under way; the kernel sends it to the successor. `*ret_left`, in
 * any case: how many requests. Blocks. */
int sess_hand_over(struct sess_farm *farm, uint64_t limit_ns, uint64_t *ret_left);

struct sess_config {
	const char *tenant;
	const char *mountpoint;  /* <run_dir>/mnt/<tenant>; created; a dead mount found there is
				    detached first */
	const char *state_dir;   /* <run_dir>/sessions/<tenant>: the saved INIT request */
	struct overlay *overlay; /* owned by the caller, outlives the session */
	/* Go on with the connection of a process that was killed, if it is there and can be. Then
	 * nothing is served until sess_serve: the workspaces must be back first
	 * (ovl_ws_config.adopt). */
	bool adopt;
};
/* Blocks until the kernel's INIT has been answered. */
int sess_open(struct sess_farm *farm, struct session **ret_session,
	const struct sess_config *config, struct err *e);
/* The connection is one that was adopted, and is not served yet. */
bool sess_adopted(struct session *s);
/* An adopted connection: the kernel sends again what was not answered, and the workers begin.
 * -ENODEV: it has ended meanwhile. */
int sess_serve(struct session *s);
/* Give a connection up, adopted or not: its users get ECONNABORTED. It must still be closed. */
void sess_abandon(struct session *s);
/* No more connections will be adopted by this process: what is left of the dead one goes. */
int sess_settle(struct sess_farm *farm);
/* The orderly end: parked requests are answered, the mount detached, a forced
 * abort if it does not end in time. Blocks. */
struct session *sess_close(struct session *s);
/* False once the kernel has ended the connection (somebody unmounted or aborted it): close the
 * session and open it again. */
bool sess_alive(struct session *s);

/* After a workspace was added to, or before it is removed from, the overlay: make the kernel see
 * it. Wait until done, at most a second. */
void sess_workspace_added(struct session *s, const char *name);
void sess_workspace_removed(struct session *s, const char *name);

/* A name that the service itself changed in a directory of an overlay: the kernel forgets it, and
 * the directory's listing. Waits until done, at most a second. Not from a worker. */
void sess_name_changed(struct session *s, uint64_t parent, const char *name);

/* What a switch of a workspace's lower has made untrue (ovl_switch): taken out of `done`. Waits
 * until the kernel knows, at most until the deadline; beyond that it goes on by itself, and the
 * answer is -ETIMEDOUT. Not from a worker. */
int sess_tell(struct session *s, struct ovl_switched *done, uint64_t deadline_ns);

/* Bind the directory `<mountpoint>/<name>` to `target` (made if missing; must be an empty
 * directory), on the control thread. */
int sess_bind(
	struct session *s, const char *name, const char *target, bool read_only, struct err *e);
/* `target` is a mount of this session. Looks at mountinfo only. */
bool sess_bound(struct session *s, const char *target);
/* Detach what sess_bind made, also where it is by now if directories on the way were renamed;
 * removes nothing. */
int sess_unbind(struct session *s, const char *name, const char *target);
/* Lazy unmount of every mount at or below `dir` whose fstype is fuse.coppice (leftovers of a dead
 * process; mountinfo only, nothing is touched through the mounts). Returns how many, or a negative
 * errno. */
int sess_sweep_mounts(struct sess_farm *farm, const char *dir);
/* What lies beneath a mount of ours so that nobody writes there when it is dead (an empty file
 * system without room) is taken away from `path`, on which nothing is mounted any more. 0 also if
 * there was none. A sweep leaves it. */
int sess_unseal(struct sess_farm *farm, const char *path);
/* Abort the connections of all our mounts at or below `dir`: programs in them get errors at once.
 * For a daemon that is dead but for a thread that waits in the kernel for a lock that only an
 * answer to one of its own requests would free; nothing else ends that. Any thread; mountinfo only.
 * How many, or a negative errno. */
int sess_abort_mounts(const char *dir);

/* Of the mount: with a workspace's name it says which one a holder is in. 0, 0: unknown. */
void sess_device(const struct session *s, unsigned *ret_major, unsigned *ret_minor);
struct sess_holder {
	unsigned major, minor;
	const char *workspace; /* its name */
	pid_t pid;
	uid_t uid;
	const char *command; /* cut to 31 bytes */
	const char *how;     /* "open", "mapped", "directory", "root", "program" */
};
/* Processes other than this one that use workspaces, of any session, each once per workspace; until
 * `fn` returns non-zero, which is then returned. Looks at /proc only; any thread. */
int sess_each_holder(int (*fn)(void *arg, const struct sess_holder *h), void *arg);

/* Requests that the kernel has for us, unread ones included. -ENOENT: the connection has ended, or
 * there is no fusectl. Never blocks, as the next two; any thread. */
int sess_waiting(struct session *s, uint64_t *ret_count);
uint64_t sess_replies(struct session *s);
/* For how long the worker that has been at it longest is in one request, and in which. 0: none is.
 */
uint64_t sess_longest_handler(struct sess_farm *farm, unsigned *ret_opcode);

#define SESS_ERRNOS 134u
struct sess_stats {
	uint64_t requests[64];        /* by FUSE opcode */
	uint64_t errors[SESS_ERRNOS]; /* replies by errno; 0: codes beyond */
	uint64_t replies, reply_lost, parked_now, parked_total, interrupted, timed_out,
		worker_busy_ns, spurious;
};
void sess_stats(struct session *s, struct sess_stats *ret_stats);
/* "LOOKUP", ... for an opcode; NULL if unknown. */
const char *sess_opcode_name(unsigned opcode);
