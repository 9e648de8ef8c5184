/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable side of the registry: an LMDB environment in data_dir/mounts with four tables.
 *
 *	mounts   mount id → record (mount_codec.h)
 *	jobs     tenant "/" job id → mount id: which mount has the job id now
 *	serials  tenant → last workspace serial given out
 *	meta     "sequence" → a number that no event has reached yet
 *
 * A write is on disk when the call returns. Calls block; any thread.
 */
#pragma once
#include "mount_codec.h"

struct err;
struct metrics;

struct mount_journal;

#define MOUNT_JOB_KEY_MAX    200 /* tenant/job_id */
#define MOUNT_JOURNAL_FORMAT 1   /* which tables there are */

int mount_journal_open(struct mount_journal **ret_journal, const char *data_dir,
	struct metrics *metrics, struct err *e);
struct mount_journal *mount_journal_close(struct mount_journal *j);

enum mount_journal_rows {
	JOURNAL_JOB_SET = 1,  /* the job id belongs to this mount now */
	JOURNAL_JOB_DROP = 2, /* the job id is free again */
	JOURNAL_SERIAL = 4,   /* this serial has been given out */
};
/* A record in a newer format than data_dir/formats tells of makes it tell so first. */
int mount_journal_put(struct mount_journal *j, const struct mount_record *r, unsigned rows);
/* Forget a mount; with `drop_job` its job id is free again. */
int mount_journal_remove(struct mount_journal *j, const struct mount_record *r, bool drop_job);

/* `r` is NULL for a record that cannot be decoded (`error` says why); otherwise it is the visitor's
 * to keep. */
typedef int (*mount_journal_visit)(
	void *arg, const char *mount_id, struct mount_record *r, int error);
int mount_journal_each(struct mount_journal *j, mount_journal_visit fn, void *arg);
/* After mount_journal_each: data_dir/formats tells of the newest format that was met, no newer one.
 */
int mount_journal_settle_format(struct mount_journal *j, struct err *e);
/* Which mount has this job id; "" if none. */
int mount_journal_job(
	struct mount_journal *j, const char *tenant, const char *job_id, char ret_mount_id[40]);
/* A serial given out to the tenant; 0 if none. A later one, given out at the same time, may be in
 * a record, and nowhere else: removing the record remembers it. */
int mount_journal_serial(struct mount_journal *j, const char *tenant, uint32_t *ret_serial);

/* Numbers of events: no number below *ret_next has been reserved before. Makes [next, next + count)
 * ours. */
int mount_journal_reserve(struct mount_journal *j, uint64_t count, uint64_t *ret_next);
