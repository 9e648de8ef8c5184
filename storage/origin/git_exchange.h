/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a Git server: a few channels that are kept open, bounded retries with jitter for
 * what breaks, and a circuit breaker that lets a server that fails alone for a while. Any thread.
 */
#pragma once
#include "base/breaker.h"
#include "base/err.h"
#include "base/lock.h"
#include "origin/git_wire.h"

struct gitexchange {
	struct gitchan_server server; /* const */
	uint64_t timeout_ns;          /* const: the longest silence */
	unsigned channels_max;        /* const */
	const char *name;             /* const: of the origin */
	void (*notice)(const char *origin, const char *event, const char *text); /* or NULL */
	struct lock lock;
	struct cond freed;
	struct list idle;          /* all guarded by lock */
	unsigned channels;         /* idle or in use */
	struct gitpkt_offer offer; /* of the channel that was opened last */
	struct breaker breaker;
	struct err last; /* the last failure */
};

/* What to do with a channel; it may be called again on another one, from the start. */
typedef int (*gitexchange_fn)(void *arg, const struct gitwire *w);

void gitexchange_init(struct gitexchange *x);
void gitexchange_fini(struct gitexchange *x);
/* Errors as gitfault_of; -EPROTONOSUPPORT as gitchan_open. */
int gitexchange_call(struct gitexchange *x, gitexchange_fn fn, void *arg,
	const struct gitrun_wait *wait, struct err *e);
/* What the server offers, asking it if nobody has yet. */
int gitexchange_offer(struct gitexchange *x, const struct gitrun_wait *wait,
	struct gitpkt_offer *ret_offer, struct err *e);
struct err gitexchange_last(struct gitexchange *x);
