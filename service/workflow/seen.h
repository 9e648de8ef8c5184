/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which content a job's file had when it was read last, so that a second look costs no reading: by
 * inode, size and time of the last change of its inode, which a program cannot set. A file that
 * changed shortly before it was read is not remembered: it may change once more without its time
 * telling. It is a cache in <workspace>/git/seen: lost, damaged or old, it costs time only.
 *
 * One per verb, on its thread; verbs of one workspace may replace each other's file.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <storage/digest.h>
#include <time.h>

struct wf_seen;

/* A file as it was. */
struct wf_seen_file {
	uint64_t ino, size;
	struct timespec ctime;
	unsigned how; /* its content became the object's: enum wf_clean */
};

/* An empty one if there is no file, or a bad one. -ENOMEM. */
int wf_seen_open(int dirfd, struct wf_seen **ret_seen);
/* Saves what is new, if that is worth it. */
struct wf_seen *wf_seen_close(struct wf_seen *seen);
bool wf_seen_find(struct wf_seen *seen, const struct wf_seen_file *file, struct oid *ret_oid);
/* The content that was read between `file` and now; `began_ns` is the wall clock before that. */
void wf_seen_add(struct wf_seen *seen, const struct wf_seen_file *file, const struct oid *oid,
	uint64_t began_ns);

/* ---- its file; pure ---- */

struct wf_seen_record {
	uint64_t ino, size;
	int64_t ctime_s;
	uint32_t ctime_ns : 30, how : 2; /* `how` modulo 4 */
	uint8_t oid[20];
};
/* What is in a file; NULL: not a good one. Points into `data`, which is aligned as malloc does. */
const struct wf_seen_record *wf_seen_decode(const void *data, size_t len, size_t *ret_count);
