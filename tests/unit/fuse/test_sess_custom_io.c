/* SPDX-License-Identifier: Apache-2.0 */
/* What libfuse reads through us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "session/session_internal.h"

#include <sys/mman.h>
#include <unistd.h>

#define LONGER ((size_t)2 << 20)

/* The kernel forgot 70,000 files at once (drop_caches): reading them all into a worker's buffer was
 * EFAULT, and the session ended. */
static void many_forgets_at_once_do_not_end_the_session(void **state)
{
	int fd = memfd_create("requests", MFD_CLOEXEC);
	char *buf = malloc(LONGER);

	(void)state;
	assert_true(fd >= 0 && buf);
	assert_int_equal(ftruncate(fd, (off_t)LONGER), 0);
	assert_int_equal(sess_custom_io.read(fd, buf, LONGER, NULL), SESS_REQUEST_BYTES);
	assert_int_equal(sess_custom_io.read(fd, buf, 100, NULL), 100);
	free(buf);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_forgets_at_once_do_not_end_the_session),
	};

	return cmocka_run_group_tests_name("what libfuse reads", tests, NULL, NULL);
}
