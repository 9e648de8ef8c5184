/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that must wait: answered late, never, with errors, after the caller is gone, at the end
 * of the session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_world.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0 or an errno. */
static int read_file(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY), r;
	ssize_t n;

	if (fd < 0)
		return errno;
	n = read(fd, buf, cap - 1);
	r = n < 0 ? errno : 0;
	buf[n < 0 ? 0 : n] = '\0';
	(void)close(fd); /* it was only read */
	return r;
}

static void wait_for_parked(struct mini_world *w, uint64_t count)
{
	struct sess_stats stats;

	for (int i = 0; i < 5000; i++) {
		sess_stats(w->s, &stats);
		if (stats.parked_now == count)
			return;
		(void)usleep(1000); /* until the kernel and the worker got there */
	}
	fail_msg("%lu parked, %lu wanted", (unsigned long)stats.parked_now, (unsigned long)count);
}

static void test_read_answered_late(void **state)
{
	struct sess_stats stats;
	uint64_t start;
	struct mini_world *w = *state;
	char buf[32];

	mini_overlay_add(w->o, "late-100", "it came");
	start = now_ms();
	assert_int_equal(read_file(mini_world_at(w, "ws/late-100"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "it came");
	assert_true(now_ms() - start >= 95);
	wait_for_parked(w, 0);
	sess_stats(w->s, &stats);
	assert_int_equal(stats.parked_total, 1);
}

static void test_lookup_and_write_answered_late(void **state)
{
	struct mini_world *w = *state;
	struct stat st;
	char buf[32];
	int fd;

	mini_overlay_add(w->o, "lk-late-30", "found");
	mini_overlay_add(w->o, "late-60", "0123456789");
	assert_int_equal(stat(mini_world_at(w, "ws/lk-late-30"), &st), 0);
	assert_int_equal(st.st_size, 5);
	/* The payload of the parked WRITE is a copy: other requests use the worker's buffer
	 * meanwhile. */
	fd = open(mini_world_at(w, "ws/late-60"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "WRITTEN", 7, 1), 7);
	assert_int_equal(close(fd), 0);
	assert_int_equal(read_file(mini_world_at(w, "ws/late-60"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "0WRITTEN89");
}

static void test_errors_of_fetches_arrive_as_they_are(void **state)
{
	static const struct {
		const char *name;
		int error;
	} cases[] = {
		{"fail-5", EIO}, {"fail-110", ETIMEDOUT}, {"fail-113", EHOSTUNREACH},
		{"fail-28", ENOSPC},
		{"fail-2", EIO},   /* a fetch cannot know that a name is absent */
		{"fail-125", EIO}, /* given up */
	};
	struct mini_world *w = *state;
	char buf[8];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[64];

		mini_overlay_add(w->o, cases[i].name, "x");
		(void)snprintf(path, sizeof(path), "ws/%s", cases[i].name); /* fits */
		assert_int_equal(
			read_file(mini_world_at(w, path), buf, sizeof(buf)), cases[i].error);
	}
}

static void test_deadline_of_a_read_and_of_metadata(void **state)
{
	const struct sess_farm_config config = {.read_deadline_ns = 300 * NS_PER_MS,
		.metadata_deadline_ns = 100 * NS_PER_MS,
		.spin = true};
	struct sess_stats stats;
	struct mini_world *w = *state;
	struct stat st;
	uint64_t start;
	char buf[8];

	mini_world_restart(w, &config);
	mini_overlay_add(w->o, "never", "x");
	mini_overlay_add(w->o, "lk-never", "x");
	start = now_ms();
	assert_int_equal(stat(mini_world_at(w, "ws/lk-never"), &st), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(now_ms() - start >= 95 && now_ms() - start < 290);
	start = now_ms();
	assert_int_equal(read_file(mini_world_at(w, "ws/never"), buf, sizeof(buf)), ETIMEDOUT);
	assert_true(now_ms() - start >= 295);
	sess_stats(w->s, &stats);
	assert_true(stats.timed_out >=
		    2); /* the kernel reads a page again after its read-ahead failed */
	assert_int_equal(read_file(mini_world_at(w, "ws/hello"), buf, sizeof(buf)), 0);
}

static nlink_t links(struct mini_world *w, const char *name)
{
	struct stat st;

	assert_int_equal(stat(mini_world_at(w, name), &st), 0);
	return st.st_nlink;
}

/* A directory's link count is waited for, but not for long, and its absence is no error. What was
 * not counted is not kept by the kernel. */
static void test_links_of_a_directory_are_only_better_to_know(void **state)
{
	struct mini_world *w = *state;
	uint64_t start = now_ms();

	mini_overlay_add_dir(w->o, "count-late-30");
	mini_overlay_add_dir(w->o, "count-late-600");
	mini_overlay_add_dir(w->o, "count-fail-5");
	mini_overlay_add_dir(w->o, "count-never");
	assert_int_equal(links(w, "ws/count-fail-5"), 1);
	assert_int_equal(links(w, "ws/count-late-30"), 3);
	assert_true(now_ms() - start >= 25);
	start = now_ms();
	assert_int_equal(links(w, "ws/count-never"), 1);
	assert_true(now_ms() - start >= 240 && now_ms() - start < 10000);
	assert_int_equal(links(w, "ws/count-late-600"), 1);
	for (int i = 0; i < 1000 && links(w, "ws/count-late-600") == 1; i++)
		(void)usleep(1000); /* until the fetch, which went on, has come */
	assert_int_equal(links(w, "ws/count-late-600"), 3);
	wait_for_parked(w, 0);
}

static pid_t start_client(struct mini_world *w, const char *name, bool look_up)
{
	pid_t pid = fork();
	struct stat st;
	char buf[8];

	assert_true(pid >= 0);
	if (pid == 0) {
		if (look_up)
			_exit(stat(mini_world_at(w, name), &st) < 0 ? errno : 0);
		_exit(read_file(mini_world_at(w, name), buf, sizeof(buf)));
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_killed_client_frees_its_lookup(void **state)
{
	struct sess_stats stats;
	uint64_t start;
	struct mini_world *w = *state;
	struct stat st;
	pid_t pid;

	mini_overlay_add(w->o, "lk-never", "x");
	pid = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 1);
	start = now_ms();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(WIFSIGNALED(end_of(pid)));
	assert_true(now_ms() - start < 1000);
	wait_for_parked(w, 0);
	sess_stats(w->s, &stats);
	assert_int_equal(stats.interrupted, 1);
	assert_int_equal(stat(mini_world_at(w, "ws/hello"), &st), 0);
}

static void on_signal(int sig)
{
	(void)sig;
}

/* The kernel tells of the first signal only; the second must be found out. */
static void test_client_killed_after_a_harmless_signal(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct mini_world *w = *state;
	uint64_t start;
	pid_t pid;

	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0); /* the child inherits it */
	mini_overlay_add(w->o, "lk-never", "x");
	pid = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 1);
	assert_int_equal(kill(pid, SIGUSR1), 0);
	(void)usleep(300000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it still waits */
	start = now_ms();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(WIFSIGNALED(end_of(pid)));
	assert_true(now_ms() - start < 2000);
	wait_for_parked(w, 0);
}

/* Closing meets a record whose caller is being looked at. */
static void test_close_answers_what_was_interrupted(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct mini_world *w = *state;
	pid_t pid;
	int status;

	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0); /* as above */
	mini_overlay_add(w->o, "lk-never", "x");
	pid = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 1);
	assert_int_equal(kill(pid, SIGUSR1), 0);
	(void)usleep(150000);
	assert_null(sess_close(w->s));
	w->s = NULL;
	status = end_of(pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 0);
	assert_int_not_equal(WEXITSTATUS(status), EINTR);
}

struct storm {
	struct mini_world *w;
	_Atomic bool stop;
	_Atomic unsigned looked_up, failed;
	unsigned index;
};

static void *storm_client(void *arg)
{
	struct storm *st = arg;
	unsigned index = atomic_fetch_add(&st->index, 1);
	char name[64];
	struct stat attr;

	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "ws/lk-late-3-%u-%u", index, i); /* fits */
		if (stat(mini_world_at(st->w, name), &attr) == 0)
			atomic_fetch_add(&st->looked_up, 1);
		else
			atomic_fetch_add(&st->failed, 1);
	}
	return NULL;
}

