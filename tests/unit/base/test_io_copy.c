/* SPDX-License-Identifier: Apache-2.0 */
/* base/io.h, io_copy_range: the same bytes whichever way they went. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/io.h"
#include "tmpdir.h"

#define BYTES (700u * 1024)

static struct tmpdir dir;
static int in = -1;
static unsigned char *content, *back;

static int make_source(void **state)
{
	(void)state;
	tmpdir_init(&dir);
	in = open(dir.path, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	content = malloc(BYTES);
	back = malloc(BYTES);
	assert_true(in >= 0 && content && back);
	for (unsigned i = 0; i < BYTES; i++)
		content[i] = (unsigned char)(i * 2654435761u >> 13);
	return io_pwrite_full(in, content, BYTES, 0);
}

static int remove_source(void **state)
{
	(void)state;
	(void)close(in);
	free(content);
	free(back);
	tmpdir_fini(&dir);
	return 0;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

/* All of it, a middle part, more than there is, nothing, to the empty file out. */
static void check_copies(int out)
{
	uint64_t n = 0;

	assert_int_equal(io_copy_range(in, 0, out, 0, UINT64_MAX, &n), 0);
	assert_int_equal(n, BYTES);
	assert_int_equal(size_of(out), BYTES);
	assert_int_equal(io_pread_full(out, back, BYTES, 0), 0);
	assert_memory_equal(back, content, BYTES);

	assert_int_equal(ftruncate(out, 0), 0);
	assert_int_equal(io_copy_range(in, 1001, out, 3, 5000, &n), 0);
	assert_int_equal(n, 5000);
	assert_int_equal(size_of(out), 5003);
	assert_int_equal(io_pread_full(out, back, 5000, 3), 0);
	assert_memory_equal(back, content + 1001, 5000);

	assert_int_equal(ftruncate(out, 0), 0);
	assert_int_equal(io_copy_range(in, BYTES - 10, out, 0, 1000, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(size_of(out), 10);

	assert_int_equal(io_copy_range(in, BYTES + 10, out, 0, UINT64_MAX, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(io_copy_range(in, 0, out, 0, 0, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(size_of(out), 10);
}

static void within_one_filesystem(void **state)
{
	int out = open(dir.path, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	(void)state;
	check_copies(out);
	(void)close(out);
}

static void across_filesystems(void **state)
{
	int out = memfd_create("out", MFD_CLOEXEC);

	(void)state;
	check_copies(out);
	(void)close(out);
}

static void file_that_claims_to_be_empty(void **state)
{
	int out = open(dir.path, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int source = open("/proc/version", O_RDONLY | O_CLOEXEC);
	uint64_t n = 0;

	(void)state;
	assert_int_equal(io_copy_range(source, 0, out, 0, UINT64_MAX, &n), 0);
	assert_true(n > 10);
	assert_int_equal(size_of(out), n);
	(void)close(source);
	(void)close(out);
}

static void failures_are_told(void **state)
{
	int out = memfd_create("out", MFD_CLOEXEC);
	int read_only = open("/proc/version", O_RDONLY | O_CLOEXEC);
	uint64_t n = 77;

	(void)state;
	assert_int_equal(io_copy_range(-1, 0, out, 0, UINT64_MAX, &n), -EBADF);
	assert_int_equal(io_copy_range(in, 0, read_only, 0, UINT64_MAX, &n), -EBADF);
	alloc_fault_arm(0);
	assert_int_equal(io_copy_range(read_only, 0, out, 0, UINT64_MAX, &n), -ENOMEM);
	assert_true(alloc_fault_disarm());
	assert_int_equal(n, 77);
	(void)close(read_only);
	(void)close(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_one_filesystem),
		cmocka_unit_test(across_filesystems),
		cmocka_unit_test(file_that_claims_to_be_empty),
		cmocka_unit_test(failures_are_told),
	};

	return cmocka_run_group_tests(tests, make_source, remove_source);
}
