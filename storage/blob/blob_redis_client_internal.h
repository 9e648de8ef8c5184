/* SPDX-License-Identifier: Apache-2.0 */
/* What blob_redis_client.c (batches of calls) and blob_redis_map.c (who has which slot) share. */
#pragma once
#include "base/clock.h"
#include "blob/blob_redis_client.h"
#include "blob/blob_redis_node.h"
#include "blob/blob_redis_slots.h"

#define L3_NODES_MAX 64
#define L3_NO_NODE   0xff
_Static_assert(L3_NODES_MAX < L3_NO_NODE, "an index of a node fits into a byte");

struct l3_client {
	struct l3_client_config config; /* const */
	struct lock mu;                 /* LOCK_RANK_BLOB_TIER; guards all below */
	struct l3_node *node[L3_NODES_MAX];
	unsigned node_count;
	uint8_t slot[L3_SLOTS]; /* index of a node, or L3_NO_NODE */
	bool map_wanted, mapping, have_map;
	bool told_down; /* on_change was last told so */
	uint64_t mapped_ns;
	char reason[256];
};

/* blob_redis_map.c */
int l3_map_init(struct l3_client *c);
void l3_map_fini(struct l3_client *c);
/* The node that has a slot, or one that can tell; held until l3_node_release. Never NULL. */
struct l3_node *l3_node_hold(struct l3_client *c, uint16_t slot);
/* The node that a redirection names, which has the slot from now on unless it only takes it over.
 * NULL: there is no room for one more. */
struct l3_node *l3_node_redirected(struct l3_client *c, const struct l3_redirect *to);
void l3_node_release(struct l3_client *c, struct l3_node *n);
/* Ask the cluster who has what, if that is due. */
void l3_map_refresh(struct l3_client *c, uint64_t deadline_ns);
void l3_map_doubt(struct l3_client *c);

/* blob_redis_client.c: one command to one node, for the map. */
int l3_ask_node(struct l3_client *c, struct l3_node *n, const struct l3_arg *argv, unsigned argc,
	size_t reply_bytes, uint64_t deadline_ns, struct redisReply **ret_reply);
/* Tell on_change if what is available has changed. */
void l3_client_tell(struct l3_client *c);
/* What an exchange with a node came to: breaker, reason, edges. */
void l3_node_judge(struct l3_client *c, struct l3_node *n, int result);
