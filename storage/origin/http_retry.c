/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of trying again; see http_retry.h. Waits double from 100 ms to 2 s and are cut by up to
 * a half at random, so that clients that failed together do not come back together. What the server
 * asks for with Retry-After is kept, unless the caller has less time: then waiting is useless.
 */
#include "origin/http_retry.h"

#include "base/clock.h"

#include <errno.h>

#define DELAY_FIRST_NS (100 * NS_PER_MS)
#define DELAY_MAX_NS   (2 * NS_PER_S)

int http_outcome_errno(const struct http_outcome *o)
{
	switch (o->end) {
	case HTTP_END_ANSWER:
		break;
	case HTTP_END_CONNECT:
	case HTTP_END_TLS:
	case HTTP_END_OPEN:
		return -EHOSTUNREACH;
	case HTTP_END_SILENT:
		return -ETIMEDOUT;
	case HTTP_END_MEMORY:
		return -ENOMEM;
	case HTTP_END_CUT:
	case HTTP_END_REFUSED:
		return -EIO;
	}
	if (o->status >= 200 && o->status < 300)
		return 0;
	if (o->status == 404)
		return -ENOENT;
	if (o->status == 401 || o->status == 403 || o->status == 407)
		return -EACCES;
	if (o->status == 408 || o->status == 504)
		return -ETIMEDOUT;
	return o->status == 429 || o->status == 502 || o->status == 503 ? -EHOSTUNREACH : -EIO;
}

bool http_outcome_is_down(const struct http_outcome *o)
{
	if (o->end == HTTP_END_ANSWER)
		return o->status >= 502 && o->status <= 504;
	return o->end == HTTP_END_CONNECT || o->end == HTTP_END_CUT || o->end == HTTP_END_SILENT ||
	       o->end == HTTP_END_TLS;
}

static bool may_pass(const struct http_outcome *o)
{
	if (o->end == HTTP_END_ANSWER)
		return o->status == 408 || o->status == 425 || o->status == 429 || o->status >= 500;
	return o->end == HTTP_END_CONNECT || o->end == HTTP_END_CUT || o->end == HTTP_END_SILENT ||
	       o->end == HTTP_END_OPEN;
}

uint64_t http_retry_delay(
	const struct http_outcome *o, unsigned attempt, uint64_t left_ns, uint32_t random)
{
	uint64_t delay_ns = DELAY_FIRST_NS;

	if (attempt >= HTTP_ATTEMPTS_MAX || !may_pass(o))
		return NS_NEVER;
	for (unsigned i = 1; i < attempt && delay_ns < DELAY_MAX_NS; i++)
		delay_ns *= 2;
	if (delay_ns > DELAY_MAX_NS)
		delay_ns = DELAY_MAX_NS;
	delay_ns -= delay_ns / 2 * random / UINT32_MAX;
	if (delay_ns < o->retry_after_ns)
		delay_ns = o->retry_after_ns;
	return delay_ns < left_ns ? delay_ns : NS_NEVER;
}
