/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by follow.c (the workers' part) and follow_guard.c. The idea is told in follow.c. */
#pragma once
#include "session/follow.h"
#include "session/session_internal.h"

#include <sched.h>

struct follow {
	struct sess_farm *farm;
	cpu_set_t cpus; /* where this process may run; const */
	pthread_t guard;
	_Atomic(struct sess_thread *) who;
	_Atomic uint32_t pid;      /* of the client of `who` */
	_Atomic uint64_t key;      /* of the session that it keeps to itself */
	_Atomic uint64_t served;   /* requests, while somebody follows */
	_Atomic bool keeps;        /* the follower has the session to itself at this moment */
	_Atomic uint64_t quiet_ns; /* nobody follows before */
	struct lock lock;          /* LOCK_RANK_LEAF: stop; and to sleep on */
	struct cond wake;
	bool stop;
};

/* Takes a worker off, from outside. False: it is off already. [follow.c] */
bool follow_take_off(struct follow *f, struct sess_thread *who);
/* The guard's thread; `arg` is the struct follow. [follow_guard.c] */
void *follow_guard_main(void *arg);