/* Signals meet parked lookups at every stage; a stat on a disk does not fail with EINTR, so none
 * does here. */
static void test_signals_do_not_end_lookups(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal};
	pthread_t client[4];
	struct storm storm = {0};
	struct mini_world *w = *state;
	char name[64];

	for (unsigned c = 0; c < 4; c++)
		for (unsigned i = 0; i < 50; i++) {
			(void)snprintf(name, sizeof(name), "lk-late-3-%u-%u", c, i); /* fits */
			mini_overlay_add(w->o, name, "");
		}
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	storm.w = w;
	for (unsigned c = 0; c < 4; c++)
		assert_int_equal(pthread_create(&client[c], NULL, storm_client, &storm), 0);
	for (unsigned i = 0; i < 300; i++) {
		for (unsigned c = 0; c < 4; c++)
			(void)pthread_kill(client[c], SIGUSR1); /* joined below: the id is valid */
		(void)usleep(500);
	}
	for (unsigned c = 0; c < 4; c++)
		assert_int_equal(pthread_join(client[c], NULL), 0);
	assert_int_equal(storm.looked_up, 200);
	assert_int_equal(storm.failed, 0);
	wait_for_parked(w, 0);
}

static void test_close_answers_what_is_parked(void **state)
{
	struct mini_world *w = *state;
	uint64_t start;
	pid_t reader, finder;

	mini_overlay_add(w->o, "never", "x");
	mini_overlay_add(w->o, "lk-never", "x");
	reader = start_client(w, "ws/never", false);
	finder = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 2);
	start = now_ms();
	w->s = sess_close(w->s);
	assert_true(now_ms() - start < 4000);
	assert_int_equal(WEXITSTATUS(end_of(reader)), EIO);
	assert_int_equal(WEXITSTATUS(end_of(finder)), EIO);
}

