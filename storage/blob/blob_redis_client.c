// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_client.h. A round sends what is open to all nodes that have some of it, then reads
 * their answers one node after the other, so the nodes work side by side on one thread. What must
 * be asked again (redirections, a connection that the server had closed) is the next round's.
 */
#include "blob/blob_redis_client_internal.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "blob/blob_redis_conn.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX   6
#define TRY_AGAIN_NS (5 * NS_PER_MS)
#define COMMANDS_MAX (64u << 20)
#define REPLY_FRAME  64u /* of a reply besides its bytes */
#define OPEN         1   /* a call's result while it has none */

/* The calls of a round that go to one node. */
struct group {
	struct l3_node *node;
	struct l3_call *first, *last;
	struct l3_conn *conn;
	bool reused;
	bool asked;
	uint64_t deadline_ns;
};

int l3_client_new(struct l3_client **ret_client, const struct l3_client_config *config)
{
	struct l3_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->config = *config;
	c->config.login.user = c->config.url.user;
	c->config.login.password = c->config.url.password;
	r = l3_map_init(c);
	if (r < 0) {
		l3_client_free(c);
		return r;
	}
	*ret_client = c;
	return 0;
}

struct l3_client *l3_client_free(struct l3_client *c)
{
	if (c)
		l3_map_fini(c);
	free(c);
	return NULL;
}

bool l3_client_is_cluster(const struct l3_client *c)
{
	return c->config.url.cluster;
}

void l3_client_reason(struct l3_client *c, char *ret_text, size_t cap)
{
	LOCK_GUARD(&c->mu);
	(void)snprintf(ret_text, cap, "%s", c->reason);
}

void l3_node_judge(struct l3_client *c, struct l3_node *n, int result)
{
	char reason[sizeof(c->reason)] = "", port[16] = "";
	bool edge;

	if (result == 0) {
		edge = l3_breaker_succeeded(&n->breaker);
	} else {
		if (n->at.port)
			(void)snprintf(port, sizeof(port), ":%u", n->at.port);
		(void)snprintf(reason, sizeof(reason), "%.180s%s: %s", n->at.host, port,
			result == -EACCES ? "certificate, user or password refused"
					  : strerror(-result));
		edge = l3_breaker_failed(&n->breaker);
		l3_node_drop_idle(n);
		l3_map_doubt(c);
		lock_acquire(&c->mu);
		memcpy(c->reason, reason, sizeof(reason));
		lock_release(&c->mu);
	}
	if (edge)
		l3_client_tell(c);
}

void l3_client_tell(struct l3_client *c)
{
	bool down = l3_client_state(c) != L3_UP, changed;
	char reason[sizeof(c->reason)];

	lock_acquire(&c->mu);
	changed = down != c->told_down;
	c->told_down = down;
	memcpy(reason, c->reason, sizeof(reason));
	lock_release(&c->mu);
	if (changed && c->config.on_change)
		c->config.on_change(c->config.arg, !down, down ? reason : "");
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int take(struct l3_client *c, struct l3_node *n, uint64_t deadline_ns,
	struct l3_conn **ret_conn, bool *ret_reused)
{
	uint64_t until_ns = clock_after(&clock_system, c->config.connect_ns);

	return l3_node_take(
		n, &c->config.login, earlier(until_ns, deadline_ns), ret_conn, ret_reused);
}

/* A command as the protocol writes it. */
static void format(struct buf *out, const struct l3_arg *argv, unsigned argc)
{
	(void)buf_printf(out, "*%u\r\n", argc); /* buf_error tells at the end */
	for (unsigned i = 0; i < argc; i++) {
		(void)buf_printf(out, "$%zu\r\n", argv[i].len);
		(void)buf_append(out, argv[i].data, argv[i].len);
		(void)buf_puts(out, "\r\n");
	}
}

static int send_group(
	struct l3_client *c, struct group *g, size_t reply_bytes, uint64_t deadline_ns)
{
	static const struct l3_arg asking = {"ASKING", 6};
	struct buf out;
	int r;

	buf_init(&out, COMMANDS_MAX);
	for (struct l3_call *call = g->first; call; call = call->next) {
		if (call->asking)
			format(&out, &asking, 1);
		format(&out, call->argv, call->argc);
		reply_bytes += REPLY_FRAME * (call->argc + 1);
	}
	r = buf_error(&out);
	if (r == 0)
		r = take(c, g->node, deadline_ns, &g->conn, &g->reused);
	if (r == 0) {
		g->deadline_ns =
			earlier(clock_after(&clock_system, c->config.exchange_ns), deadline_ns);
		l3_conn_expect(g->conn, reply_bytes);
		r = l3_conn_send(g->conn, out.data, out.len, g->deadline_ns);
	}
	buf_fini(&out);
	return r;
}

/* An answer that says: not here, not now. */
static int redirect(struct l3_client *c, struct l3_call *call, const redisReply *reply)
{
	struct l3_redirect to;
	struct l3_node *n;

	if (!c->config.url.cluster ||
		l3_redirect_parse(reply->str, reply->len, &call->node->at, &to) < 0)
		return -EINVAL;
	n = l3_node_redirected(c, &to);
	if (!n)
		return -ENOSPC;
	l3_node_release(c, call->node);
	call->node = n;
	call->asking = to.ask;
	return 0;
}

static bool says(const redisReply *reply, const char *word)
{
	return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, strlen(word)) == 0;
}

