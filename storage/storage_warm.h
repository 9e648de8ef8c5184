/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files of storage_warm() share: storage_warm.c walks directories, storage_warm_ask.c
 * asks for what is missing and hears of its arrival.
 */
#pragma once
#include "storage/warm.h"
#include "storage_internal.h"

#define WARM_BATCH 512

struct warm_dir {
	struct list node;
	struct oid tree;
	unsigned depth;
	uint32_t next; /* entry */
	uint32_t top;  /* entry of the root that it is, or is below of */
	bool asked;
	char path[]; /* relative to the root */
};

struct warm_blob {
	struct oid oid;
	uint64_t size;
};

struct warm {
	struct storage *st;
	const struct warm_plan *plan; /* of the walk's thread only, as is all until `mu` */
	const struct cancel *cancel;
	uint64_t deadline_ns, report_ns, asked_bytes, asked_blobs, asked_dirs;
	struct list stack;
	size_t stacked;
	uint32_t reached;
	bool contents, stop;
	struct warm_blob *batch;
	unsigned batch_count;
	struct lock mu; /* LOCK_RANK_LEAF */
	struct cond changed;
	unsigned refs; /* all below guarded by mu */
	unsigned trees_out, blobs_out, failures;
	struct list arrived;
	struct warm_progress progress;
	int last_error;
};

struct warm_item {
	struct warm *w;       /* a reference */
	struct warm_dir *dir; /* NULL: a blob */
	uint64_t size;
};

/* A reference, under mu; takes the lock with it. */
void warm_unref_locked(struct warm *w);
/* Something was had, or not. */
void warm_note_locked(struct warm *w, int result);
/* A content is local. */
void warm_note_had(struct warm *w, uint64_t size);
/* A step of waiting: for `changed`, or a moment. */
int warm_wait_step(struct warm *w);
void warm_report(struct warm *w);
/* Ask for it in the background; waits while as many are out as may be, or the queue is full. */
int warm_ask(struct warm *w, enum storage_kind kind, const struct oid *oid,
	const struct warm_item *template);
/* The batch is asked for, and empty again. */
int warm_flush(struct warm *w);
/* Until nothing is out any more. */
int warm_drain(struct warm *w);
void warm_drop_dirs(struct list *dirs);
