/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners and their one thread, which waits in poll() for a connection or for the stop event,
 * and never for anything else.
 *
 * A socket file outlives its process after a kill -9, so at bind a file that is in the way is asked
 * first: if nobody answers it is a leftover. Two daemons that start at the same moment are kept
 * apart by the lock on data_dir, not here.
 */
#include "uds.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
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

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"

#define LISTENERS_MAX 8
#define BACKLOG       128

struct uds_listener {
	int fd;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	dev_t dev; /* of the file we made, so that only ours is removed */
	ino_t ino;
};

struct uds {
	struct uds_peers *peers;
	struct uds_listener listeners[LISTENERS_MAX]; /* const once started */
	unsigned count;
	int stop_fd;
	grpc_server *server;
	grpc_server_credentials *credentials;
	pthread_t thread;
	bool running;
};

int uds_new(struct uds **ret_uds)
{
	struct uds *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->peers = uds_peers_new();
	u->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!u->peers || u->stop_fd < 0) {
		int r = u->peers ? -errno : -ENOMEM;

		u->peers = uds_peers_free(u->peers);
		free(u);
		return r;
	}
	*ret_uds = u;
	return 0;
}

struct uds_peers *uds_peers(struct uds *u)
{
	return u->peers;
}

/* Does somebody accept connections at the address? */
static int probe(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return -EADDRINUSE; /* EAGAIN: its backlog is full */
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
}

/* Make room for a bind: nothing there, or a dead socket, which goes. */
static int clear_way(const struct sockaddr_un *address, struct err *e)
{
	struct stat st;
	int r;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -ENOTSOCK, "NOT_A_SOCKET",
			"%s exists and is not a socket; remove it or listen elsewhere",
			address->sun_path);
	r = probe(address);
	if (r == -EADDRINUSE)
		return err_set(
			e, r, "ADDRESS_IN_USE", "another process serves at %s", address->sun_path);
	if (r < 0)
		return err_wrap(e, r, "ask the socket %s", address->sun_path);
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char *slash;

	(void)snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return io_mkdirs(dir, 0755);
}

static int bind_and_listen(struct uds_listener *l, const struct sockaddr_un *address)
{
	struct stat st;

	if (bind(l->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	/* Nobody can connect before listen(), so the mode is right for the first one. */
	if (chmod(l->path, 0666) < 0 || lstat(l->path, &st) < 0 || listen(l->fd, BACKLOG) < 0) {
		int r = -errno;

		(void)unlink(l->path); /* ours since bind() */
		return r;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int uds_listen(struct uds *u, const char *path, struct err *e)
{
	struct uds_listener *l = &u->listeners[u->count];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(address.sun_path))
		return err_set(e, -EINVAL, "BAD_ADDRESS",
			"unix:%s: must be an absolute path of at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
	if (u->count == LISTENERS_MAX)
		return err_set(
			e, -EINVAL, "BAD_ADDRESS", "more than %d Unix sockets", LISTENERS_MAX);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	(void)snprintf(l->path, sizeof(l->path), "%s", path);
	r = make_directory(path);
	if (r == 0)
		r = clear_way(&address, e);
	if (r < 0)
		return e && e->code ? r : err_wrap(e, r, "listen at unix:%s", path);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = l->fd < 0 ? -errno : bind_and_listen(l, &address);
	if (r < 0) {
		if (l->fd >= 0)
			(void)close(l->fd);
		return err_wrap(e, r, "listen at unix:%s", path);
	}
	u->count++;
	return 0;
}

static void accept_one(struct uds *u, const struct uds_listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_warn("uds_accept", LOG_S("path", l->path), LOG_E(-errno));
			/* out of descriptors: the connection stays in the backlog, do not spin on
			 * it */
			(void)poll(&(struct pollfd){.fd = u->stop_fd, .events = POLLIN}, 1, 100);
		}
		return;
	}
	fd = uds_peers_add(u->peers, fd);
	if (fd < 0) {
		log_warn("uds_refused", LOG_S("path", l->path), LOG_E(fd));
		return;
	}
	grpc_server_add_channel_from_fd(u->server, fd, u->credentials);
}

static void *accept_main(void *arg)
{
	struct uds *u = arg;
	struct pollfd fds[LISTENERS_MAX + 1];

	(void)pthread_setname_np(pthread_self(), "api-uds");
	for (unsigned i = 0; i < u->count; i++)
		fds[i] = (struct pollfd){.fd = u->listeners[i].fd, .events = POLLIN};
	fds[u->count] = (struct pollfd){.fd = u->stop_fd, .events = POLLIN};
	for (;;) {
		/* without a limit: the stop event always comes */
		int n = poll(fds, u->count + 1, -1);

		if (n < 0 && errno != EINTR)
			log_error("uds_poll", LOG_E(-errno));
		if (n <= 0)
			continue;
		if (fds[u->count].revents)
			return NULL;
		for (unsigned i = 0; i < u->count; i++)
			if (fds[i].revents)
				accept_one(u, &u->listeners[i]);
	}
}

int uds_start(struct uds *u, grpc_server *server)
{
	int r;

	if (!u->count)
		return 0;
	u->server = server;
	u->credentials = grpc_insecure_server_credentials_create();
	r = -pthread_create(&u->thread, NULL, accept_main, u);
	u->running = r == 0;
	return r;
}

/* Only the file that we made: another daemon may have replaced it. */
static void remove_file(const struct uds_listener *l)
{
	struct stat st;

	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path); /* a leftover is replaced at the next start */
}

void uds_stop(struct uds *u)
{
	if (u->running) {
		/* cannot fail: the counter is far from full */
		(void)eventfd_write(u->stop_fd, 1);
		(void)pthread_join(u->thread, NULL);
		u->running = false;
	}
	for (; u->count; u->count--) {
		remove_file(&u->listeners[u->count - 1]);
		(void)close(u->listeners[u->count - 1].fd);
	}
}

struct uds *uds_free(struct uds *u)
{
	if (!u)
		return NULL;
	uds_stop(u);
	if (u->credentials)
		grpc_server_credentials_release(u->credentials);
	(void)close(u->stop_fd);
	u->peers = uds_peers_free(u->peers);
	free(u);
	return NULL;
}
