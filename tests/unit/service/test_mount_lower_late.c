/* SPDX-License-Identifier: Apache-2.0 */
/* A mount that came back without its origin finds it again when it is there, without a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "git_fixture.h"
#include "mount/mount_lower.h"
#include "mount/mount_lower_late.h"

#include <base/clock.h>
#include <base/err.h>
#include <errno.h>
#include <poll.h>
#include <service/config.h>
#include <stdio.h>
#include <storage/storage.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct world {
	struct git_fixture git;
	struct tmpdir dir;
	char away[400];
	struct cfg_origin origins[1];
	struct cfg cfg;
	struct clock_virtual clock;
	struct storage *storage;
	struct lower *lower;
	struct oid root;
	int done; /* eventfd */
	_Atomic int result;
};

static void open_world(struct world *w)
{
	static const struct git_file file = {"README", 0100644, "read me\n", 0};
	static const char *const root[] = {"rev-parse", "main^{tree}", NULL};
	char hex[GIT_FIXTURE_HEX];
	struct err e = {0};

	git_fixture_init(&w->git);
	git_fixture_commit(&w->git, "refs/heads/main", &file, 1, hex);
	git_fixture_run(&w->git, root, hex, sizeof(hex));
	assert_int_equal(oid_parse(hex, &w->root), 0);
	(void)snprintf(w->away, sizeof(w->away), "%s.away", w->git.repo);
	assert_int_equal(rename(w->git.repo, w->away), 0);
	tmpdir_init(&w->dir);
	w->origins[0] = (struct cfg_origin){
		.name = (char *)"main", .type = (char *)"git", .url = w->git.repo};
	w->cfg = (struct cfg){.origins = w->origins, .origin_count = 1};
	clock_virtual_init(&w->clock, NS_PER_S, NS_PER_S);

	const struct storage_config config = {
		.data_dir = w->dir.path,
		.memory_bytes = 1 << 20,
		.disk_bytes = 16 << 20,
		.index_bytes = 64 << 20,
		.clock = &clock_system,
	};
	assert_int_equal(storage_open(&w->storage, &config, &e), 0);

	const struct mount_lower_config lower = {
		.storage = w->storage,
		.cfg = &w->cfg,
		.clock = &w->clock.clock,
		.origin_name = "main",
		.tenant = "default",
	};
	w->lower = mount_lower_late_new(&lower);
	assert_non_null(w->lower);
	w->done = eventfd(0, EFD_CLOEXEC);
	assert_true(w->done >= 0);
}

static void close_world(struct world *w)
{
	w->lower->ops->free(w->lower);
	storage_close(w->storage);
	tmpdir_fini(&w->dir);
	assert_true(rename(w->away, w->git.repo) == 0 || errno == ENOENT);
	git_fixture_fini(&w->git);
	(void)close(w->done);
}

static void on_done(void *arg, int result)
{
	struct world *w = arg;

	w->result = result;
	assert_int_equal(eventfd_write(w->done, 1), 0);
}

/* The result of the call, or of the fetch that it started. */
static int fetch(struct world *w)
{
	struct pollfd event = {.fd = w->done, .events = POLLIN};
	eventfd_t count;
	int err = w->lower->ops->fetch(w->lower, LOWER_NEED_TREE, &w->root,
		clock_after(&clock_system, 10 * NS_PER_S), on_done, w);

	if (err)
		return err;
	assert_int_equal(poll(&event, 1, 10000), 1);
	assert_int_equal(eventfd_read(w->done, &count), 0);
	return w->result;
}

static void test_origin_comes_back(void **state)
{
	struct world w = {0};
	struct tree_view view;

	(void)state;
	open_world(&w);
	assert_int_equal(w.lower->ops->tree(w.lower, &w.root, &view), -EAGAIN);
	assert_int_equal(fetch(&w), -EIO);
	clock_virtual_advance(&w.clock, 2 * NS_PER_S);
	assert_int_equal(fetch(&w), -EIO);

	assert_int_equal(rename(w.away, w.git.repo), 0);
	assert_int_equal(fetch(&w), -EIO); /* it has just been looked for */
	clock_virtual_advance(&w.clock, NS_PER_S);
	assert_int_equal(fetch(&w), 0);
	assert_int_equal(w.lower->ops->tree(w.lower, &w.root, &view), 0);
	tree_view_end(&view);
	assert_int_equal(fetch(&w), 0); /* and goes on without looking */
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
