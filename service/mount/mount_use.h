/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working in a mount that is READY without claiming it: the Git workflow reads and writes in a
 * workspace for as long as it takes, and meanwhile leases are renewed and the mount may be deleted.
 * A deletion cancels the uses and waits for them. Uses that change something take turns; those that
 * only read do not wait.
 */
#pragma once
#include <base/list.h>
#include <service/mounts.h>
#include <stdbool.h>
#include <stdint.h>
#include <storage/digest.h>
#include <sys/types.h>

struct cancel;
struct err;
struct mount;
struct mount_key;
struct mounts;

struct mount_use {
	struct mount *mount; /* a reference; what is const while attached may be read: host, ws,
				quota, tenant, job_key. Not the record: here is a copy of what names
				the base */
	char mount_id[40], origin[64], revision[256];
	char *path;              /* "" = the whole repository */
	struct oid commit, root; /* what commits go on from; what the job's files lie over */
	uint64_t generation;
	uid_t uid;
	gid_t gid;
	bool read_only;
	/* `root` is not the tree of `commit`, but that with this change list. Where the change list
	 * is commits and nothing had to be merged, `commit` is its last one, and there is none
	 * here. */
	bool has_change_list;
	enum mount_change_kind change_kind;
	struct oid change_from, change_to;
	char change_name[65];   /* of a patch or an archive: its SHA-256 */
	struct cancel *cancel;  /* fires with the caller's, and when the mount is to be closed */
	struct cancel *callers; /* borrowed */
	int callers_handle;
	bool changes;
	uint64_t deadline_ns;
	struct list link; /* in mount.uses; guarded by the registry's lock */
};

struct mount_use_config {
	const struct mount_key *key;
	bool changes;                 /* wait until no other use changes something */
	uint64_t expected_generation; /* 0: any. -ESTALE, reason GENERATION_CHANGED */
	struct cancel *cancel;        /* may be NULL */
	uint64_t deadline_ns;         /* as mount_deadline */
};
/* -ENOENT MOUNT_NOT_FOUND; -EBUSY NOT_READY; -ETIMEDOUT; -ECANCELED. Blocks for a turn only. */
int mount_use_begin(struct mounts *m, const struct mount_use_config *config,
	struct mount_use **ret_use, struct err *e);
/* Of a mount that the caller has claimed, in whatever state it is. -ENOMEM. */
int mount_use_claimed(struct mount *mt, uint64_t deadline_ns, struct mount_use **ret_use);
/* Wait until no other use is left; new ones wait for the end of this one. -ETIMEDOUT, -ECANCELED.
 */
int mount_use_alone(struct mount_use *use, struct err *e);
struct mount_use *mount_use_end(struct mount_use *use); /* accepts and returns NULL */

/* For mount_detach: cancel the uses, wait for their end, let no new ones begin. */
void mount_uses_close(struct mount *mt);
/* For mount_attach. */
void mount_uses_open(struct mount *mt);
