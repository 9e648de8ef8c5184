/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session and overlay of one tenant: opened for its first mount, kept while it has any and for
 * a while after, closed then or at shutdown.
 */
#pragma once
#include <base/list.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct mounts;
struct overlay;
struct session;
struct tenant;

enum mount_host_state { HOST_OPENING, HOST_OPEN, HOST_CLOSING };

struct mount_host {
	struct list link; /* in mounts.hosts; guarded by the registry's lock, as all below but the
			     two pointers */
	enum mount_host_state state;
	bool dead;    /* the kernel has ended the session: its users must go, then it is closed */
	bool adopted; /* its session is a dead process's and not served yet; by the opening thread
		       */
	unsigned users;
	uint64_t idle_since_ns;
	const char *trouble; /* for a person; NULL: none. By the watchdog, as the next two */
	uint64_t replies_seen, quiet_since_ns;
	const char *tenant;      /* const */
	struct overlay *overlay; /* const while open */
	struct session *session; /* const while open */
};

/* Blocks while it is opened, by this thread or another. */
int mount_host_acquire(struct mounts *m, struct tenant *tn, uint64_t deadline_ns,
	struct mount_host **ret_host, struct err *e);
/* The open host of a tenant, by the opening thread; NULL: none. */
struct mount_host *mount_host_find(struct mounts *m, const char *tenant);
void mount_host_release(struct mounts *m, struct mount_host *host);
/* Marks every host whose session the kernel has ended. True if there is one. */
bool mount_hosts_find_dead_locked(struct mounts *m);
/* Close those that nobody has used for the idle time, or all that have no users. Blocks. */
void mount_hosts_close(struct mounts *m, bool all);
