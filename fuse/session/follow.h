/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that follows the one process that asks, see follow.c. follow_note, follow_patience_ms
 * and follow_idle are called by workers, each with its own thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct follow;
struct sess_farm;
struct sess_thread;

/* One worker's view; private to its thread. */
struct follower {
	uint64_t key;    /* the session that was asked lately */
	uint32_t pid;    /* who asked */
	int score;       /* how much of it */
	int cpu;         /* while following: where the worker is pinned */
	unsigned looked; /* requests since the client's CPU was looked up */
	uint64_t served;
	bool missed; /* since then a request was not there at once: the client may be elsewhere */
	bool on;
};

/* Starts the guard. -EPERM: this process may not come back from the idle class, so no worker
 * follows; -EOPNOTSUPP: one CPU. */
int follow_new(struct follow **ret_follow, struct sess_farm *farm);
/* Before the workers end: the guard looks at them. Then, when they have: follow_free. */
void follow_stop(struct follow *f);
struct follow *follow_free(struct follow *f);
/* A request of thread `pid` (0: nobody's) to session `key` was read. True: the worker follows that
 * session's client, and may keep the session to itself. */
bool follow_note(struct sess_thread *t, uint64_t key, uint32_t pid);
/* The worker begins or ends to keep the session from the others; ends: nothing more was there. */
void follow_keeps(struct sess_thread *t, bool keeps);
/* Some worker follows. Any thread. */
bool follow_taken(const struct sess_farm *farm);
/* How long epoll_wait may sleep before follow_idle is due: milliseconds, -1: for ever. */
int follow_patience_ms(const struct sess_thread *t);
/* Nothing came for that long: back to normal. */
void follow_idle(struct sess_thread *t);
