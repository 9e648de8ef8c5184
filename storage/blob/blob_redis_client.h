/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to a Redis server or cluster. Calls are given in batches; each goes to the node that has
 * its slot, those of one node in one pipeline, and all nodes work at the same time. Redirections
 * (MOVED, ASK), TRYAGAIN and connections that went stale while they were idle are followed here. A
 * node that fails is left alone by its breaker, so that a dead one costs its deadline only now and
 * then.
 *
 *	NEW ──► sent ──► answered ──► DONE
 *	 ▲                  │ MOVED, ASK, TRYAGAIN, stale connection: a few times
 *	 └──────────────────┘
 *
 * Threads: any; a batch blocks its caller, for at most one connect time and one exchange time for
 * each redirection, and never beyond its deadline.
 */
#pragma once
#include "blob/blob_redis_breaker.h"
#include "blob/blob_redis_conn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct redisReply;
struct l3_client;

struct l3_client_config {
	struct l3_url url;
	struct l3_login login;
	uint64_t connect_ns, exchange_ns;
	/* An edge of availability: all servers that have slots can be asked, or not. No lock is
	 * held. */
	void (*on_change)(void *arg, bool available, const char *reason);
	void *arg;
};

struct l3_arg {
	const void *data;
	size_t len;
};

struct l3_call {
	const struct l3_arg *argv;
	unsigned argc;
	uint16_t slot;
	/* Results: 0 with a reply of any type (errors of the command too), owned by the caller; or
	 * -EHOSTUNREACH, -ETIMEDOUT, -EACCES, -EIO, -ENOMEM. */
	int result;
	struct redisReply *reply;
	/* The client's own. */
	struct l3_node *node;
	struct l3_call *next;
	bool asking;
};

int l3_client_new(struct l3_client **ret_client, const struct l3_client_config *config);
struct l3_client *l3_client_free(struct l3_client *c);

/* `reply_bytes` is the most that the answers of all calls may have together. */
void l3_run(struct l3_client *c, struct l3_call *calls, unsigned count, size_t reply_bytes,
	uint64_t deadline_ns);
void l3_calls_fini(struct l3_call *calls, unsigned count);

bool l3_client_is_cluster(const struct l3_client *c);
/* Of the worst node that slots are on. */
enum l3_state l3_client_state(struct l3_client *c);
/* What the last failure was, for a person; "" if there was none. */
void l3_client_reason(struct l3_client *c, char *ret_text, size_t cap);

/* Commands that belong together, on one connection that is closed after: WATCH … EXEC. */
struct l3_talk;
int l3_talk_begin(
	struct l3_talk **ret_talk, struct l3_client *c, uint16_t slot, uint64_t deadline_ns);
int l3_talk_say(
	struct l3_talk *t, const struct l3_arg *argv, unsigned argc, struct redisReply **ret_reply);
void l3_talk_end(struct l3_talk *t);
