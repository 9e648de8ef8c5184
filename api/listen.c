/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of addresses. Pure. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static int bad(struct err *e, const char *text)
{
	return err_set(e, -EINVAL, "BAD_ADDRESS",
		"\"%s\" is not an address to listen at: use unix:/path, 127.0.0.1:port or "
		"[::1]:port",
		text);
}

static bool parse_port(const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long port;

	if (text[0] < '0' || text[0] > '9')
		return false;
	port = strtoul(text, &end, 10);
	if (*end || port > UINT16_MAX)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

static bool parse_v4(const char *host, uint16_t port, struct listen_address *a)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&a->tcp;

	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
		    &in->sin_addr) != 1)
		return false;
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	a->tcp_len = sizeof(*in);
	a->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return true;
}

static bool parse_v6(const char *host, uint16_t port, struct listen_address *a)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a->tcp;

	if (inet_pton(AF_INET6, host, &in->sin6_addr) != 1)
		return false;
	in->sin6_family = AF_INET6;
	in->sin6_port = htons(port);
	a->tcp_len = sizeof(*in);
	a->loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
	return true;
}

int listen_parse(const char *text, struct listen_address *ret_address, struct err *e)
{
	struct listen_address a = {0};
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t len;
	uint16_t port;
	bool ok;

	if (strncmp(text, "unix:", 5) == 0) {
		a.unix_path = text + 5;
		*ret_address = a;
		return 0;
	}
	len = colon ? (size_t)(colon - text) : 0;
	if (!len || len >= sizeof(host) || !parse_port(colon + 1, &port))
		return bad(e, text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		ok = parse_v6(host + 1, port, &a);
	} else {
		ok = parse_v4(host, port, &a);
	}
	if (!ok)
		return bad(e, text);
	*ret_address = a;
	return 0;
}
