// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_name.h. getaddrinfo_a runs the question on a thread of the C library. Its memory
 * is ours, so it is freed only when the library is done with it.
 */
#include "blob/blob_redis_name.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FRESH_NS (30 * NS_PER_S)

/* A question and all that it points to. */
struct question {
	struct gaicb cb;
	char host[L3_HOST_MAX], service[8];
	struct addrinfo hints;
};

static struct question *question_new(const struct l3_endpoint *at, int flags)
{
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	memcpy(q->host, at->host, sizeof(q->host));
	(void)snprintf(q->service, sizeof(q->service), "%u", at->port);
	q->hints = (struct addrinfo){
		.ai_flags = AI_NUMERICSERV | flags,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	q->cb = (struct gaicb){
		.ar_name = q->host, .ar_service = q->service, .ar_request = &q->hints};
	return q;
}

/* Addresses that need no resolver. */
static int resolve_number(const struct l3_endpoint *at, struct addrinfo **ret_answer)
{
	struct question *q = question_new(at, AI_NUMERICHOST);
	int r;

	if (!q)
		return -ENOMEM;
	r = getaddrinfo(q->host, q->service, &q->hints, ret_answer);
	free(q);
	return r == 0 ? 0 : -EHOSTUNREACH;
}

static int ask(struct l3_name *n, const struct l3_endpoint *at)
{
	struct question *q = question_new(at, 0);
	struct gaicb *list[1];

	if (!q)
		return -ENOMEM;
	list[0] = &q->cb;
	if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0) {
		free(q);
		return -ENOMEM;
	}
	n->question = &q->cb;
	return 0;
}

static int await(struct l3_name *n, uint64_t deadline_ns)
{
	const struct gaicb *list[1] = {n->question};
	struct addrinfo *answer;
	int r;

	while ((r = gai_error(n->question)) == EAI_INPROGRESS) {
		uint64_t now_ns = clock_mono_ns(&clock_system);
		struct timespec wait;

		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		wait = clock_timespec(deadline_ns - now_ns);
		(void)gai_suspend(list, 1, &wait); /* whatever it says, the question is looked at */
	}
	answer = n->question->ar_result;
	free(n->question); /* the first member of its struct question */
	n->question = NULL;
	if (r != 0)
		return -EHOSTUNREACH;
	if (n->answer)
		freeaddrinfo(n->answer);
	n->answer = answer;
	n->asked_ns = clock_mono_ns(&clock_system);
	return 0;
}

int l3_name_resolve(struct l3_name *n, const struct l3_endpoint *at, uint64_t deadline_ns,
	const struct addrinfo **ret_addresses)
{
	bool fresh =
		n->answer && n->asked_ns && clock_mono_ns(&clock_system) - n->asked_ns < FRESH_NS;
	int r = 0;

	*ret_addresses = NULL;
	if (at->host[0] == '/')
		return 0;
	if (!n->answer && !n->question && resolve_number(at, &n->answer) == 0)
		n->asked_ns = UINT64_MAX; /* never changes */
	if (n->asked_ns != UINT64_MAX && !fresh) {
		r = n->question ? 0 : ask(n, at);
		if (r == 0)
			r = await(n, deadline_ns);
	}
	*ret_addresses = n->answer; /* an old one is better than none */
	return n->answer ? 0 : r;
}

void l3_name_forget(struct l3_name *n)
{
	if (n->asked_ns != UINT64_MAX)
		n->asked_ns = 0;
}

void l3_name_fini(struct l3_name *n)
{
	/* One that cannot be cancelled is being worked on by the C library: its memory stays. */
	if (n->question && gai_cancel(n->question) != EAI_NOTCANCELED) {
		if (n->question->ar_result)
			freeaddrinfo(n->question->ar_result);
		free(n->question);
	}
	if (n->answer)
		freeaddrinfo(n->answer);
	*n = (struct l3_name){0};
}
