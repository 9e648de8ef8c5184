// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_node.h. `naming` is waited for by those who must connect to the same host, so that
 * the resolver is asked once; each of them is bounded by its own deadline only as the one inside
 * is, which is the same time.
 */
#include "blob/blob_redis_node.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

struct l3_node *l3_node_new(const struct l3_endpoint *at, const struct clock *clock)
{
	struct l3_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->at = *at;
	l3_breaker_init(&n->breaker, clock);
	lock_init(&n->mu, LOCK_RANK_BLOB_TIER);
	lock_init(&n->naming, LOCK_RANK_BLOB_TIER);
	list_init(&n->idle);
	return n;
}

static void close_all(struct list *conns)
{
	list_for_each_safe (it, conns) {
		list_remove(it);
		l3_conn_close(l3_conn_of(it));
	}
}

void l3_node_drop_idle(struct l3_node *n)
{
	struct list old;

	list_init(&old);
	lock_acquire(&n->mu);
	list_splice_back(&old, &n->idle);
	n->idle_count = 0;
	lock_release(&n->mu);
	close_all(&old);
}

struct l3_node *l3_node_free(struct l3_node *n)
{
	if (!n)
		return NULL;
	close_all(&n->idle);
	l3_name_fini(&n->name);
	l3_breaker_fini(&n->breaker);
	lock_fini(&n->naming);
	lock_fini(&n->mu);
	free(n);
	return NULL;
}

static struct l3_conn *take_idle(struct l3_node *n)
{
	struct list *first;

	LOCK_GUARD(&n->mu);
	first = list_first(&n->idle);
	if (!first)
		return NULL;
	list_remove(first);
	n->idle_count--;
	return l3_conn_of(first);
}

/* The addresses are copied out, so that they can be tried without holding `naming`. */
static int resolve(struct l3_node *n, uint64_t deadline_ns, struct addrinfo **ret_copy)
{
	const struct addrinfo *addresses;
	struct addrinfo *copy = NULL, **tail = &copy;
	int r;

	LOCK_GUARD(&n->naming);
	r = l3_name_resolve(&n->name, &n->at, deadline_ns, &addresses);
	for (; r == 0 && addresses; addresses = addresses->ai_next) {
		struct addrinfo *a = malloc(sizeof(*a) + addresses->ai_addrlen);

		if (!a)
			break; /* those we have will do */
		*a = *addresses;
		a->ai_addr = (struct sockaddr *)(a + 1);
		memcpy(a->ai_addr, addresses->ai_addr, addresses->ai_addrlen);
		a->ai_next = NULL;
		*tail = a;
		tail = &a->ai_next;
	}
	*ret_copy = copy;
	return r == 0 && !copy && n->at.host[0] != '/' ? -ENOMEM : r;
}

static void free_copy(struct addrinfo *copy)
{
	while (copy) {
		struct addrinfo *next = copy->ai_next;

		free(copy);
		copy = next;
	}
}

int l3_node_take(struct l3_node *n, const struct l3_login *login, uint64_t deadline_ns,
	struct l3_conn **ret_conn, bool *ret_reused)
{
	struct addrinfo *addresses;
	struct l3_conn *c;
	int r;

	while ((c = take_idle(n))) {
		if (l3_conn_is_quiet(c)) {
			*ret_conn = c;
			*ret_reused = true;
			return 0;
		}
		l3_conn_close(c);
	}
	*ret_reused = false;
	r = resolve(n, deadline_ns, &addresses);
	if (r == 0)
		r = l3_conn_open(ret_conn, &n->at, addresses, login, deadline_ns);
	free_copy(addresses);
	if (r < 0) {
		lock_acquire(&n->naming);
		l3_name_forget(&n->name);
		lock_release(&n->naming);
	}
	return r;
}

void l3_node_give(struct l3_node *n, struct l3_conn *c, bool good)
{
	if (good) {
		LOCK_GUARD(&n->mu);
		if (n->idle_count < L3_IDLE_MAX) {
			list_push_front(&n->idle, l3_conn_node(c)); /* the warmest first */
			n->idle_count++;
			return;
		}
	}
	l3_conn_close(c);
}
