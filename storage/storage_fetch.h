/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch: one object being asked of one origin, for all who wait for it. Everything here is
 * guarded by the storage's `mu`.
 *
 * It is found in the table by (kind, oid, origin) until it is over or nobody wants it. The origin
 * is part of the name because an origin that fails must not fail those who can get the object from
 * another one. References: one by the table, one by each ticket in a queue of the lane. Each tenant
 * that waits for it has a ticket of its own, and a prefetch that someone comes to wait for gets one
 * in the foreground; the first of its tickets whose turn it is does the work, the others find
 * nothing to do.
 *
 * A waiter is ended exactly once: whoever takes it out of its fetch's list and the heap, under
 * `mu`, calls it, after `mu`.
 */
#pragma once
#include "storage_internal.h"

/* A place in a queue. */
struct ticket {
	struct fair_item item; /* first: an item is its ticket */
	struct list of_fetch;
	struct fetch *fetch; /* a reference */
	bool foreground;
};

struct fetch {
	struct list node; /* in its bucket; in a list of the abandoned; or in none */
	struct storage *st;
	struct lane *lane;
	struct origin *origin;
	enum fetch_kind kind;
	struct oid oid;
	struct cancel *cancel;
	uint64_t asked_ns;
	/* guarded by st->mu */
	enum fetch_state state;
	unsigned refs;
	bool listed;          /* in the table */
	bool background;      /* goes on without waiters */
	uint64_t deadline_ns; /* the latest of its waiters */
	struct list waiters;
	struct list tickets;
	struct counter bytes; /* that have come from the origin */
};

/* Its turn has come: does the work unless that is done, ends the ticket. Returns the bytes that
 * came. Called without the lock. storage_job.c */
uint64_t fetch_run(struct ticket *t);
/* A ticket of `tenant`, unless it has one there. -EAGAIN: the queue is full. */
int fetch_submit_locked(struct fetch *f, unsigned tenant, bool foreground);
void fetch_unref_locked(struct fetch *f);
/* Out of the table: no one can join it any more. */
void fetch_unlist_locked(struct fetch *f);

/* Move a waiter, or all of a fetch, to `ended`, with a result; then, without the lock, call them.
 */
void fetch_take_waiter_locked(struct storage *st, struct waiter *w, int result, struct list *ended);
void fetch_take_all_locked(struct fetch *f, int result, struct list *ended);
void fetch_call_ended(struct list *ended);
/* Take a fetch that nobody wants out of the table, onto `abandoned`; then, without the lock, cancel
 * them. */
void fetch_abandon_locked(struct fetch *f, struct list *abandoned);
void fetch_cancel_abandoned(struct storage *st, struct list *abandoned);
