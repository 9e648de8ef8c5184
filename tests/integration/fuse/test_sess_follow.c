/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker follows the one process that asks, gives way to others, and does not stay on a CPU that
 * somebody else needs. What is looked at: the counters, and that every request is answered soon.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm_fixture.h"
#include "mini_overlay.h"
#include "session/follow_internal.h"
#include "session/session_internal.h"

#include <base/clock.h>
#include <base/metrics.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STORM_NS (2 * NS_PER_S)

struct world {
	struct farm_fixture f;
	struct metrics *metrics;
	struct overlay *o;
	struct session *s;
};

static int setup(void **state)
{
	static struct world w;

	w.metrics = metrics_new();
	assert_non_null(w.metrics);
	farm_fixture_init(&w.f, &(struct sess_farm_config){.spin = true, .metrics = w.metrics});
	w.o = mini_overlay_new();
	mini_overlay_add(w.o, "file", "x");
	w.s = farm_fixture_open(&w.f, "a", w.o);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	assert_null(sess_close(w->s));
	assert_null(mini_overlay_free(w->o));
	farm_fixture_fini(&w->f);
	w->metrics = metrics_free(w->metrics);
	return 0;
}

/* A child that runs `fn` and ends with its result; it dies with us. */
static pid_t child(int (*fn)(const char *path), const char *path)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* at worst it ends by itself */
		_exit(fn(path));
	}
	return pid;
}

/* Requests one after the other, or with pauses. 0: all were answered within a second. */
static int ask_for(const char *path, useconds_t pause)
{
	uint64_t end = clock_mono_ns(&clock_system) + STORM_NS, now, before;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct statx stx;

	while ((before = clock_mono_ns(&clock_system)) < end) {
		if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE,
			    &stx) < 0)
			return 1;
		now = clock_mono_ns(&clock_system);
		if (now - before > NS_PER_S)
			return 1;
		if (pause)
			(void)usleep(pause); /* interrupted: a shorter one */
	}
	return 0;
}

static int ask(const char *path)
{
	return ask_for(path, 0);
}

static int ask_on(const char *path)
{
	while (ask(path) == 0)
		;
	return 1;
}

static int ask_rarely(const char *path)
{
	return ask_for(path, 1000);
}

static unsigned followers(const struct follow *f)
{
	unsigned count = 0;

	for (unsigned i = 0; i < f->farm->worker_count; i++)
		count += atomic_load(&f->spots[i].who) != NULL;
	return count;
}

static int compute(const char *path)
{
	uint64_t end = clock_mono_ns(&clock_system) + STORM_NS;

	(void)path;
	while (clock_mono_ns(&clock_system) < end)
		;
	return 0;
}

static void wait_for(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool can_follow(const struct world *w)
{
	return w->f.farm->follow; /* else one CPU, or no right to leave the idle class */
}

static void test_a_serial_client_is_followed(void **state)
{
	struct world *w = *state;

	assert_true(can_follow(w));
	wait_for(child(ask, farm_fixture_path(&w->f, "a", "ws/file")));
	assert_true(counter_get(w->f.farm->m.followed) > 0);
}

/* The workers of this process: whether all are of the normal class and may run where we may. */
static bool all_as_before(void)
{
	DIR *tasks = opendir("/proc/self/task");
	cpu_set_t ours, its;
	bool result = true;
	unsigned workers = 0;

	assert_non_null(tasks);
	assert_int_equal(sched_getaffinity(0, sizeof(ours), &ours), 0);
	for (struct dirent *d; (d = readdir(tasks));) {
		char path[300], name[32] = {0};
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		f = tid ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && strncmp(name, "fuse-worker", 11) == 0) {
			workers++;
			assert_int_equal(sched_getaffinity(tid, sizeof(its), &its), 0);
			result = result && sched_getscheduler(tid) == SCHED_OTHER &&
				 CPU_EQUAL(&ours, &its);
		}
		assert_int_equal(fclose(f), 0);
	}
	assert_int_equal(closedir(tasks), 0);
	assert_true(workers >= 2);
	return result;
}

static void test_afterwards_the_workers_are_as_before(void **state)
{
	struct world *w = *state;
	uint64_t end = now_ms() + 5000;

	wait_for(child(ask, farm_fixture_path(&w->f, "a", "ws/file")));
	while (!all_as_before() && now_ms() < end)
		(void)usleep(5000); /* until the worker's patience ends */
	assert_true(all_as_before());
}

/* On every CPU somebody computes: the idle class would get next to nothing. */
static void test_others_that_compute_do_not_starve_requests(void **state)
{
	struct world *w = *state;
	const char *path = farm_fixture_path(&w->f, "a", "ws/file");
	unsigned count = w->f.farm->cpus < 64 ? w->f.farm->cpus : 64;
	uint64_t before = sess_counted(&w->s->replies), answered;
	pid_t others[64], client;

	for (unsigned i = 0; i < count; i++)
		others[i] = child(compute, path);
	client = child(ask, path);
	wait_for(client);
	answered = sess_counted(&w->s->replies) - before;
	for (unsigned i = 0; i < count; i++)
		wait_for(others[i]);
	/* The idle class alone would get 3 of 1027 parts: 4 ms a request, 500 of them. */
	assert_true(answered > 2000);
}

/* Two clients of one session: neither waits long for the other. */
static void test_two_clients_share(void **state)
{
	struct world *w = *state;
	const char *path = farm_fixture_path(&w->f, "a", "ws/file");
	pid_t one = child(ask, path), two = child(ask, path);

	wait_for(one);
	wait_for(two);
}

/* The sessions of two tenants, a serial client each. A busy machine lets nobody follow for a while,
 * again and again. */
static void test_clients_of_two_sessions_are_followed_both(void **state)
{
	struct world *w = *state;
	struct session *b = farm_fixture_open(&w->f, "b", w->o);
	uint64_t end = now_ms() + 30000;
	pid_t one = child(ask_on, farm_fixture_path(&w->f, "a", "ws/file"));
	pid_t two = child(ask_on, farm_fixture_path(&w->f, "b", "ws/file"));
	unsigned most = 0;

	while (most < 2 && now_ms() < end) {
		unsigned now = followers(w->f.farm->follow);

		most = now > most ? now : most;
		(void)usleep(100); /* interrupted: the next look comes sooner */
	}
	assert_int_equal(kill(one, SIGKILL), 0);
	assert_int_equal(kill(two, SIGKILL), 0);
	assert_int_equal(waitpid(one, NULL, 0), one);
	assert_int_equal(waitpid(two, NULL, 0), two);
	assert_null(sess_close(b));
	assert_int_equal(most, 2);
}

/* Every worker has a client to follow; a third tenant asks now and then. */
static void test_a_third_session_is_served_beside_two_that_are_followed(void **state)
{
	struct world *w = *state;
	struct session *b = farm_fixture_open(&w->f, "b", w->o);
	struct session *c = farm_fixture_open(&w->f, "c", w->o);
	pid_t one = child(ask, farm_fixture_path(&w->f, "a", "ws/file"));
	pid_t two = child(ask, farm_fixture_path(&w->f, "b", "ws/file"));
	pid_t third = child(ask_rarely, farm_fixture_path(&w->f, "c", "ws/file"));

	wait_for(third);
	wait_for(one);
	wait_for(two);
	assert_null(sess_close(c));
	assert_null(sess_close(b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_serial_client_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_afterwards_the_workers_are_as_before, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_others_that_compute_do_not_starve_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_clients_share, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_clients_of_two_sessions_are_followed_both, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_third_session_is_served_beside_two_that_are_followed, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
