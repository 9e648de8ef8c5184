// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_conn.h. hiredis' own connections are not used: they have no TLS, no deadline over
 * a whole exchange, and no bound of what is read.
 */
#include "blob/blob_redis_conn.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "blob/blob_redis_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define READ_BYTES      (64u * 1024)
#define ELEMENTS_MAX    32768 /* CLUSTER SLOTS of a fragmented cluster is the largest answer */
#define LOGIN_BYTES_MAX 4096
#define PASSWORD_MAX    4096
/* An exchange that moves at least 32 MiB/s gets the time that its bytes take. */
#define NS_PER_BYTE 30

struct l3_conn {
	struct list node;
	int fd;
	struct l3_tls_stream *stream; /* NULL: plain */
	redisReader *reader;
	redisReplyObjectFunctions functions; /* hiredis' own, but for arrays */
	const redisReplyObjectFunctions *plain;
	size_t expected; /* bytes that may still come in */
	uint64_t moved;  /* bytes of this exchange, both ways */
	char buf[READ_BYTES];
};

/* A server may announce 2^31 elements, and hiredis would ask for memory for them at once. */
static void *bounded_array(const redisReadTask *task, int elements)
{
	const struct l3_conn *c = task->privdata;

	return elements <= ELEMENTS_MAX ? c->plain->createArray(task, elements) : NULL;
}

