/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes of blobs. A Mega server tells them only as the length of a blob, one request each; so they
 * are asked for side by side, once ever for each blob, and remembered; also those that were told
 * before something failed or time ran out: a directory too large for one call's time is complete
 * after some.
 *
 * Threads: any that may block.
 */
#include "origin/mega_internal.h"

#include <errno.h>
#include <stdlib.h>

#define WINDOW 64 /* requests of one caller under way: more wait in our own queue only */

/* One that is not known, and its request. */
struct asked {
	size_t index;
	struct http_call *call;
	bool told;
};

static int start(struct mega *m, const struct oid *blob, const struct mega_wait *wait,
	struct http_call **ret_call)
{
	struct http_request request = {.method = HTTP_HEAD, .deadline_ns = wait->deadline_ns};

	return mega_start_blob(m, blob, &request, ret_call);
}

/* A proxy may leave the length out of an answer to HEAD; a GET has it, or is counted. */
static int count_bytes(void *arg, int64_t length, const void *data, size_t len)
{
	(void)length;
	(void)data;
	*(uint64_t *)arg += len;
	return 0;
}

static int measure(
	struct mega *m, const struct oid *blob, const struct mega_wait *wait, uint64_t *ret_size)
{
	struct http_request request = {.stream = true, .deadline_ns = wait->deadline_ns};
	struct http_answer answer;
	struct http_call *call;
	uint64_t size = 0;
	int r;

	r = mega_start_blob(m, blob, &request, &call);
	if (r < 0)
		return r;
	r = http_finish_to(call, wait->cancel, count_bytes, &size, &answer);
	http_answer_fini(&answer);
	if (r == 0)
		*ret_size = size;
	return r;
}

static int finish(struct mega *m, struct asked *asked, const struct oid *blob,
	const struct mega_wait *wait, uint64_t *ret_size)
{
	struct http_answer answer;
	int r = http_finish(asked->call, wait->cancel, &answer);

	asked->call = NULL;
	if (r == 0 && answer.length < 0)
		r = measure(m, blob, wait, ret_size);
	else if (r == 0)
		*ret_size = (uint64_t)answer.length;
	http_answer_fini(&answer);
	asked->told = r == 0;
	return r == -ENOENT ? -EIO : r; /* a tree names it: it is there, only not for us */
}

/* A window of requests slides over what is asked. */
static int ask(struct mega *m, const struct oid *blobs, struct asked *asked, size_t count,
	const struct mega_wait *wait, uint64_t *sizes)
{
	size_t started = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		for (; r == 0 && started < count && started < i + WINDOW; started++)
			r = start(m, &blobs[asked[started].index], wait, &asked[started].call);
		if (r == 0)
			r = finish(
				m, &asked[i], &blobs[asked[i].index], wait, &sizes[asked[i].index]);
	}
	for (size_t i = 0; i < count; i++)
		http_drop(asked[i].call);
	return r;
}

int mega_fetch_sizes(struct mega *m, const struct oid *blobs, size_t count,
	const struct mega_wait *wait, uint64_t *ret_sizes, struct mega_facts *facts)
{
	struct asked *asked = calloc(count ? count : 1, sizeof(*asked));
	size_t asked_count = 0;
	int r = asked ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (oid_is_none(&blobs[i]))
			continue;
		r = mega_memory_size(m->memory, &blobs[i], &ret_sizes[i]);
		if (r == -ENOENT) {
			asked[asked_count++].index = i;
			r = 0;
		}
	}
	if (r == 0)
		r = ask(m, blobs, asked, asked_count, wait, ret_sizes);
	for (size_t i = 0; i < asked_count; i++)
		if (asked[i].told)
			mega_facts_size(facts, &blobs[asked[i].index], ret_sizes[asked[i].index]);
	if (r < 0 && asked_count)
		(void)mega_memory_learn(m->memory, facts); /* else they are asked for again */
	free(asked);
	return r;
}