/* 0: the call has its answer or is open again; an error of the whole server otherwise. */
static int settle(struct l3_client *c, struct l3_call *call, redisReply *reply, bool *ret_wait)
{
	bool open = false;
	int r = 0;

	if (says(reply, "TRYAGAIN"))
		open = *ret_wait = true;
	else if (says(reply, "LOADING") || says(reply, "CLUSTERDOWN") || says(reply, "MASTERDOWN"))
		r = -EHOSTUNREACH;
	else if (says(reply, "NOAUTH"))
		r = -EACCES;
	else if (reply->type == REDIS_REPLY_ERROR)
		open = redirect(c, call, reply) == 0;
	if (open || r < 0) {
		freeReplyObject(reply);
		call->result = open ? OPEN : r;
		return r;
	}
	call->result = 0;
	call->reply = reply;
	return 0;
}

static int receive_group(struct l3_client *c, struct group *g, bool *ret_wait, bool *ret_stale)
{
	bool any = false;
	int server = 0;

	for (struct l3_call *call = g->first; call; call = call->next) {
		redisReply *reply = NULL;
		int r = 0;

		if (call->asking) {
			r = l3_conn_receive(g->conn, &reply, g->deadline_ns);
			if (r == 0)
				freeReplyObject(reply);
			call->asking = false;
		}
		if (r == 0)
			r = l3_conn_receive(g->conn, &reply, g->deadline_ns);
		if (r < 0) {
			*ret_stale = !any && g->reused && r == -ECONNRESET;
			return r;
		}
		any = true;
		r = settle(c, call, reply, ret_wait);
		if (r < 0)
			server = r;
	}
	return server;
}

/* Errors as callers know them. */
static int plain_error(int r)
{
	switch (r) {
	case -ETIMEDOUT:
	case -EACCES:
	case -ENOMEM:
		return r;
	case -EBADMSG:
	case -EMSGSIZE:
		return -EIO;
	default:
		return -EHOSTUNREACH;
	}
}

static void fail_open(struct group *g, int r)
{
	for (struct l3_call *call = g->first; call; call = call->next)
		if (call->result == OPEN)
			call->result = plain_error(r);
}

static void send_or_fail(
	struct l3_client *c, struct group *g, size_t reply_bytes, uint64_t deadline_ns)
{
	int r;

	if (!l3_breaker_allow(&g->node->breaker)) {
		fail_open(g, -EHOSTUNREACH);
		return;
	}
	r = send_group(c, g, reply_bytes, deadline_ns);
	if (r < 0 && g->conn &&
		g->reused) { /* it was closed while idle: once more, with a new one */
		l3_conn_close(g->conn);
		g->conn = NULL;
		l3_node_drop_idle(g->node);
		r = send_group(c, g, reply_bytes, deadline_ns);
	}
	g->asked = r == 0;
	if (r == 0)
		return;
	g->conn = l3_conn_close(g->conn);
	l3_node_judge(c, g->node, r);
	fail_open(g, r);
}

static void receive_or_fail(struct l3_client *c, struct group *g, bool *ret_wait)
{
	bool stale = false;
	int r = receive_group(c, g, ret_wait, &stale);

	l3_node_give(g->node, g->conn, r == 0);
	if (stale) {
		l3_node_drop_idle(g->node); /* the others are no better; the calls stay open */
		l3_breaker_forget(&g->node->breaker);
		return;
	}
	l3_node_judge(c, g->node, r);
	if (r < 0)
		fail_open(g, r);
}

/* The open calls by node. At most as many groups as calls. */
static unsigned make_groups(
	struct l3_client *c, struct l3_call *calls, unsigned count, struct group *groups)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		struct l3_call *call = &calls[i];
		unsigned at = 0;

		if (call->result != OPEN)
			continue;
		if (!call->node)
			call->node = l3_node_hold(c, call->slot);
		call->next = NULL;
		while (at < n && groups[at].node != call->node)
			at++;
		if (at == n)
			groups[n++] = (struct group){.node = call->node, .first = call};
		else
			groups[at].last->next = call;
		groups[at].last = call;
	}
	return n;
}

