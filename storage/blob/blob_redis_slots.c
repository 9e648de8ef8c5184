// SPDX-License-Identifier: Apache-2.0
/* See blob_redis_slots.h and the Redis Cluster specification. Pure. */
#include "blob/blob_redis_slots.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGES_MAX 16384u

/* CRC-16/XMODEM, bit by bit: keys are short and this is far from what a round trip costs. */
static uint16_t crc16(const uint8_t *p, size_t len)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc = (uint16_t)(crc ^ (uint16_t)(p[i] << 8));
		for (unsigned bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

uint16_t l3_slot(const void *key, size_t len)
{
	const uint8_t *p = key, *open = memchr(p, '{', len), *close;

	if (open) {
		close = memchr(open + 1, '}', len - (size_t)(open + 1 - p));
		if (close && close > open + 1) {
			len = (size_t)(close - open - 1);
			p = open + 1;
		}
	}
	return (uint16_t)(crc16(p, len) % L3_SLOTS);
}

/* host:port as Redis writes it: IPv6 without brackets, and the host may be empty. */
static int parse_address(
	const char *text, size_t len, const struct l3_endpoint *asked, struct l3_endpoint *ret_at)
{
	const char *colon = memrchr(text, ':', len);
	char bracketed[L3_HOST_MAX + 16];
	size_t host_len = colon ? (size_t)(colon - text) : 0;
	const char *host = text;
	int n;

	if (!colon || len - host_len - 1 > 5)
		return -EINVAL;
	if (!host_len) {
		host = asked->host;
		host_len = strlen(host);
	}
	n = snprintf(bracketed, sizeof(bracketed),
		memchr(host, ':', host_len) ? "[%.*s]%.*s" : "%.*s%.*s", (int)host_len, host,
		(int)(len - (size_t)(colon - text)), colon);
	if (n < 0 || (size_t)n >= sizeof(bracketed))
		return -EINVAL;
	return l3_endpoint_parse(bracketed, (unsigned)n, 0, ret_at);
}

int l3_redirect_parse(const char *text, size_t len, const struct l3_endpoint *asked,
	struct l3_redirect *ret_redirect)
{
	struct l3_redirect to = {0};
	const char *end = text + len, *space;
	unsigned slot = 0;

	if (len > 6 && memcmp(text, "MOVED ", 6) == 0)
		text += 6;
	else if (len > 4 && memcmp(text, "ASK ", 4) == 0)
		text += 4;
	else
		return -EINVAL;
	to.ask = text[-2] == 'K';
	space = memchr(text, ' ', (size_t)(end - text));
	if (!space || space == text || space - text > 5)
		return -EINVAL;
	for (; text < space; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		slot = slot * 10 + (unsigned)(*text - '0');
	}
	if (slot >= L3_SLOTS)
		return -EINVAL;
	to.slot = (uint16_t)slot;
	if (parse_address(space + 1, (size_t)(end - space - 1), asked, &to.to) < 0)
		return -EINVAL;
	*ret_redirect = to;
	return 0;
}

static int decode_range(
	const redisReply *range, const struct l3_endpoint *asked, l3_range_fn fn, void *arg)
{
	const redisReply *node, *host;
	struct l3_endpoint master;
	char address[L3_HOST_MAX + 16];
	int n;

	if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
		range->element[0]->type != REDIS_REPLY_INTEGER ||
		range->element[1]->type != REDIS_REPLY_INTEGER)
		return -EBADMSG;
	if (range->element[0]->integer < 0 || range->element[1]->integer >= (long long)L3_SLOTS ||
		range->element[0]->integer > range->element[1]->integer)
		return -EBADMSG;
	node = range->element[2];
	if (node->type != REDIS_REPLY_ARRAY || node->elements < 2 ||
		node->element[1]->type != REDIS_REPLY_INTEGER || node->element[1]->integer < 1 ||
		node->element[1]->integer > 65535)
		return -EBADMSG;
	host = node->element[0];
	if (host->type != REDIS_REPLY_STRING && host->type != REDIS_REPLY_NIL)
		return -EBADMSG;
	n = snprintf(address, sizeof(address), "%.*s:%d",
		host->type == REDIS_REPLY_STRING
			? (int)(host->len < L3_HOST_MAX ? host->len : L3_HOST_MAX)
			: 0,
		host->type == REDIS_REPLY_STRING ? host->str : "", (int)node->element[1]->integer);
	if (parse_address(address, (size_t)n, asked, &master) < 0)
		return -EBADMSG;
	return fn(arg, (uint16_t)range->element[0]->integer, (uint16_t)range->element[1]->integer,
		&master);
}

int l3_slots_decode(
	const struct redisReply *reply, const struct l3_endpoint *asked, l3_range_fn fn, void *arg)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements > RANGES_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < reply->elements; i++) {
		int r = decode_range(reply->element[i], asked, fn, arg);

		if (r < 0)
			return r;
	}
	return 0;
}
