/* SPDX-License-Identifier: Apache-2.0 */
/* base/io.h: whole reads and writes, and files that appear complete or not at all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/io.h"
#include "tmpdir.h"

struct place {
	struct tmpdir dir;
	int fd;
};

static int enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	tmpdir_init(&p->dir);
	p->fd = open(p->dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

static int leave(void **state)
{
	struct place *p = *state;

	(void)close(p->fd);
	tmpdir_fini(&p->dir);
	free(p);
	return 0;
}

static unsigned count_names(const struct place *p)
{
	DIR *dir = opendir(p->dir.path);
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n - 2;
}

static void positional_reads_and_writes(void **state)
{
	struct place *p = *state;
	int fd = openat(p->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char out[4] = "";

	assert_int_equal(io_pwrite_full(fd, "wxyz", 4, 10), 0);
	assert_int_equal(io_pread_full(fd, out, 4, 10), 0);
	assert_memory_equal(out, "wxyz", 4);
	assert_int_equal(io_pread_full(fd, out, 4, 11), -ENODATA);
	assert_int_equal(io_pread_full(-1, out, 4, 0), -EBADF);
	assert_int_equal(io_pwrite_full(-1, out, 4, 0), -EBADF);
	(void)close(fd);
}

static void *write_in_pieces(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 3; i++)
		(void)io_write_full(fd, "ab", 2);
	(void)close(fd);
	return NULL;
}

static void pipe_reads_are_put_together(void **state)
{
	int ends[2];
	pthread_t thread;
	char out[6];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_in_pieces, &ends[1]), 0);
	assert_int_equal(io_read_full(ends[0], out, 6), 0);
	assert_memory_equal(out, "ababab", 6);
	assert_int_equal(io_read_full(ends[0], out, 1), -ENODATA);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(ends[0]);
	assert_int_equal(io_read_full(-1, out, 1), -EBADF);
	assert_int_equal(io_write_full(-1, out, 1), -EBADF);
}

static void write_and_read_a_file(void **state)
{
	struct place *p = *state;
	char *data = NULL;
	struct stat st;
	size_t len = 0;

	assert_int_equal(io_write_file(p->fd, "f", "one\0two", 7, 0640, true), 0);
	assert_int_equal(io_read_file(p->fd, "f", 7, &data, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(data, "one\0two", 8); /* with a NUL after it */
	free(data);
	assert_int_equal(fstatat(p->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(io_write_file(p->fd, "f", "", 0, 0600, false), 0);
	assert_int_equal(io_read_file(p->fd, "f", 0, &data, &len), 0);
	assert_string_equal(data, "");
	free(data);
	assert_int_equal(count_names(p), 1);
}

static void write_below_a_directory_of_the_path(void **state)
{
	struct place *p = *state;
	char *data = NULL;
	size_t len;

	assert_int_equal(mkdirat(p->fd, "d", 0700), 0);
	assert_int_equal(io_write_file(p->fd, "d/f", "x", 1, 0600, true), 0);
	assert_int_equal(io_read_file(p->fd, "d/f", 10, &data, &len), 0);
	assert_string_equal(data, "x");
	free(data);
}

static void a_failed_write_leaves_nothing(void **state)
{
	struct place *p = *state;

	assert_int_equal(mkdirat(p->fd, "d", 0700), 0);
	assert_int_equal(io_write_file(p->fd, "d", "x", 1, 0600, false), -EISDIR);
	assert_int_equal(io_write_file(p->fd, "none/f", "x", 1, 0600, false), -ENOENT);
	assert_int_equal(count_names(p), 1);
	assert_int_equal(io_write_file(-1, "f", "x", 1, 0600, false), -EBADF);
}

/* A disk that is full after ten bytes. */
static void a_write_that_fails_halfway_leaves_the_old_file(void **state)
{
	struct place *p = *state;
	struct rlimit old, small;
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	char *data = NULL;
	size_t len;

	assert_int_equal(io_write_file(p->fd, "f", "old", 3, 0600, false), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 10, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int r = io_write_file(p->fd, "f", "much longer than that", 21, 0600, false);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, handler);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(count_names(p), 1);
	assert_int_equal(io_read_file(p->fd, "f", 10, &data, &len), 0);
	assert_string_equal(data, "old");
	free(data);
}

static void reading_stops_at_the_maximum(void **state)
{
	struct place *p = *state;
	char *data = NULL;
	size_t len;

	assert_int_equal(io_write_file(p->fd, "f", "12345", 5, 0600, false), 0);
	assert_int_equal(io_read_file(p->fd, "f", 4, &data, &len), -EFBIG);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/status", 10, &data, &len), -EFBIG);
	assert_null(data);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/smaps", 1 << 22, &data, &len), 0);
	assert_true(len > 0 && strlen(data) == len);
	free(data);
}

static void what_is_not_a_file_is_refused(void **state)
{
	struct place *p = *state;
	char *data = NULL;
	size_t len;

	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_int_equal(
		io_read_file(p->fd, "fifo", 10, &data, &len), -EINVAL); /* and does not hang */
	assert_int_equal(io_read_file(p->fd, ".", 10, &data, &len), -EISDIR);
	assert_int_equal(io_read_file(p->fd, "none", 10, &data, &len), -ENOENT);
	assert_null(data);
}

static void no_memory(void **state)
{
	struct place *p = *state;
	char *data = NULL;
	size_t len;

	alloc_fault_arm(0);
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/smaps", 1 << 22, &data, &len), -ENOMEM);
	assert_true(alloc_fault_disarm());
	alloc_fault_arm(1); /* while growing */
	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/smaps", 1 << 22, &data, &len), -ENOMEM);
	assert_true(alloc_fault_disarm());
	assert_null(data);
	assert_int_equal(io_fsync_dir(p->fd, "."), 0);
	assert_int_equal(io_fsync_dir(p->fd, "none"), -ENOENT);
}

static void random_bytes_differ(void **state)
{
	char a[32] = "", b[32] = "";

	(void)state;
	assert_int_equal(io_random(a, sizeof(a)), 0);
	assert_int_equal(io_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
}

#define in_place(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_place(positional_reads_and_writes),
		cmocka_unit_test(pipe_reads_are_put_together),
		in_place(write_and_read_a_file),
		in_place(write_below_a_directory_of_the_path),
		in_place(a_failed_write_leaves_nothing),
		in_place(a_write_that_fails_halfway_leaves_the_old_file),
		in_place(reading_stops_at_the_maximum),
		in_place(what_is_not_a_file_is_refused),
		in_place(no_memory),
		cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
