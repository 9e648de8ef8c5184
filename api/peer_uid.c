/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP has no SO_PEERCRED, but within a machine the other end is a socket of the same kernel, which
 * is asked for it by its addresses (sock_diag(7)): the one whose local address is our remote one
 * and the other way round. Only an established connection of a socket that somebody holds counts:
 * one that is being closed, or was left by its process, is shown as of uid 0. One exchange, however
 * many connections there are. A kernel without inet_diag finds nobody.
 */
#include "peer_uid.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"

struct question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

static void put_address(const struct sockaddr_storage *at, __be16 *ret_port, __be32 ret_address[4])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)at;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)at;

	if (at->ss_family == AF_INET) {
		*ret_port = in->sin_port;
		memcpy(ret_address, &in->sin_addr, sizeof(in->sin_addr));
	} else {
		*ret_port = in6->sin6_port;
		memcpy(ret_address, &in6->sin6_addr, sizeof(in6->sin6_addr));
	}
}

static bool addresses(int fd, struct inet_diag_req_v2 *request)
{
	struct sockaddr_storage theirs = {0}, ours = {0};
	socklen_t theirs_len = sizeof(theirs), ours_len = sizeof(ours);

	if (getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) < 0 ||
		getsockname(fd, (struct sockaddr *)&ours, &ours_len) < 0 ||
		theirs.ss_family != ours.ss_family ||
		(theirs.ss_family != AF_INET && theirs.ss_family != AF_INET6))
		return false;
	request->sdiag_family = (uint8_t)theirs.ss_family;
	put_address(&theirs, &request->id.idiag_sport, request->id.idiag_src);
	put_address(&ours, &request->id.idiag_dport, request->id.idiag_dst);
	return true;
}

/* The kernel answers within send(). */
static bool ask(int fd, const struct question *q, struct inet_diag_msg *ret_answer)
{
	uint8_t buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *header = (const struct nlmsghdr *)buf;
	ssize_t len;

	if (send(fd, q, sizeof(*q), 0) != (ssize_t)sizeof(*q))
		return false;
	len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (len < (ssize_t)NLMSG_LENGTH(sizeof(*ret_answer)) || header->nlmsg_len > (size_t)len ||
		header->nlmsg_len < NLMSG_LENGTH(sizeof(*ret_answer)) ||
		header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return false;
	memcpy(ret_answer, NLMSG_DATA(header), sizeof(*ret_answer));
	return true;
}

bool peer_uid_find(int fd, uid_t *ret_uid)
{
	_cleanup_close_ int nl = -1;
	struct inet_diag_msg answer;
	struct question q = {
		.header = {.nlmsg_len = sizeof(q),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST},
		.request = {.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = 1u << TCP_ESTABLISHED,
			.id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
	};

	if (!addresses(fd, &q.request))
		return false;
	nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (nl < 0 || !ask(nl, &q, &answer))
		return false;
	if (answer.idiag_state != TCP_ESTABLISHED || answer.idiag_inode == 0)
		return false;
	*ret_uid = answer.idiag_uid;
	return true;
}
