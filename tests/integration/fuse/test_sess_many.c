/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many sessions, one after another and side by side: nothing leaks, nobody starves.
 * COPPICE_CYCLES=1000 makes the first test as long as it should be before a release.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm_fixture.h"
#include "mini_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TENANTS 8u

static void test_cycles_leak_nothing(void **state)
{
	const char *wanted = getenv("COPPICE_CYCLES");
	unsigned cycles = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 100, fds, threads;
	struct farm_fixture f;
	struct overlay *o;
	struct stat st;

	(void)state;
	farm_fixture_init(&f, NULL);
	o = mini_overlay_new();
	mini_overlay_add(o, "file", "x");
	fds = count_fds();
	threads = count_threads();
	for (unsigned i = 0; i < cycles; i++) {
		struct session *s = farm_fixture_open(&f, "a", o);

		assert_int_equal(stat(farm_fixture_path(&f, "a", "ws/file"), &st), 0);
		if (i % 3 == 0)
			assert_int_equal(stat(farm_fixture_path(&f, "a", "ws/none"), &st), -1);
		assert_null(sess_close(s));
	}
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_threads(), threads);
	assert_int_equal(count_mounts(f.dir.path), 0);
	assert_null(mini_overlay_free(o));
	farm_fixture_fini(&f);
}

struct client {
	pthread_t thread;
	char path[512];
	_Atomic bool *stop;
	_Atomic uint64_t done;
	uint64_t failed, slowest_ms;
};

static void *hammer(void *arg)
{
	struct client *c = arg;
	int fd = open(c->path, O_RDWR);

	if (fd < 0) {
		c->failed = 1;
		return NULL;
	}
	while (!atomic_load(c->stop)) {
		uint64_t start = now_ms(), took;
		struct statx stx;

		if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &stx) < 0)
			c->failed++;
		took = now_ms() - start;
		if (took > c->slowest_ms)
			c->slowest_ms = took;
		c->done++;
	}
	(void)close(fd); /* nothing was written */
	return NULL;
}

/* Until each has got some answers, however slow the machine: nobody starves. */
static void wait_for_all(struct client *client, unsigned count)
{
	uint64_t end = now_ms() + 30000;

	for (unsigned i = 0; i < count; i++) {
		while (atomic_load(&client[i].done) <= 10 && now_ms() < end)
			(void)usleep(1000); /* until the next answer */
		assert_true(atomic_load(&client[i].done) > 10);
	}
}

static void test_eight_tenants_at_once(void **state)
{
	struct client client[TENANTS * 2] = {0};
	struct session *s[TENANTS];
	struct overlay *o[TENANTS];
	_Atomic bool stop = false;
	struct farm_fixture f;
	char tenant[16];

	(void)state;
	farm_fixture_init(&f, NULL);
	for (unsigned i = 0; i < TENANTS; i++) {
		(void)snprintf(tenant, sizeof(tenant), "tenant%u", i); /* fits */
		o[i] = mini_overlay_new();
		mini_overlay_add(o[i], "file", "x");
		s[i] = farm_fixture_open(&f, tenant, o[i]);
	}
	for (unsigned i = 0; i < TENANTS * 2; i++) {
		(void)snprintf(tenant, sizeof(tenant), "tenant%u", i % TENANTS); /* fits */
		client[i].stop = &stop;
		(void)snprintf(client[i].path, sizeof(client[i].path), "%s",
			farm_fixture_path(&f, tenant, "ws/file")); /* fits */
		assert_int_equal(pthread_create(&client[i].thread, NULL, hammer, &client[i]), 0);
	}
	(void)usleep(500000); /* the length of the measurement */
	wait_for_all(client, TENANTS * 2);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < TENANTS * 2; i++) {
		assert_int_equal(pthread_join(client[i].thread, NULL), 0);
		assert_int_equal(client[i].failed, 0);
	}
	for (unsigned i = 0; i < TENANTS; i++) {
		assert_null(sess_close(s[i]));
		assert_null(mini_overlay_free(o[i]));
	}
	farm_fixture_fini(&f);
}

static void *open_and_close(void *arg)
{
	struct client *c = arg;
	struct stat st;

	while (!atomic_load(c->stop)) {
		(void)stat(c->path, &st); /* ENOENT, ENOTCONN, EIO: all are fine, hanging is not */
		c->done++;
	}
	return NULL;
}

/* Sessions end under load: events of closed sessions arrive late and must find nothing. */
static void test_sessions_close_under_load(void **state)
{
	struct client client[2] = {0};
	_Atomic bool stop = false;
	struct farm_fixture f;
	struct overlay *o;

	(void)state;
	farm_fixture_init(&f, NULL);
	o = mini_overlay_new();
	mini_overlay_add(o, "file", "x");
	for (unsigned i = 0; i < 2; i++) {
		client[i].stop = &stop;
		(void)snprintf(client[i].path, sizeof(client[i].path), "%s",
			farm_fixture_path(&f, "a", i ? "ws/file" : "absent")); /* fits */
		assert_int_equal(
			pthread_create(&client[i].thread, NULL, open_and_close, &client[i]), 0);
	}
	for (unsigned i = 0; i < 30; i++) {
		struct session *s = farm_fixture_open(&f, "a", o);

		(void)usleep(2000); /* some requests */
		assert_null(sess_close(s));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(client[i].thread, NULL), 0);
	assert_null(mini_overlay_free(o));
	farm_fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cycles_leak_nothing),
		cmocka_unit_test(test_eight_tenants_at_once),
		cmocka_unit_test(test_sessions_close_under_load),
	};

	return cmocka_run_group_tests_name("many sessions", tests, NULL, NULL);
}
