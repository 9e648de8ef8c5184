/* SPDX-License-Identifier: Apache-2.0 */
/* The collector of the tree index: its state, and what the other files of the storage tell it. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "storage/collect.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tree_index;
struct tree_pressure;
struct tree_record;
struct tree_sweep;

#define COLLECT_RECENT_MAX 256u

struct recent_root {
	struct oid root;
	uint64_t used_ns;
	bool made; /* no origin has it: it must stay until somebody shows it */
};

struct collect_metrics {
	struct counter *rounds, *dropped;
	struct gauge *live_bytes;
	struct counter own_counter[2]; /* stand-ins when there is no registry */
	struct gauge own_gauge;
};

struct collector {
	struct storage *st;
	struct collect_metrics m;
	struct lock mu; /* LOCK_RANK_COLLECT */
	struct cond wake, ended;
	struct storage_roots roots; /* const once started */
	bool started;               /* guarded by mu, as all below */
	bool wanted, urgent;        /* somebody waits for room */
	uint64_t rounds;            /* that were looked into, needed or not */
	uint64_t rest_until_ns;     /* the last one made too little room: not before */
	struct list merges;         /* under way */
	struct recent_root recent[COLLECT_RECENT_MAX];
	unsigned recent_count;
	_Atomic bool stop;
	pthread_t thread; /* of who starts and stops */
};

void collector_init(struct collector *c, struct storage *st, struct metrics *registry);
void collector_fini(struct collector *c);
/* What the index tells. */
struct tree_pressure collector_pressure(struct collector *c, uint64_t index_bytes);
/* This root was asked for now; or it was made here. */
void collector_used(struct collector *c, const struct oid *root, bool made);
/* The making of a tree that no origin has: what it puts is kept until its root is known. */
struct collect_merge {
	struct list node; /* in collector.merges; guarded by its mu, as all */
	struct oid *put;
	size_t count, cap;
	bool incomplete; /* no memory to note something */
};
void collector_merge_begin(struct collector *c, struct collect_merge *m);
/* These are about to be put. */
void collector_merge_put(struct collector *c, struct collect_merge *m,
	const struct tree_record *records, unsigned count);
/* `root` NULL: it failed. */
void collector_merge_end(struct collector *c, struct collect_merge *m, const struct oid *root);

/* storage_collect_mark.c */
/* A walk through what is in the index. */
struct collect_walk {
	struct storage *st;
	struct tree_sweep *sweep;
	const _Atomic bool *stop;
	bool lfs;          /* contents may have other names than their pointers */
	uint64_t bytes;    /* of what is kept so far, about */
	struct oid *stack; /* directories to be walked through */
	size_t count, cap;
};
/* Keep what `root` shows, as far as it is in the index; no more once `limit` bytes are kept.
 * -ECANCELED, -ENOMEM. */
int collect_keep(struct collect_walk *w, const struct oid *root, uint64_t limit);
