/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end, by descriptor number. grpc owns a connection's descriptor and closes it
 * when it likes, without telling; all it says about a call is the number. So a number must not be
 * given to another peer while a call of the old one may still be looked up: every accepted socket
 * is moved to the next higher free number of a range, round and round. Before a number comes again,
 * all others have been used, and its entry is replaced before grpc sees the new connection.
 *
 * Any thread; the range also bounds the number of connections.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acceptor.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "peer_uid.h"

#define CONNECTIONS_MAX 4096

struct peers {
	struct lock mu;
	int base, count; /* const after init: the range of numbers */
	int next;        /* guarded by mu: offset to try first */
	struct {
		bool known;
		struct peer_cred cred;
	} entries[]; /* guarded by mu */
};

/* The upper half of what this process may open, at most CONNECTIONS_MAX numbers. */
struct peers *peers_new(void)
{
	struct rlimit limit;
	struct peers *p;
	int top = 1024, count;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		top = limit.rlim_cur > 1 << 20 ? 1 << 20 : (int)limit.rlim_cur;
	count = top / 2 < CONNECTIONS_MAX ? top / 2 : CONNECTIONS_MAX;
	if (count < 1)
		return NULL;
	p = calloc(1, sizeof(*p) + (size_t)count * sizeof(p->entries[0]));
	if (!p)
		return NULL;
	lock_init(&p->mu, LOCK_RANK_LEAF);
	p->count = count;
	p->base = top - count;
	return p;
}

struct peers *peers_free(struct peers *p)
{
	if (!p)
		return NULL;
	lock_fini(&p->mu);
	free(p);
	return NULL;
}

/* The lowest free number at or above base + from, inside the range. */
static int duplicate(const struct peers *p, int fd, int from)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, p->base + from);

	if (copy < 0)
		return -errno;
	if (copy < p->base + p->count)
		return copy;
	(void)close(copy);
	return -EMFILE;
}

static int unix_cred(int fd, struct peer_cred *ret_cred)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_cred = (struct peer_cred){
		.kind = PEER_CRED_UNIX, .uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *from)
{
	if (from->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr) >> 24 == 127;
	return from->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)from)->sin6_addr);
}

/* grpc sets for its own connections what is set here: small answers leave at once. */
static int tcp_cred(int fd, const struct sockaddr_storage *from, struct peer_cred *ret_cred)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	*ret_cred = (struct peer_cred){
		.kind = is_loopback(from) ? PEER_CRED_LOOPBACK : PEER_CRED_REMOTE,
		.uid = PEER_UID_NONE};
	if (ret_cred->kind == PEER_CRED_LOOPBACK)
		(void)peer_uid_find(fd, &ret_cred->uid); /* nobody then */
	return 0;
}

static int peer_of(int fd, struct peer_cred *ret_cred)
{
	struct sockaddr_storage from = {0};
	socklen_t len = sizeof(from);

	if (getpeername(fd, (struct sockaddr *)&from, &len) < 0)
		return -errno;
	return from.ss_family == AF_UNIX ? unix_cred(fd, ret_cred) : tcp_cred(fd, &from, ret_cred);
}

int peers_add(struct peers *p, int fd)
{
	_cleanup_close_ int accepted = fd;
	struct peer_cred cred;
	int copy = peer_of(accepted, &cred);

	if (copy < 0)
		return copy;
	LOCK_GUARD(&p->mu);
	copy = duplicate(p, accepted, p->next);
	if (copy == -EMFILE && p->next)
		copy = duplicate(p, accepted, 0);
	if (copy < 0)
		return copy;
	p->entries[copy - p->base].known = true;
	p->entries[copy - p->base].cred = cred;
	p->next = (copy - p->base + 1) % p->count;
	return copy;
}

void peers_hang_up(struct peers *p)
{
	LOCK_GUARD(&p->mu);
	for (int i = 0; i < p->count; i++)
		if (p->entries[i].known)
			/* grpc may have closed it: then the number is nobody's, for none is given
			 * out any more */
			(void)shutdown(p->base + i, SHUT_RDWR);
}

bool peers_find(struct peers *p, int fd, struct peer_cred *ret_cred)
{
	if (fd < p->base || fd >= p->base + p->count)
		return false;
	LOCK_GUARD(&p->mu);
	if (!p->entries[fd - p->base].known)
		return false;
	*ret_cred = p->entries[fd - p->base].cred;
	return true;
}
