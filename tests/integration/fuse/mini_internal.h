/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the small overlay share. Nodes live in an array, id = index + 1, and are never
 * reused. One read-write lock guards everything but fetches.
 */
#pragma once
#include "mini_overlay.h"

#include <base/lock.h>
#include <pthread.h>
#include <stdatomic.h>

#define NODES_MAX   65536u
#define FETCHES_MAX 4096u

struct node {
	uint64_t parent; /* 0: no name */
	char name[64];
	char *data;
	struct stat attr;
	bool local; /* was fetched */
	_Atomic uint64_t lookups;
};

struct fetch {
	uint64_t due_ns; /* NS_NEVER: only at the end */
	uint64_t id;
	int result;
	lower_done fn;
	void *arg;
};

struct overlay {
	struct rwlock lock; /* nodes */
	uint64_t count;
	struct node node[NODES_MAX];
	struct mini_seen seen;

	struct lock fetch_lock;
	struct cond wake;
	struct fetch fetch[FETCHES_MAX];
	unsigned fetches;
	bool stop;
	pthread_t thread;
};

/* The caller holds the lock, as for all below. NULL: no such node. */
struct node *mini_node(struct overlay *o, uint64_t id);
/* 0: no room, or too long a name. */
uint64_t mini_add(struct overlay *o, uint64_t parent, const char *name, mode_t mode);
/* 0: absent. */
uint64_t mini_find(struct overlay *o, uint64_t parent, const char *name);
/* Of a node that was found; counts a lookup. */
void mini_fill(struct overlay *o, uint64_t id, struct ovl_entry *ret_entry);

/* ---- mini_fetch.c ---- */

void *mini_fetch_main(void *arg);
/* By its name, after a prefix; false once it was fetched. */
bool mini_must_fetch(const struct node *n, const char *prefix);
/* -EAGAIN. */
int mini_need(struct overlay *o, struct ovl_req *rq, uint64_t id);
/* -EAGAIN if the caller wants the links of a directory counted. */
int mini_count_links(struct overlay *o, struct ovl_req *rq, uint64_t id);