static void test_limits_refuse_with_eio(void **state)
{
	const struct sess_farm_config config = {.parked_max = 4, .spin = true};
	pid_t client[4];
	struct mini_world *w = *state;
	struct stat st;
	char name[32];

	mini_world_restart(w, &config);
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "lk-never-%u", i); /* fits */
		mini_overlay_add(w->o, name, "x");
	}
	for (unsigned i = 0; i < 4; i++) {
		(void)snprintf(name, sizeof(name), "ws/lk-never-%u", i); /* fits */
		client[i] = start_client(w, name, true);
	}
	wait_for_parked(w, 4);
	assert_int_equal(stat(mini_world_at(w, "ws/lk-never-4"), &st), -1);
	assert_int_equal(errno, EIO);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(kill(client[i], SIGKILL), 0);
		(void)end_of(client[i]); /* by the signal */
	}
}

static void test_parked_lookup_blocks_neither_its_directory_nor_others(void **state)
{
	struct mini_world *w = *state;
	uint64_t start;
	struct stat st;
	char buf[8];
	pid_t pid;

	mini_overlay_add(w->o, "lk-never", "x");
	mini_overlay_add(w->o, "cold", "x");
	pid = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 1);
	start = now_ms();
	/* Cold names of the same directory go on: PARALLEL_DIROPS, which libfuse forgets and we
	 * add. */
	assert_int_equal(stat(mini_world_at(w, "ws/cold"), &st), 0);
	assert_int_equal(read_file(mini_world_at(w, "ws/hello"), buf, sizeof(buf)), 0);
	assert_true(now_ms() - start < 1000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	(void)end_of(pid); /* by the signal */
}

/* An administrator's umount -f: callers end at once, and the session closes as usual. */
static void test_abort_with_requests_parked(void **state)
{
	struct mini_world *w = *state;
	pid_t reader, finder;
	uint64_t start;

	mini_overlay_add(w->o, "never", "x");
	mini_overlay_add(w->o, "lk-never", "x");
	reader = start_client(w, "ws/never", false);
	finder = start_client(w, "ws/lk-never", true);
	wait_for_parked(w, 2);
	start = now_ms();
	(void)umount2(mini_world_at(w, ""), MNT_FORCE); /* EBUSY, and aborts all the same */
	assert_true(WEXITSTATUS(end_of(reader)) != 0);
	assert_true(WEXITSTATUS(end_of(finder)) != 0);
	w->s = sess_close(w->s);
	assert_true(now_ms() - start < 3000);
}

/* The kernel does not tell us when the reader of a page is killed; nobody waits for it either. */
static void test_killed_reader_ends_at_once(void **state)
{
	struct mini_world *w = *state;
	uint64_t start;
	char buf[8];
	pid_t pid;

	mini_overlay_add(w->o, "late-300", "x");
	pid = start_client(w, "ws/late-300", false);
	wait_for_parked(w, 1);
	start = now_ms();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(WIFSIGNALED(end_of(pid)));
	assert_true(now_ms() - start < 200);
	assert_int_equal(read_file(mini_world_at(w, "ws/late-300"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "x");
	wait_for_parked(w, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_abort_with_requests_parked, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_killed_reader_ends_at_once, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_read_answered_late, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_lookup_and_write_answered_late, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_errors_of_fetches_arrive_as_they_are,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_deadline_of_a_read_and_of_metadata,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_links_of_a_directory_are_only_better_to_know,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_killed_client_frees_its_lookup, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_client_killed_after_a_harmless_signal,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_close_answers_what_was_interrupted,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_signals_do_not_end_lookups, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_close_answers_what_is_parked, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_limits_refuse_with_eio, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_parked_lookup_blocks_neither_its_directory_nor_others,
			mini_world_setup, mini_world_teardown),
	};

	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
