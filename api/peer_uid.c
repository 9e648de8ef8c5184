/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP has no SO_PEERCRED, but within a machine the other end is a socket of the same table
 * (proc_net_tcp(5)): the one whose local address is our remote one and the other way round. Only an
 * established connection of a socket that somebody holds counts: one that is being closed, or was
 * left by its process, is listed as of uid 0.
 */
#include "peer_uid.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define STATE_ESTABLISHED 1
#define ADDRESS_MAX       48

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* it was only read */
}

/* As the tables have it: each word of the address as the machine's own number. */
static void write_v4(const struct sockaddr_storage *at, char out[ADDRESS_MAX])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)at;

	(void)snprintf(out, ADDRESS_MAX, "%08X:%04X", in->sin_addr.s_addr,
		ntohs(in->sin_port)); /* fits, as below */
}

/* An IPv4 address as that of a socket which could be of both (grpc's are). */
static void write_v6(const struct sockaddr_storage *at, char out[ADDRESS_MAX])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)at;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)at;
	uint32_t word[4] = {0, 0, htonl(0xffff), in->sin_addr.s_addr};
	in_port_t port = in->sin_port;

	if (at->ss_family == AF_INET6) {
		memcpy(word, &in6->sin6_addr, sizeof(word));
		port = in6->sin6_port;
	}
	(void)snprintf(out, ADDRESS_MAX, "%08X%08X%08X%08X:%04X", word[0], word[1], word[2],
		word[3], ntohs(port));
}

static bool find_in(const char *file, const char *local, const char *remote, uid_t *ret_uid)
{
	CLEANUP(close_file) FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) >= 0) {
		char at[ADDRESS_MAX], to[ADDRESS_MAX];
		unsigned long inode;
		unsigned state, uid;

		if (sscanf(line, "%*s %47s %47s %x %*s %*s %*s %u %*u %lu", at, to, &state, &uid,
			    &inode) != 5 ||
			state != STATE_ESTABLISHED || inode == 0)
			continue;
		if (strcmp(at, local) == 0 && strcmp(to, remote) == 0) {
			*ret_uid = uid;
			return true;
		}
	}
	return false;
}

bool peer_uid_find(int fd, uid_t *ret_uid)
{
	struct sockaddr_storage theirs = {0}, ours = {0};
	socklen_t theirs_len = sizeof(theirs), ours_len = sizeof(ours);
	char local[ADDRESS_MAX], remote[ADDRESS_MAX];

	if (getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) < 0 ||
		getsockname(fd, (struct sockaddr *)&ours, &ours_len) < 0 ||
		theirs.ss_family != ours.ss_family)
		return false;
	if (theirs.ss_family != AF_INET && theirs.ss_family != AF_INET6)
		return false;
	if (theirs.ss_family == AF_INET) {
		write_v4(&theirs, local);
		write_v4(&ours, remote);
		if (find_in("/proc/thread-self/net/tcp", local, remote, ret_uid))
			return true;
	}
	write_v6(&theirs, local);
	write_v6(&ours, remote);
	return find_in("/proc/thread-self/net/tcp6", local, remote, ret_uid);
}
