/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for a fetch. A worker hands an op over and goes on; when the fetch comes
 * back, the deadline passes, the caller is interrupted or the session ends, an answering thread
 * replies. Whichever happens first decides, once.
 *
 *	NEW ──► WAITING ──► READY | INTERRUPTED | TIMED_OUT | SHUTDOWN ──► (answered)
 *	            ▲          │
 *	            └──────────┘ the repeated call found something else missing: same deadline
 *
 * An op without a need only pauses (another look at the quota, see reply.c).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct clock;
struct op;
struct park;
struct sess_thread;
struct session;

struct park_config {
	unsigned records_max; /* of all sessions */
	unsigned per_session_max;
	uint64_t bytes_max; /* copied WRITE payloads of all sessions */
	uint64_t read_deadline_ns;
	uint64_t metadata_deadline_ns;
	const struct clock *clock;
};

int park_new(struct park **ret_park, const struct park_config *config);
/* A fetch under way holds a reference too: a late answer finds a park, though no record. */
struct park *park_unref(struct park *p);
/* Take over an op that returned -EAGAIN: copies it, consumes op->rq.need. Replies EIO if a limit
 * is reached. Never blocks. */
void park_op(struct park *p, struct op *op);
/* Answer every waiting request of the session with EIO. */
void park_shutdown(struct park *p, struct session *s);
/* True once the session has no record here; false at the deadline. */
bool park_wait_empty(struct park *p, struct session *s, uint64_t deadline_ns);
/* The same of all sessions; the next request may be parked at once. */
bool park_wait_quiet(struct park *p, uint64_t deadline_ns);
/* The body of an answering thread, until park_stop. */
void park_answer(struct park *p, struct sess_thread *t);
void park_stop(struct park *p);

/* Records of the session now. */
uint64_t park_count(struct park *p, const struct session *s);

struct park_stats {
	uint64_t now, bytes; /* records, and what their copies take */
};
void park_stats(struct park *p, struct park_stats *ret_stats);
