/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of a host, asked of the system's resolver with a deadline. The resolver cannot be
 * interrupted, so a question that takes too long goes on by itself and is picked up by the next who
 * asks. The caller guards it.
 */
#pragma once
#include "blob/blob_redis_url.h"

struct addrinfo;
struct gaicb;

struct l3_name {
	struct gaicb *question;  /* under way, or NULL */
	struct addrinfo *answer; /* the last one */
	uint64_t asked_ns;
};

/* 0 with *ret_addresses, valid until the next call or fini; NULL for a socket's path.
 * -EHOSTUNREACH: there is no such host; -ETIMEDOUT. */
int l3_name_resolve(struct l3_name *n, const struct l3_endpoint *at, uint64_t deadline_ns,
	const struct addrinfo **ret_addresses);
/* Ask again at the next call: the addresses did not answer. */
void l3_name_forget(struct l3_name *n);
void l3_name_fini(struct l3_name *n);
