/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a request is made again: what its end means, and how long to wait. Pure, so that it is
 * tested without a network or a clock.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define HTTP_ATTEMPTS_MAX 5

/* How an attempt ended. */
enum http_end {
	HTTP_END_ANSWER,  /* a whole answer with a status */
	HTTP_END_CONNECT, /* no connection: name, address, refused */
	HTTP_END_CUT,     /* the connection broke, or what came is not HTTP */
	HTTP_END_SILENT,  /* nothing came for too long */
	HTTP_END_TLS,     /* we do not trust the server, or it does not trust us */
	HTTP_END_REFUSED, /* the answer is larger than allowed, a redirect that is not followed */
	HTTP_END_MEMORY,
	HTTP_END_OPEN, /* not tried: the circuit breaker is open */
};

struct http_outcome {
	enum http_end end;
	int status;              /* of an answer */
	uint64_t retry_after_ns; /* what the server asks for; 0 = nothing */
};

/* 0 for a 2xx, else what the caller is told when no further attempt is made: -ENOENT (404),
 * -EACCES (401, 403, 407), -EHOSTUNREACH (cannot be reached, 429, 502, 503), -ETIMEDOUT, -EIO. */
int http_outcome_errno(const struct http_outcome *o);
/* Whether the server as a whole seems to be in trouble (for the circuit breaker). */
bool http_outcome_is_down(const struct http_outcome *o);
/* How long to wait before attempt number `attempt` + 1 (`attempt` >= 1 was the last one), or
 * NS_NEVER: there is none, because it would not help, was the last, or would come after
 * `left_ns`. `random` is any number; waits are spread by it. */
uint64_t http_retry_delay(
	const struct http_outcome *o, unsigned attempt, uint64_t left_ns, uint32_t random);
