/* SPDX-License-Identifier: Apache-2.0 */
/* acceptor.c, peers.c and listen_socket.c without grpc: who is at the other end of a descriptor,
 * numbers that are not reused at once, what is in the way at bind, sockets that outlive who made
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "acceptor.h"
#include "base/err.h"
#include "base/fd_store.h"
#include "tmpdir.h"

static void test_numbers(void **state)
{
	struct peers *p = peers_new();
	struct peer_cred cred = {.uid = 12345};
	int last = -1;

	(void)state;
	assert_non_null(p);
	assert_false(peers_find(p, 0, &cred));
	assert_false(peers_find(p, -1, &cred));
	for (unsigned i = 0; i < 50; i++) {
		int pair[2], fd;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		fd = peers_add(p, pair[0]);
		assert_true(fd > last); /* although the one before is free again */
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(fcntl(pair[0], F_GETFD), -1);
		assert_true(peers_find(p, fd, &cred));
		assert_int_equal(cred.uid, getuid());
		assert_int_equal(cred.pid, getpid());
		last = fd;
		(void)close(fd);
		(void)close(pair[1]);
	}
	p = peers_free(p);
}

static void test_not_a_socket(void **state)
{
	struct peers *p = peers_new();

	(void)state;
	assert_int_equal(peers_add(p, open("/dev/null", O_RDONLY | O_CLOEXEC)), -ENOTSOCK);
	p = peers_free(p);
}

static int listen_at(const char *path, struct acceptor **ret_acceptor, struct err *e)
{
	char text[400];
	uint16_t port;

	*e = (struct err){0};
	(void)snprintf(text, sizeof(text), "unix:%s", path);
	assert_int_equal(acceptor_new(ret_acceptor, NULL), 0);
	return acceptor_listen(*ret_acceptor, text, &port, e);
}

