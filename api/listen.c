/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and probing of addresses. Pure but for listen_probe. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
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

const char *listen_format(const struct listen_address *address, char *out, unsigned cap)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (address->tcp.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address->tcp;

		(void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
		(void)snprintf(out, cap, "[%s]:%u", host, ntohs(in->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&address->tcp;

		(void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		(void)snprintf(out, cap, "%s:%u", host, ntohs(in->sin_port));
	}
	return out;
}

int listen_probe(const struct listen_address *address, const char *text, struct err *e)
{
	_cleanup_close_ int fd = socket(address->tcp.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	/* as grpc will bind: not hindered by connections of a predecessor that linger */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, (const struct sockaddr *)&address->tcp, address->tcp_len) < 0 ||
		listen(fd, 1) < 0) {
		int r = -errno;

		if (r == -EADDRINUSE)
			return err_set(
				e, r, "ADDRESS_IN_USE", "another process serves at %s", text);
		return err_wrap(e, r, "listen at %s", text);
	}
	return 0;
}
