/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a Redis server: a non-blocking socket (TCP, TCP with TLS, Unix), hiredis for
 * the protocol, and a deadline at every wait. What comes in is bounded: the bytes of one exchange,
 * the elements of an array. One thread at a time.
 */
#pragma once
#include "base/list.h"
#include "blob/blob_redis_url.h"

#include <stddef.h>
#include <stdint.h>

struct addrinfo;
struct redisReply;
struct l3_conn;
struct l3_tls;

/* How to introduce oneself. Const after init. */
struct l3_login {
	struct l3_tls *tls;        /* NULL: none */
	const char *user;          /* "": the default user */
	const char *password;      /* "": none */
	const char *password_file; /* wins; may be NULL */
	unsigned db;
};

/* Connects, and logs in. `addresses` NULL: a Unix socket. -ECONNREFUSED, -ETIMEDOUT, -EACCES
 * (certificate, user or password), -EIO (not a Redis). */
int l3_conn_open(struct l3_conn **ret_conn, const struct l3_endpoint *at,
	const struct addrinfo *addresses, const struct l3_login *login, uint64_t deadline_ns);
struct l3_conn *l3_conn_close(struct l3_conn *c);

/* The deadline of an exchange is extended by the time its bytes take at 32 MiB/s, so that it bounds
 * a server that is slow and not one that has much to say. */
/* All bytes, or an error after which the connection is of no use. */
int l3_conn_send(struct l3_conn *c, const void *data, size_t len, uint64_t deadline_ns);
/* Begins a new exchange: at most so many bytes may come in until the next. */
void l3_conn_expect(struct l3_conn *c, size_t bytes_max);
/* The next answer, of any type; to be freed by freeReplyObject. -ETIMEDOUT, -ECONNRESET, -EBADMSG
 * (not the protocol, or more than was expected); the connection is of no use then. */
int l3_conn_receive(struct l3_conn *c, struct redisReply **ret_reply, uint64_t deadline_ns);
/* Idle, and neither ended nor talking without being asked. */
bool l3_conn_is_quiet(const struct l3_conn *c);

/* For whoever keeps idle connections. */
struct list *l3_conn_node(struct l3_conn *c);
struct l3_conn *l3_conn_of(struct list *node);
