/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners and their one thread, which waits in poll() for a connection or for the stop event,
 * and never for anything else. In the store they are called "grpc.<index>".
 */
#include "acceptor.h"

#include <errno.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd_store.h"
#include "base/log.h"
#include "listen.h"
#include "listen_socket.h"

#define LISTENERS_MAX 16

struct listener {
	int fd;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* "": TCP */
	dev_t dev; /* of the file, so that only ours is removed */
	ino_t ino;
};

struct acceptor {
	struct peers *peers;
	struct fd_store *store;
	struct listener listeners[LISTENERS_MAX]; /* const once started */
	unsigned count;
	int stop_fd;
	grpc_server *server;
	grpc_server_credentials *credentials;
	pthread_t thread;
	bool running;
};

int acceptor_new(struct acceptor **ret_acceptor, struct fd_store *store)
{
	struct acceptor *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->store = store;
	a->peers = peers_new();
	a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!a->peers || a->stop_fd < 0) {
		int r = a->peers ? -errno : -ENOMEM;

		a->peers = peers_free(a->peers);
		free(a);
		return r;
	}
	*ret_acceptor = a;
	return 0;
}

struct peers *acceptor_peers(struct acceptor *a)
{
	return a->peers;
}

static const char *store_name(unsigned index, char out[16])
{
	(void)snprintf(out, 16, "grpc.%u", index); /* fits */
	return out;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage at = {0};
	socklen_t len = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		return 0;
	if (at.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&at)->sin_port);
	return at.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&at)->sin6_port) : 0;
}

static void note_file(struct listener *l, const char *path)
{
	struct stat st;

	(void)snprintf(l->path, sizeof(l->path), "%s", path); /* fits: it was bound */
	if (lstat(path, &st) < 0)
		return; /* somebody removed it: nothing for us to remove later */
	l->dev = st.st_dev;
	l->ino = st.st_ino;
}

int acceptor_listen(struct acceptor *a, const char *text, uint16_t *ret_port, struct err *e)
{
	struct listener *l = &a->listeners[a->count];
	struct listen_address address;
	char name[16];
	int r = listen_parse(text, &address, e);

	if (r < 0)
		return r;
	if (a->count == LISTENERS_MAX)
		return err_set(e, -EINVAL, "BAD_ADDRESS", "more than %d addresses", LISTENERS_MAX);
	if (!address.unix_path && !address.loopback)
		return err_set(e, -EINVAL, "BAD_ADDRESS",
			"%s is not a loopback address: it needs grpc.tls, which this version does "
			"not have",
			text);
	r = listen_open(&address, text, a->store, store_name(a->count, name), &l->fd, e);
	if (r < 0)
		return r;
	a->count++;
	if (address.unix_path)
		note_file(l, address.unix_path);
	*ret_port = bound_port(l->fd);
	return 0;
}

static void accept_one(struct acceptor *a, const struct listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_warn("accept_failed", LOG_S("path", l->path), LOG_E(-errno));
			/* out of descriptors: the connection stays in the backlog, do not spin on
			 * it */
			(void)poll(&(struct pollfd){.fd = a->stop_fd, .events = POLLIN}, 1, 100);
		}
		return;
	}
	fd = peers_add(a->peers, fd);
	if (fd < 0) {
		log_warn("connection_refused", LOG_S("path", l->path), LOG_E(fd));
		return;
	}
	grpc_server_add_channel_from_fd(a->server, fd, a->credentials);
}

static void *accept_main(void *arg)
{
	struct acceptor *a = arg;
	struct pollfd fds[LISTENERS_MAX + 1];

	(void)pthread_setname_np(pthread_self(), "api-accept");
	for (unsigned i = 0; i < a->count; i++)
		fds[i] = (struct pollfd){.fd = a->listeners[i].fd, .events = POLLIN};
	fds[a->count] = (struct pollfd){.fd = a->stop_fd, .events = POLLIN};
	for (;;) {
		/* without a limit: the stop event always comes */
		int n = poll(fds, a->count + 1, -1);

		if (n < 0 && errno != EINTR)
			log_error("accept_poll", LOG_E(-errno));
		if (n <= 0)
			continue;
		if (fds[a->count].revents)
			return NULL;
		for (unsigned i = 0; i < a->count; i++)
			if (fds[i].revents)
				accept_one(a, &a->listeners[i]);
	}
}

/* What a predecessor listened at and we do not. */
static void forget_others(struct acceptor *a)
{
	char name[16];

	for (unsigned i = a->count; a->store && i < LISTENERS_MAX; i++)
		(void)a->store->drop(a->store, store_name(i, name)); /* who asks there waits */
}

int acceptor_start(struct acceptor *a, grpc_server *server)
{
	int r;

	forget_others(a);
	if (!a->count)
		return 0;
	a->server = server;
	a->credentials = grpc_insecure_server_credentials_create();
	r = -pthread_create(&a->thread, NULL, accept_main, a);
	a->running = r == 0;
	return r;
}

/* Only the file that we made: another daemon may have replaced it. */
static void remove_file(const struct listener *l)
{
	struct stat st;

	if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path); /* a leftover is replaced at the next start */
}

void acceptor_stop(struct acceptor *a, bool keep)
{
	char name[16];

	if (a->running) {
		/* cannot fail: the counter is far from full */
		(void)eventfd_write(a->stop_fd, 1);
		(void)pthread_join(a->thread, NULL);
		a->running = false;
	}
	while (a->count) {
		const struct listener *l = &a->listeners[--a->count];

		if (!keep) {
			remove_file(l);
			if (a->store)
				(void)a->store->drop(
					a->store, store_name(a->count, name)); /* we end anyway */
		}
		(void)close(l->fd);
	}
}

struct acceptor *acceptor_free(struct acceptor *a)
{
	if (!a)
		return NULL;
	acceptor_stop(a, false);
	if (a->credentials)
		grpc_server_credentials_release(a->credentials);
	(void)close(a->stop_fd);
	a->peers = peers_free(a->peers);
	free(a);
	return NULL;
}
