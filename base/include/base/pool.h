/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded pool of named worker threads over one bounded queue. Threads start on first need and
 * stay. A job must not wait for another job of the same pool, nor drain or free it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pool;

struct pool_config {
	const char *name;     /* thread name prefix, at most 12 bytes */
	unsigned threads_max; /* at least 1 */
	unsigned queue_max;   /* jobs waiting; beyond: -EAGAIN */
};

typedef void (*pool_fn)(void *arg);

int pool_new(struct pool **ret_pool, const struct pool_config *config);
/* Drains (runs what is queued), joins, frees. NULL is fine. Returns NULL. */
struct pool *pool_free(struct pool *p);
/* Queue a job at the end; `urgent` ones run before all others. -EAGAIN queue full, -ESHUTDOWN
 * draining. Never blocks. */
int pool_submit(struct pool *p, pool_fn fn, void *arg, bool urgent);
/* Stop accepting and wait until everything queued has run. */
void pool_drain(struct pool *p);
unsigned pool_queued(struct pool *p);
unsigned pool_running(struct pool *p);