static int poll_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now_ns = clock_mono_ns(&clock_system);
		struct timespec wait;
		int n;

		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		wait = clock_timespec(deadline_ns - now_ns);
		n = ppoll(&p, 1, &wait, NULL);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int socket_error(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static int connect_to(
	const struct sockaddr *address, socklen_t len, uint64_t deadline_ns, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, r;

	if (fd < 0)
		return -errno;
	if (address->sa_family != AF_UNIX &&
		(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
			setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0))
		return -errno;
	if (connect(fd, address, len) < 0) {
		if (errno != EINPROGRESS)
			return errno == EAGAIN ? -ECONNREFUSED : -errno; /* AF_UNIX: queue full */
		r = poll_for(fd, POLLOUT, deadline_ns);
		if (r == 0)
			r = socket_error(fd);
		if (r < 0)
			return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int connect_local(const char *path, uint64_t deadline_ns, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	return connect_to((const struct sockaddr *)&address, sizeof(address), deadline_ns, ret_fd);
}

/* Each address may use half of what time is left, so that one that swallows packets does not hide
 * the others. */
static int connect_any(const struct addrinfo *addresses, uint64_t deadline_ns, int *ret_fd)
{
	int r = -EHOSTUNREACH;

	for (const struct addrinfo *a = addresses; a; a = a->ai_next) {
		uint64_t now_ns = clock_mono_ns(&clock_system);
		uint64_t until_ns = deadline_ns;

		if (a->ai_next && now_ns < deadline_ns)
			until_ns = now_ns + (deadline_ns - now_ns) / 2;
		r = connect_to(a->ai_addr, a->ai_addrlen, until_ns, ret_fd);
		if (r == 0)
			break;
	}
	return r;
}

static int handshake(struct l3_conn *c, uint64_t deadline_ns)
{
	short events = 0;
	int r;

	while ((r = l3_tls_handshake(c->stream, &events)) == -EAGAIN) {
		r = poll_for(c->fd, events, deadline_ns);
		if (r < 0)
			break;
	}
	return r;
}

static uint64_t until(const struct l3_conn *c, uint64_t deadline_ns)
{
	return deadline_ns == NS_NEVER ? NS_NEVER : deadline_ns + c->moved * NS_PER_BYTE;
}

int l3_conn_send(struct l3_conn *c, const void *data, size_t len, uint64_t deadline_ns)
{
	const char *p = data;

	while (len) {
		short events = POLLOUT;
		ssize_t n = c->stream ? l3_tls_write(c->stream, p, len, &events)
				      : send(c->fd, p, len, MSG_NOSIGNAL);
		int r = n >= 0 ? 0 : c->stream ? (int)n : -errno;

		if (r == -EAGAIN || r == -EINTR) {
			r = poll_for(c->fd, events, until(c, deadline_ns));
			n = 0;
		}
		if (r < 0)
			return r;
		c->moved += (uint64_t)n;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

void l3_conn_expect(struct l3_conn *c, size_t bytes_max)
{
	c->expected = bytes_max;
	c->moved = 0;
}

static int feed(struct l3_conn *c, uint64_t deadline_ns)
{
	for (;;) {
		short events = POLLIN;
		ssize_t n = c->stream ? l3_tls_read(c->stream, c->buf, sizeof(c->buf), &events)
				      : recv(c->fd, c->buf, sizeof(c->buf), 0);
		int r = n > 0 ? 0 : n == 0 ? -ECONNRESET : c->stream ? (int)n : -errno;

		if (r == 0) {
			if ((size_t)n > c->expected)
				return -EBADMSG;
			c->expected -= (size_t)n;
			c->moved += (uint64_t)n;
			return redisReaderFeed(c->reader, c->buf, (size_t)n) == REDIS_OK ? 0
											 : -ENOMEM;
		}
		if (r == -EAGAIN || r == -EINTR)
			r = poll_for(c->fd, events, until(c, deadline_ns));
		if (r < 0)
			return r;
	}
}

int l3_conn_receive(struct l3_conn *c, struct redisReply **ret_reply, uint64_t deadline_ns)
{
	for (;;) {
		void *reply = NULL;
		int r;

		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
			return -EBADMSG;
		if (reply) {
			*ret_reply = reply;
			return 0;
		}
		r = feed(c, deadline_ns);
		if (r < 0)
			return r;
	}
}

bool l3_conn_is_quiet(const struct l3_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* One command of the login; anything but +OK ends it. */
static int say(struct l3_conn *c, int argc, const char **argv, uint64_t deadline_ns)
{
	redisReply *reply = NULL;
	char *command = NULL;
	int len = redisFormatCommandArgv(&command, argc, argv, NULL), r;

	if (len < 0)
		return -ENOMEM;
	l3_conn_expect(c, LOGIN_BYTES_MAX);
	r = l3_conn_send(c, command, (size_t)len, deadline_ns);
	redisFreeCommand(command);
	if (r == 0)
		r = l3_conn_receive(c, &reply, deadline_ns);
	if (r < 0)
		return r;
	if (reply->type == REDIS_REPLY_ERROR)
		r = strncmp(reply->str, "LOADING", 7) == 0 ? -EHOSTUNREACH : -EACCES;
	else if (reply->type != REDIS_REPLY_STATUS)
		r = -EBADMSG;
	freeReplyObject(reply);
	return r;
}

static int read_password(const char *path, char *ret_password, size_t cap)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, cap - 1, &text, &len);

	if (r < 0)
		return -EACCES;
	len = strcspn(text, "\r\n");
	memcpy(ret_password, text, len);
	ret_password[len] = '\0';
	explicit_bzero(text, len);
	return 0;
}

static int log_in(struct l3_conn *c, const struct l3_login *login, uint64_t deadline_ns)
{
	const char *select[2] = {"SELECT"};
	const char *auth[3] = {"AUTH"};
	char password[PASSWORD_MAX], db[16];
	int argc = 1, r = 0;

	(void)snprintf(password, sizeof(password), "%s", login->password);
	if (login->password_file)
		r = read_password(login->password_file, password, sizeof(password));
	if (r == 0 && (password[0] || login->user[0])) {
		if (login->user[0])
			auth[argc++] = login->user;
		auth[argc++] = password;
		r = say(c, argc, auth, deadline_ns);
	}
	explicit_bzero(password, sizeof(password));
	if (r == 0 && login->db) {
		(void)snprintf(db, sizeof(db), "%u", login->db);
		select[1] = db;
		r = say(c, 2, select, deadline_ns);
	}
	return r;
}

static int set_up(struct l3_conn *c, const struct l3_endpoint *at, const struct addrinfo *addresses,
	const struct l3_login *login, uint64_t deadline_ns)
{
	int r = addresses ? connect_any(addresses, deadline_ns, &c->fd)
			  : connect_local(at->host, deadline_ns, &c->fd);

	if (r == 0 && login->tls) {
		r = l3_tls_stream_new(&c->stream, login->tls, c->fd, at->host);
		if (r == 0)
			r = handshake(c, deadline_ns);
	}
	return r == 0 ? log_in(c, login, deadline_ns) : r;
}

int l3_conn_open(struct l3_conn **ret_conn, const struct l3_endpoint *at,
	const struct addrinfo *addresses, const struct l3_login *login, uint64_t deadline_ns)
{
	struct l3_conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	list_init(&c->node);
	c->fd = -1;
	c->reader = redisReaderCreate();
	if (!c->reader) {
		free(c);
		return -ENOMEM;
	}
	c->plain = c->reader->fn;
	c->functions = *c->plain;
	c->functions.createArray = bounded_array;
	c->reader->fn = &c->functions;
	c->reader->privdata = c;
	r = set_up(c, at, addresses, login, deadline_ns);
	if (r < 0) {
		l3_conn_close(c);
		return r;
	}
	*ret_conn = c;
	return 0;
}

struct l3_conn *l3_conn_close(struct l3_conn *c)
{
	if (!c)
		return NULL;
	l3_tls_stream_free(c->stream);
	if (c->fd >= 0)
		(void)close(c->fd); /* nothing is left to be said */
	redisReaderFree(c->reader);
	free(c);
	return NULL;
}

struct list *l3_conn_node(struct l3_conn *c)
{
	return &c->node;
}

struct l3_conn *l3_conn_of(struct list *node)
{
	return list_entry(node, struct l3_conn, node);
}
