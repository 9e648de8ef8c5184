// SPDX-License-Identifier: Apache-2.0
/*
 * What a Redis server answers, and what a person writes as its URL, as hostile bytes: redirections,
 * maps of slots (through hiredis' reader, as in the product), URLs.
 */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "blob/blob_redis_slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct l3_endpoint asked = {"h", 1};

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void expect_endpoint(const struct l3_endpoint *at)
{
	expect(at->port && at->host[0] && at->host[0] != '/' &&
		memchr(at->host, '\0', sizeof(at->host)));
}

static int see(void *arg, uint16_t first, uint16_t last, const struct l3_endpoint *master)
{
	(void)arg;
	expect(first <= last && last < L3_SLOTS);
	expect_endpoint(master);
	return 0;
}

/* Arrays of a sane length only: the connection has its own bound. */
static bool announces_too_much(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 5 < size; i++)
		if (data[i] == '*' && data[i + 4] >= '0' && data[i + 4] <= '9')
			return true;
	return false;
}

static void check_map(const uint8_t *data, size_t size)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	if (reader && !announces_too_much(data, size) &&
		redisReaderFeed(reader, (const char *)data, size) == REDIS_OK &&
		redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
		(void)l3_slots_decode(reply, &asked, see, NULL);
		freeReplyObject(reply);
	}
	redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct l3_redirect to;
	struct l3_url url;
	struct err e = {0};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (l3_redirect_parse(text, size, &asked, &to) == 0) {
		expect(to.slot < L3_SLOTS);
		expect_endpoint(&to.to);
	}
	if (l3_url_parse(text, &url, &e) == 0)
		expect(url.seed_count > 0 && url.seed_count <= L3_SEEDS_MAX);
	check_map(data, size);
	free(text);
	return 0;
}
