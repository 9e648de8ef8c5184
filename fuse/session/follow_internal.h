/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by follow.c (the workers' part) and follow_guard.c. The idea is told in follow.c. */
#pragma once
#include "session/follow.h"
#include "session/session_internal.h"

#include <sched.h>

/* One worker's, for others to look at. */
struct follow_spot {
	_Atomic(struct sess_thread *) who; /* the worker, while it follows; else NULL */
	_Atomic uint32_t pid;              /* of its client */
	_Atomic int cpu;                   /* where it is pinned; -1: not yet */
	_Atomic uint64_t key;              /* of the session that it keeps to itself */
	_Atomic uint64_t served;           /* requests, while it follows */
	_Atomic bool keeps;                /* it has the session to itself at this moment */
};

/* What a worker had done when the guard looked. */
struct follow_sample {
	struct sess_thread *who;
	bool keeps;
	uint64_t at_ns, served, waited_ns, client_ns;
};

/* What the guard knows of a worker; its own. */
struct follow_watched {
	struct follow_sample before;
	uint64_t well_ns; /* it got on for so long */
};

struct follow {
	struct sess_farm *farm;
	cpu_set_t cpus; /* where this process may run; const */
	pthread_t guard;
	struct follow_spot *spots;      /* as many as workers, in their order; const */
	struct follow_watched *watched; /* as many; the guard's */
	_Atomic uint64_t quiet_ns;      /* nobody follows before */
	struct lock lock;               /* LOCK_RANK_LEAF: stop; and to sleep on */
	struct cond wake;
	bool stop;
};

/* Takes a worker off, from outside. False: it is off already. [follow.c] */
bool follow_take_off(struct follow *f, struct sess_thread *who);
/* Whether any worker follows. */
bool follow_anyone(const struct follow *f);
/* The guard's thread; `arg` is the struct follow. [follow_guard.c] */
void *follow_guard_main(void *arg);