static void test_in_the_way(void **state)
{
	struct tmpdir dir;
	struct acceptor *first, *second;
	struct err e;
	struct stat st;
	char path[300], other[300];

	(void)state;
	tmpdir_init(&dir);
	tmpdir_path(&dir, "a/b/sock", path, sizeof(path));
	tmpdir_path(&dir, "a/b/file", other, sizeof(other));
	assert_int_equal(listen_at(path, &first, &e), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	assert_int_equal(listen_at(path, &second, &e), -EADDRINUSE);
	assert_non_null(strstr(e.message, path));
	second = acceptor_free(second);
	assert_int_equal(lstat(path, &st), 0);

	(void)close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(listen_at(other, &second, &e), -ENOTSOCK);
	second = acceptor_free(second);
	assert_int_equal(lstat(other, &st), 0);

	first = acceptor_free(first);
	assert_int_equal(lstat(path, &st), -1);
	tmpdir_fini(&dir);
}

static void test_leftover_is_replaced(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct tmpdir dir;
	struct acceptor *u;
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	tmpdir_init(&dir);
	tmpdir_path(&dir, "sock", address.sun_path, sizeof(address.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
	assert_int_equal(listen_at(address.sun_path, &u, &e), 0);
	u = acceptor_free(u);
	tmpdir_fini(&dir);
}

static void test_bad_paths(void **state)
{
	struct acceptor *u;
	struct err e;
	char path[200];

	(void)state;
	assert_int_equal(listen_at("relative", &u, &e), -EINVAL);
	u = acceptor_free(u);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[199] = '\0';
	assert_int_equal(listen_at(path, &u, &e), -EINVAL);
	u = acceptor_free(u);
}

static void test_tcp_peer(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct peers *p = peers_new();
	struct peer_cred cred = {.kind = PEER_CRED_REMOTE};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	fd = peers_add(p, accept(listener, NULL, NULL));
	assert_true(fd >= 0);
	assert_true(peers_find(p, fd, &cred));
	assert_int_equal(cred.kind, PEER_CRED_LOOPBACK);
	assert_int_equal(cred.uid, geteuid());
	(void)close(fd);
	(void)close(client);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(client); /* what is left of it is listed as of uid 0 */
	fd = peers_add(p, accept(listener, NULL, NULL));
	assert_true(peers_find(p, fd, &cred));
	assert_int_equal(cred.uid, PEER_UID_NONE);
	(void)close(fd);
	(void)close(listener);
	p = peers_free(p);
}

/* ---- over a restart ---- */

struct mem_store {
	struct fd_store store;
	char name[4][16];
	int fd[4]; /* 0: free */
};

static int find(struct mem_store *m, const char *name)
{
	for (int i = 0; i < 4; i++)
		if (m->fd[i] && strcmp(m->name[i], name) == 0)
			return i;
	return -1;
}

static int mem_drop(struct fd_store *s, const char *name)
{
	struct mem_store *m = (struct mem_store *)s;
	int i = find(m, name);

	if (i >= 0) {
		(void)close(m->fd[i]);
		m->fd[i] = 0;
	}
	return 0;
}

static int mem_put(struct fd_store *s, const char *name, int fd)
{
	struct mem_store *m = (struct mem_store *)s;
	int i = 0;

	(void)mem_drop(s, name);
	while (m->fd[i])
		assert_true(++i < 4);
	(void)snprintf(m->name[i], sizeof(m->name[i]), "%s", name);
	m->fd[i] = dup(fd);
	return 0;
}

static int mem_take(struct fd_store *s, const char *name, int *ret_fd)
{
	struct mem_store *m = (struct mem_store *)s;
	int i = find(m, name);

	if (i < 0)
		return -ENOENT;
	*ret_fd = fcntl(m->fd[i], F_DUPFD_CLOEXEC, 3);
	return 0;
}

static int connect_tcp(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void test_sockets_outlive_their_maker(void **state)
{
	struct mem_store m = {.store = {mem_put, mem_take, mem_drop}};
	struct acceptor *a;
	struct tmpdir dir;
	struct err e = {0};
	struct stat before, after;
	char path[300], text[400];
	uint16_t port, again, none;
	int client;

	(void)state;
	tmpdir_init(&dir);
	tmpdir_path(&dir, "sock", path, sizeof(path));
	(void)snprintf(text, sizeof(text), "unix:%s", path);
	assert_int_equal(acceptor_new(&a, &m.store), 0);
	assert_int_equal(acceptor_listen(a, text, &none, &e), 0);
	assert_int_equal(acceptor_listen(a, "127.0.0.1:0", &port, &e), 0);
	assert_int_equal(lstat(path, &before), 0);
	acceptor_stop(a, true);
	a = acceptor_free(a);

	client = connect_tcp(port); /* nobody is there: it waits */
	assert_int_equal(acceptor_new(&a, &m.store), 0);
	assert_int_equal(acceptor_listen(a, text, &none, &e), 0);
	assert_int_equal(acceptor_listen(a, "127.0.0.1:0", &again, &e), 0);
	assert_int_equal(again, port);
	assert_int_equal(lstat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino);
	(void)close(client);

	/* Another address in the same place: a new socket, the old one is forgotten. */
	acceptor_stop(a, true);
	a = acceptor_free(a);
	assert_int_equal(acceptor_new(&a, &m.store), 0);
	assert_int_equal(acceptor_listen(a, "127.0.0.1:0", &again, &e), 0);
	assert_int_not_equal(again, port);
	assert_int_equal(acceptor_start(a, NULL), 0);
	assert_true(find(&m, "grpc.0") >= 0);
	assert_int_equal(find(&m, "grpc.1"), -1);

	/* The orderly end: nothing is kept. */
	acceptor_stop(a, false);
	a = acceptor_free(a);
	assert_int_equal(find(&m, "grpc.0"), -1);
	tmpdir_fini(&dir);
}

static void test_a_socket_file_that_was_removed_is_made_again(void **state)
{
	struct mem_store m = {.store = {mem_put, mem_take, mem_drop}};
	struct acceptor *a;
	struct tmpdir dir;
	struct err e = {0};
	struct stat st;
	char path[300], text[400];
	uint16_t none;

	(void)state;
	tmpdir_init(&dir);
	tmpdir_path(&dir, "sock", path, sizeof(path));
	(void)snprintf(text, sizeof(text), "unix:%s", path);
	assert_int_equal(acceptor_new(&a, &m.store), 0);
	assert_int_equal(acceptor_listen(a, text, &none, &e), 0);
	acceptor_stop(a, true);
	a = acceptor_free(a);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(acceptor_new(&a, &m.store), 0);
	assert_int_equal(acceptor_listen(a, text, &none, &e), 0);
	assert_int_equal(lstat(path, &st), 0);
	a = acceptor_free(a);
	assert_int_equal(lstat(path, &st), -1);
	tmpdir_fini(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_not_a_socket),
		cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_leftover_is_replaced),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_tcp_peer),
		cmocka_unit_test(test_sockets_outlive_their_maker),
		cmocka_unit_test(test_a_socket_file_that_was_removed_is_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
