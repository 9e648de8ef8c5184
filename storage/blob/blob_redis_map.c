// SPDX-License-Identifier: Apache-2.0
/*
 * Who has which slot. A single server has all of them. In a cluster the map is asked for at the
 * first call, after a redirection and after a failure, by whichever caller comes next, at most ten
 * times a second; meanwhile the others go by the old map and are redirected. At most 64 servers are
 * remembered: one that has no slots any more and nobody uses makes room for a new one.
 *
 * Threads: any. `mu` is not held while anyone is asked.
 */
#include "blob/blob_redis_client_internal.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define MAP_PAUSE_NS  (100 * NS_PER_MS)
#define MAP_BYTES_MAX (4u << 20)

static bool same(const struct l3_endpoint *a, const struct l3_endpoint *b)
{
	return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* A place for one more: a new one, or that of a server that is of no use any more. */
static unsigned place_locked(struct l3_client *c)
{
	if (c->node_count < L3_NODES_MAX)
		return c->node_count;
	for (unsigned i = 0; i < c->node_count; i++)
		if (!c->node[i]->users && !c->node[i]->mapped)
			return i;
	return L3_NO_NODE;
}

/* The index of a server, which is added if it is not known; L3_NO_NODE: no room, no memory. */
static uint8_t find_locked(struct l3_client *c, const struct l3_endpoint *at)
{
	struct l3_node *n;
	unsigned place;

	for (unsigned i = 0; i < c->node_count; i++)
		if (same(&c->node[i]->at, at))
			return (uint8_t)i;
	place = place_locked(c);
	n = place == L3_NO_NODE ? NULL : l3_node_new(at, &clock_system);
	if (!n)
		return L3_NO_NODE;
	if (place < c->node_count)
		l3_node_free(c->node[place]);
	else
		c->node_count++;
	c->node[place] = n;
	return (uint8_t)place;
}

int l3_map_init(struct l3_client *c)
{
	const struct l3_url *url = &c->config.url;

	lock_init(&c->mu, LOCK_RANK_BLOB_TIER);
	for (unsigned i = 0; i < url->seed_count; i++) {
		uint8_t place = find_locked(c, &url->seed[i]);

		if (place == L3_NO_NODE)
			return -ENOMEM;
		c->node[place]->mapped = true;
	}
	memset(c->slot, url->cluster ? L3_NO_NODE : 0, sizeof(c->slot));
	c->map_wanted = url->cluster;
	return 0;
}

void l3_map_fini(struct l3_client *c)
{
	for (unsigned i = 0; i < c->node_count; i++)
		l3_node_free(c->node[i]);
	lock_fini(&c->mu);
}

/* Any node of a cluster can tell who has a slot; one that works is asked first. */
static struct l3_node *any_locked(struct l3_client *c)
{
	for (unsigned i = 0; i < c->node_count; i++)
		if (c->node[i]->mapped && l3_breaker_state(&c->node[i]->breaker) == L3_UP)
			return c->node[i];
	return c->node[0];
}

struct l3_node *l3_node_hold(struct l3_client *c, uint16_t slot)
{
	struct l3_node *n;
	uint8_t place;

	LOCK_GUARD(&c->mu);
	place = c->slot[slot % L3_SLOTS];
	n = place == L3_NO_NODE ? any_locked(c) : c->node[place];
	n->users++;
	return n;
}

struct l3_node *l3_node_redirected(struct l3_client *c, const struct l3_redirect *to)
{
	uint8_t place;

	LOCK_GUARD(&c->mu);
	place = find_locked(c, &to->to);
	if (place == L3_NO_NODE)
		return NULL;
	if (!to->ask) {
		c->slot[to->slot] = place;
		c->node[place]->mapped = true;
		c->map_wanted = true;
	}
	c->node[place]->users++;
	return c->node[place];
}

void l3_node_release(struct l3_client *c, struct l3_node *n)
{
	LOCK_GUARD(&c->mu);
	n->users--;
}

void l3_map_doubt(struct l3_client *c)
{
	LOCK_GUARD(&c->mu);
	c->map_wanted = c->config.url.cluster;
}

struct map {
	struct l3_client *c;
	uint8_t slot[L3_SLOTS];
};

static int add_range(void *arg, uint16_t first, uint16_t last, const struct l3_endpoint *master)
{
	struct map *map = arg;
	uint8_t place;

	LOCK_GUARD(&map->c->mu);
	place = find_locked(map->c, master);
	if (place == L3_NO_NODE)
		return -ENOSPC;
	map->c->node[place]->mapped = true; /* stays, until the map is installed */
	memset(map->slot + first, place, (size_t)(last - first) + 1);
	return 0;
}

static void install(struct l3_client *c, const struct map *map)
{
	LOCK_GUARD(&c->mu);
	memcpy(c->slot, map->slot, sizeof(c->slot));
	for (unsigned i = 0; i < c->node_count; i++)
		c->node[i]->mapped =
			memchr(c->slot, (int)i, sizeof(c->slot)) || i < c->config.url.seed_count;
	c->map_wanted = false;
	c->have_map = true;
}

static int ask_for_map(struct l3_client *c, struct l3_node *n, uint64_t deadline_ns)
{
	static const struct l3_arg argv[] = {{"CLUSTER", 7}, {"SLOTS", 5}};
	redisReply *reply = NULL;
	struct map *map;
	int r = l3_ask_node(c, n, argv, 2, MAP_BYTES_MAX, deadline_ns, &reply);

	if (r < 0)
		return r;
	map = malloc(sizeof(*map));
	r = map ? 0 : -ENOMEM;
	if (map) {
		map->c = c;
		memset(map->slot, L3_NO_NODE, sizeof(map->slot));
		r = l3_slots_decode(reply, &n->at, add_range, map);
	}
	if (r == 0) {
		install(c, map);
		l3_client_tell(c); /* a dead one may have lost its slots */
	}
	free(map);
	freeReplyObject(reply);
	return r;
}

/* Servers that had slots first, then the configured ones, as they stand in the table. */
static struct l3_node *hold_nth(struct l3_client *c, unsigned i)
{
	LOCK_GUARD(&c->mu);
	if (i >= c->node_count)
		return NULL;
	c->node[i]->users++;
	return c->node[i];
}

void l3_map_refresh(struct l3_client *c, uint64_t deadline_ns)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	struct l3_node *n;
	int r = -EHOSTUNREACH;
	bool due;

	lock_acquire(&c->mu);
	due = c->map_wanted && !c->mapping &&
	      (!c->mapped_ns || now_ns - c->mapped_ns >= MAP_PAUSE_NS);
	if (due) {
		c->mapping = true;
		c->mapped_ns = now_ns;
	}
	lock_release(&c->mu);
	for (unsigned i = 0; due && r < 0 && (n = hold_nth(c, i)); i++) {
		if (l3_breaker_allow(&n->breaker)) {
			r = ask_for_map(c, n, deadline_ns);
			l3_node_judge(c, n, r);
		}
		l3_node_release(c, n);
	}
	if (due) {
		LOCK_GUARD(&c->mu);
		c->mapping = false;
	}
}

/* Of the worst server that has slots; of the best one while nobody has told who has. */
enum l3_state l3_client_state(struct l3_client *c)
{
	enum l3_state worst = L3_UP, best = L3_DOWN;
	bool have_map;

	LOCK_GUARD(&c->mu);
	have_map = c->have_map || !c->config.url.cluster;
	for (unsigned i = 0; i < c->node_count; i++) {
		enum l3_state state = l3_breaker_state(&c->node[i]->breaker);

		if (state < best)
			best = state;
		if (state > worst && memchr(c->slot, (int)i, sizeof(c->slot)))
			worst = state;
	}
	return have_map ? worst : best;
}
