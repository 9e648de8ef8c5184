/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal keeps of a mount, and its bytes on disk. Pure; any thread. The decoder reads
 *what a disk gives back: every length is checked, and a checksum covers all of it.
 *
 *	u8 version | fixed integers, little endian | strings: u16 length, bytes | labels: u16 count,
 *	pairs | from version 2: change list | u32 CRC-32C
 */
#pragma once
#include <service/mounts.h>
#include <stddef.h>
#include <storage/digest.h>

struct buf;

#define MOUNT_RECORD_FORMAT 4
#define MOUNT_RECORD_STILL  3             /* without live switches; still read */
#define MOUNT_RECORD_RANGES 2             /* change lists were ranges; still read */
#define MOUNT_RECORD_FIRST  1             /* without a change list; still read */
#define MOUNT_RECORD_MAX    (64u * 1024u) /* bytes of one encoded record */
#define MOUNT_TEXT_MAX      4095u         /* of path, mountpoint and reason */

struct mount_record {
	char mount_id[40], tenant[64], job_id[129], origin[64], revision[256];
	char *path, *mountpoint, *reason;   /* malloc'ed, or NULL for "" */
	enum mount_change_kind change_kind; /* of the change list; see mount_change_list.h */
	char *change_text, *change_path;    /* likewise */
	struct oid change_from, change_to;  /* its commits, pinned; none for files. Of what a server
					       told as a list of files: the list's SHA-256, and the
					       commit if that was told */
	uint64_t change_paths;
	bool change_exact; /* the root is that of change_to: nothing had to be merged */
	enum mount_state state;
	struct oid commit, root;
	struct oid switching_from; /* the root that was shown when a switch to all of this was begun
				      that has not ended; none: all is as it says */
	int64_t commit_time_s;
	uint32_t serial;          /* of the workspace within its tenant */
	uint64_t order;           /* of creation, on this node */
	uint8_t request_hash[32]; /* of the whole request as it was made: see mount_request.c */
	uint64_t quota_bytes, quota_inodes; /* in force; UINT64_MAX = unlimited */
	uint32_t lease_seconds;
	uint64_t lease_expires_wall_ns, created_wall_ns;
	uint64_t ended_wall_ns; /* when it became DELETED or FAILED */
	uint64_t generation;
	uint64_t used_bytes,
		used_inodes; /* when it was last closed; while open the quota account knows */
	uint64_t trees_fetched, blobs_fetched, bytes_fetched, fetch_errors; /* likewise */
	bool read_only;
	bool mountpoint_made; /* by us: remove it again */
	bool files_kept;      /* FAILED, but what the job wrote is still there */
	uid_t uid;
	gid_t gid;
	struct mount_label *labels;
	unsigned label_count;
};

void mount_record_fini(struct mount_record *r);
int mount_record_copy(const struct mount_record *from, struct mount_record *ret_copy);
/* Replace one of path, mountpoint, reason; `text` may be NULL; cut to MOUNT_TEXT_MAX. -ENOMEM:
 * unchanged. */
int mount_record_set_text(char **slot, const char *text);

/* The oldest format that says all of it: the one it is written in, so that a release before can
 * read it if it knows what is used. */
unsigned mount_record_format(const struct mount_record *r);
/* Appends the bytes. The buffer's error, or -EMSGSIZE. */
int mount_record_encode(const struct mount_record *r, struct buf *out);
/* -EPROTO: another version; -EBADMSG: damaged; -ENOMEM. On success the caller ends it with
 * mount_record_fini. */
int mount_record_decode(const void *data, size_t len, struct mount_record *ret_record);
