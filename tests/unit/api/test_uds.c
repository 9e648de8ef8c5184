/* SPDX-License-Identifier: Apache-2.0 */
/* uds.c and uds_peers.c without grpc: credentials by descriptor, numbers that are not reused at
 * once, what is in the way at bind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "tmpdir.h"
#include "uds.h"

static void test_numbers(void **state)
{
	struct uds_peers *p = uds_peers_new();
	struct uds_cred cred = {.uid = 12345};
	int last = -1;

	(void)state;
	assert_non_null(p);
	assert_false(uds_peers_find(p, 0, &cred));
	assert_false(uds_peers_find(p, -1, &cred));
	for (unsigned i = 0; i < 50; i++) {
		int pair[2], fd;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		fd = uds_peers_add(p, pair[0]);
		assert_true(fd > last); /* although the one before is free again */
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(fcntl(pair[0], F_GETFD), -1);
		assert_true(uds_peers_find(p, fd, &cred));
		assert_int_equal(cred.uid, getuid());
		assert_int_equal(cred.pid, getpid());
		last = fd;
		(void)close(fd);
		(void)close(pair[1]);
	}
	p = uds_peers_free(p);
}

static void test_not_a_socket(void **state)
{
	struct uds_peers *p = uds_peers_new();

	(void)state;
	assert_int_equal(uds_peers_add(p, open("/dev/null", O_RDONLY | O_CLOEXEC)), -ENOTSOCK);
	p = uds_peers_free(p);
}

static int listen_at(const char *path, struct uds **ret_uds, struct err *e)
{
	*e = (struct err){0};
	assert_int_equal(uds_new(ret_uds), 0);
	return uds_listen(*ret_uds, path, e);
}

static void test_in_the_way(void **state)
{
	struct tmpdir dir;
	struct uds *first, *second;
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
	second = uds_free(second);
	assert_int_equal(lstat(path, &st), 0);

	(void)close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(listen_at(other, &second, &e), -ENOTSOCK);
	second = uds_free(second);
	assert_int_equal(lstat(other, &st), 0);

	first = uds_free(first);
	assert_int_equal(lstat(path, &st), -1);
	tmpdir_fini(&dir);
}

static void test_leftover_is_replaced(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct tmpdir dir;
	struct uds *u;
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	tmpdir_init(&dir);
	tmpdir_path(&dir, "sock", address.sun_path, sizeof(address.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
	assert_int_equal(listen_at(address.sun_path, &u, &e), 0);
	u = uds_free(u);
	tmpdir_fini(&dir);
}

static void test_bad_paths(void **state)
{
	struct uds *u;
	struct err e;
	char path[200];

	(void)state;
	assert_int_equal(listen_at("relative", &u, &e), -EINVAL);
	u = uds_free(u);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[199] = '\0';
	assert_int_equal(listen_at(path, &u, &e), -EINVAL);
	u = uds_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_not_a_socket),
		cmocka_unit_test(test_in_the_way),
		cmocka_unit_test(test_leftover_is_replaced),
		cmocka_unit_test(test_bad_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
