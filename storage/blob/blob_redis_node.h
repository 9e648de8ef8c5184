/* SPDX-License-Identifier: Apache-2.0 */
/* One Redis server: its idle connections, its breaker. Any thread. */
#pragma once
#include "blob/blob_redis_breaker.h"
#include "blob/blob_redis_conn.h"
#include "blob/blob_redis_name.h"

struct clock;

#define L3_IDLE_MAX 16

struct l3_node {
	struct l3_endpoint at; /* const */
	struct l3_breaker breaker;
	struct lock mu;      /* LOCK_RANK_BLOB_TIER */
	struct list idle;    /* guarded by mu */
	unsigned idle_count; /* guarded by mu */
	struct lock naming;  /* held while the resolver is asked; guards name */
	struct l3_name name;
	unsigned users; /* guarded by the client's mu, as the next */
	bool mapped;    /* slots are on it, or it is in the configuration */
};

struct l3_node *l3_node_new(const struct l3_endpoint *at, const struct clock *clock);
struct l3_node *l3_node_free(struct l3_node *n);
/* A connection: an idle one (*ret_reused) or a new one. As l3_conn_open. Does not ask the breaker.
 */
int l3_node_take(struct l3_node *n, const struct l3_login *login, uint64_t deadline_ns,
	struct l3_conn **ret_conn, bool *ret_reused);
/* Give it back for others, or close it. */
void l3_node_give(struct l3_node *n, struct l3_conn *c, bool good);
/* The server went away: what is idle is of no use. */
void l3_node_drop_idle(struct l3_node *n);
