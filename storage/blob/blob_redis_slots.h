/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Redis Cluster says about who has which key: hash slots, CLUSTER SLOTS, MOVED and ASK. Server
 * answers are not trusted. Pure.
 */
#pragma once
#include "blob/blob_redis_url.h"

#include <stddef.h>

#define L3_SLOTS 16384u

struct redisReply;

/* Of a key, or of what stands between its first { and the next }. */
uint16_t l3_slot(const void *key, size_t len);

/* "MOVED 3999 127.0.0.1:6381" and "ASK ...". A host that is missing is the one that was asked. */
struct l3_redirect {
	bool ask;
	uint16_t slot;
	struct l3_endpoint to;
};
/* -EINVAL: it is another error. */
int l3_redirect_parse(const char *text, size_t len, const struct l3_endpoint *asked,
	struct l3_redirect *ret_redirect);

/* Calls `fn` for every range of slots with its master. -EBADMSG: not an answer to CLUSTER SLOTS.
 * Ranges that are read before that have been told. */
typedef int (*l3_range_fn)(
	void *arg, uint16_t first, uint16_t last, const struct l3_endpoint *master);
int l3_slots_decode(
	const struct redisReply *reply, const struct l3_endpoint *asked, l3_range_fn fn, void *arg);
