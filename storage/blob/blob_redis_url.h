/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is, from one URL:
 *
 *	redis://[user[:password]@]host[:port][/db]            one server
 *	redis+cluster://[user[:password]@]host[:port],...     a cluster, by some of its nodes
 *	rediss://, rediss+cluster://                          the same over TLS
 *	unix://[user[:password]@]/path/of/socket[?db=N]       a socket on this machine
 *
 * User, password and path may have %-escapes; an address of IPv6 stands in brackets. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct err;

#define L3_HOST_MAX  256
#define L3_SEEDS_MAX 16

struct l3_endpoint {
	char host[L3_HOST_MAX]; /* with a leading slash: a socket's path */
	uint16_t port;
};

struct l3_url {
	bool tls, cluster;
	char user[128];     /* "": the default user */
	char password[512]; /* "": none */
	unsigned db;
	struct l3_endpoint seed[L3_SEEDS_MAX];
	unsigned seed_count;
};

/* -EINVAL with a message that does not repeat the password. */
int l3_url_parse(const char *url, struct l3_url *ret_url, struct err *e);
/* "host:port" or "[v6]:port"; without a port `port`. -EINVAL. */
int l3_endpoint_parse(const char *text, unsigned len, uint16_t port, struct l3_endpoint *ret_at);
