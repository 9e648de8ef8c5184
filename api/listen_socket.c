/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket outlives the process that made it if the store has a copy: connections wait in
 * its backlog for the successor, nobody is refused.
 *
 * A socket file outlives its process after a kill -9, so at bind a file that is in the way is asked
 * first: if nobody answers it is a leftover. Two daemons that start at the same moment are kept
 * apart by the lock on data_dir, not here.
 */
#include "listen_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fd_store.h"
#include "base/io.h"
#include "base/log.h"
#include "listen.h"

/* So many may wait while a successor starts; the kernel's limit is as high. */
#define BACKLOG 4096

/* ---- a predecessor's ---- */

static bool same_port(in_port_t wanted, in_port_t bound)
{
	return wanted == 0 || wanted == bound;
}

static bool same_tcp(const struct listen_address *a, const struct sockaddr_storage *bound)
{
	if (a->tcp.ss_family != bound->ss_family)
		return false;
	if (bound->ss_family == AF_INET) {
		const struct sockaddr_in *x = (const struct sockaddr_in *)&a->tcp,
					 *y = (const struct sockaddr_in *)bound;

		return x->sin_addr.s_addr == y->sin_addr.s_addr &&
		       same_port(x->sin_port, y->sin_port);
	}
	if (bound->ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)&a->tcp,
					  *y = (const struct sockaddr_in6 *)bound;

		return IN6_ARE_ADDR_EQUAL(&x->sin6_addr, &y->sin6_addr) &&
		       same_port(x->sin6_port, y->sin6_port);
	}
	return false;
}

/* The name in the file system must still be there; whoever took it away wanted it so. */
static bool same_unix(const char *path, const struct sockaddr_storage *bound)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)bound;
	struct stat st;

	return bound->ss_family == AF_UNIX && strcmp(un->sun_path, path) == 0 &&
	       lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool is_at(int fd, const struct listen_address *a)
{
	struct sockaddr_storage bound = {0};
	socklen_t len = sizeof(bound) - 1; /* a path is terminated then */
	int listening = 0;
	socklen_t size = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening ||
		getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
		return false;
	return a->unix_path ? same_unix(a->unix_path, &bound) : same_tcp(a, &bound);
}

static bool take_back(
	struct fd_store *store, const char *name, const struct listen_address *a, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	if (!store || store->take(store, name, &fd) < 0 || !is_at(fd, a))
		return false;
	*ret_fd = TAKE_FD(fd);
	return true;
}

/* ---- a new one ---- */

static int open_tcp(const struct listen_address *a, const char *text, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd =
		socket(a->tcp.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, r;

	/* not hindered by connections of a predecessor that linger */
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
		bind(fd, (const struct sockaddr *)&a->tcp, a->tcp_len) == 0 &&
		listen(fd, BACKLOG) == 0) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	r = -errno;
	if (r == -EADDRINUSE)
		return err_set(e, r, "ADDRESS_IN_USE", "another process serves at %s", text);
	return err_wrap(e, r, "listen at %s", text);
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

static int bind_and_listen(int fd, const struct sockaddr_un *address)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	/* Nobody can connect before listen(), so the mode is right for the first one. */
	if (chmod(address->sun_path, 0666) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;

		(void)unlink(address->sun_path); /* ours since bind() */
		return r;
	}
	return 0;
}

static int open_unix(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(address.sun_path))
		return err_set(e, -EINVAL, "BAD_ADDRESS",
			"unix:%s: must be an absolute path of at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	r = make_directory(path);
	if (r == 0)
		r = clear_way(&address, e);
	if (r < 0)
		return e && e->code ? r : err_wrap(e, r, "listen at unix:%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 ? -errno : bind_and_listen(fd, &address);
	if (r < 0)
		return err_wrap(e, r, "listen at unix:%s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int listen_open(const struct listen_address *address, const char *text, struct fd_store *store,
	const char *name, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (take_back(store, name, address, ret_fd))
		return 0;
	r = address->unix_path ? open_unix(address->unix_path, &fd, e)
			       : open_tcp(address, text, &fd, e);
	if (r < 0)
		return r;
	/* Without a copy there, callers of a restarting daemon are refused: worse, but served. */
	if (store && store->put(store, name, fd) < 0)
		log_warn("socket_not_kept", LOG_S("address", text));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