/* True if calls are still open. */
static bool run_round(struct l3_client *c, struct l3_call *calls, unsigned count,
	size_t reply_bytes, uint64_t deadline_ns)
{
	/* calls go to no more nodes than there are */
	struct group groups[L3_NODES_MAX];
	bool open = false, wait = false;
	unsigned n = make_groups(c, calls, count, groups);

	for (unsigned i = 0; i < n; i++)
		send_or_fail(c, &groups[i], reply_bytes, deadline_ns);
	for (unsigned i = 0; i < n; i++)
		if (groups[i].asked)
			receive_or_fail(c, &groups[i], &wait);
	for (unsigned i = 0; i < count; i++)
		open = open || calls[i].result == OPEN;
	if (wait)
		(void)cancel_sleep_until(
			NULL, earlier(clock_after(&clock_system, TRY_AGAIN_NS), deadline_ns));
	return open && clock_mono_ns(&clock_system) < deadline_ns;
}

void l3_run(struct l3_client *c, struct l3_call *calls, unsigned count, size_t reply_bytes,
	uint64_t deadline_ns)
{
	bool open = true;

	for (unsigned i = 0; i < count; i++) {
		calls[i].result = OPEN;
		calls[i].reply = NULL;
		calls[i].node = NULL;
		calls[i].asking = false;
	}
	for (unsigned round = 0; open && round < ROUNDS_MAX; round++) {
		if (c->config.url.cluster)
			l3_map_refresh(c, deadline_ns);
		open = run_round(c, calls, count, reply_bytes, deadline_ns);
	}
	for (unsigned i = 0; i < count; i++) {
		if (calls[i].result == OPEN)
			calls[i].result = -EHOSTUNREACH; /* redirected in a circle */
		if (calls[i].node)
			l3_node_release(c, calls[i].node);
		calls[i].node = NULL;
	}
}

void l3_calls_fini(struct l3_call *calls, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (calls[i].reply)
			freeReplyObject(calls[i].reply);
		calls[i].reply = NULL;
	}
}

int l3_ask_node(struct l3_client *c, struct l3_node *n, const struct l3_arg *argv, unsigned argc,
	size_t reply_bytes, uint64_t deadline_ns, struct redisReply **ret_reply)
{
	struct l3_call call = {.argv = argv, .argc = argc};
	struct group g = {.node = n, .first = &call};
	redisReply *reply = NULL;
	int r = send_group(c, &g, reply_bytes, deadline_ns);

	if (r == 0)
		r = l3_conn_receive(g.conn, &reply, g.deadline_ns);
	if (g.conn)
		l3_node_give(n, g.conn, r == 0);
	if (r < 0)
		return r;
	if (reply->type == REDIS_REPLY_ERROR) {
		freeReplyObject(reply);
		return -EPROTO;
	}
	*ret_reply = reply;
	return 0;
}

struct l3_talk {
	struct l3_client *c;
	struct l3_node *node;
	struct l3_conn *conn;
	uint64_t deadline_ns;
	int result;
};

int l3_talk_begin(
	struct l3_talk **ret_talk, struct l3_client *c, uint16_t slot, uint64_t deadline_ns)
{
	struct l3_talk *t = calloc(1, sizeof(*t));
	bool reused;
	int r;

	if (!t)
		return -ENOMEM;
	t->c = c;
	t->node = l3_node_hold(c, slot);
	r = l3_breaker_allow(&t->node->breaker) ? take(c, t->node, deadline_ns, &t->conn, &reused)
						: -EHOSTUNREACH;
	if (r < 0) {
		l3_node_release(c, t->node);
		free(t);
		return r;
	}
	t->deadline_ns = earlier(clock_after(&clock_system, c->config.exchange_ns), deadline_ns);
	*ret_talk = t;
	return 0;
}

int l3_talk_say(
	struct l3_talk *t, const struct l3_arg *argv, unsigned argc, struct redisReply **ret_reply)
{
	struct buf out;
	int r = t->result;

	buf_init(&out, COMMANDS_MAX);
	format(&out, argv, argc);
	if (r == 0)
		r = buf_error(&out);
	l3_conn_expect(t->conn, 64 * 1024);
	if (r == 0)
		r = l3_conn_send(t->conn, out.data, out.len, t->deadline_ns);
	if (r == 0)
		r = l3_conn_receive(t->conn, ret_reply, t->deadline_ns);
	buf_fini(&out);
	t->result = r;
	return r;
}

void l3_talk_end(struct l3_talk *t)
{
	l3_conn_close(t->conn);
	l3_node_judge(t->c, t->node, t->result);
	l3_node_release(t->c, t->node);
	free(t);
}
