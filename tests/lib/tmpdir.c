/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories for tests. Removal uses nftw(3), so that the fixture does not depend on
 * code under test. */
#include "tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void tmpdir_init(struct tmpdir *t)
{
	const char *base = getenv("TMPDIR");
	int n;

	n = snprintf(
		t->path, sizeof(t->path), "%s/coppice-test-XXXXXX", base && *base ? base : "/tmp");
	assert_true(n > 0 && (size_t)n < sizeof(t->path));
	if (!mkdtemp(t->path))
		fail_msg("mkdtemp %s: %s", t->path, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)remove(path); /* what is left shows in /tmp; the test's own result matters more */
	return 0;
}

void tmpdir_fini(struct tmpdir *t)
{
	if (t->path[0])
		(void)nftw(t->path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	t->path[0] = '\0';
}

const char *tmpdir_path(const struct tmpdir *t, const char *name, char *buf, unsigned cap)
{
	int n = snprintf(buf, cap, "%s/%s", t->path, name);

	assert_true(n > 0 && (unsigned)n < cap);
	return buf;
}
