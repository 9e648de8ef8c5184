/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper with a real child: this program again, as a small daemon that serves one mount. The
 * daemon is killed, stopped, and replaced by one that does not start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm_fixture.h"
#include "mini_overlay.h"

#include "session/keeper_proto.h"

#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds: one that no test sees the end of, and one that ends. */
#define LONG_PATIENCE  "120"
#define SHORT_PATIENCE "2"

/* ---- the daemon ---- */

/* Serves <dir>/mnt/a, writes its pid to <dir>/ready, ends in order on SIGTERM. */
static int daemon_main(const char *dir)
{
	const char *fd = getenv(KEEPER_ENV);
	char mountpoint[512], state[512], pid[32], refuse[512], hang[512];
	struct sess_mounter *m;
	struct sess_farm *farm;
	struct overlay *o;
	struct session *s;
	sigset_t term;
	int sig, dir_fd;

	(void)snprintf(refuse, sizeof(refuse), "%s/refuse", dir); /* short, as all below: fits */
	if (!fd || access(refuse, F_OK) == 0)
		return 3;
	(void)sigemptyset(&term); /* cannot fail, as the next */
	(void)sigaddset(&term, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &term, NULL) < 0)
		return 4;
	m = sess_mounter_keeper_new((int)strtol(fd, NULL, 10));
	if (!m || sess_farm_new(&farm, &(struct sess_farm_config){.mounter = m}, NULL) < 0)
		return 5;
	o = mini_overlay_new();
	mini_overlay_add(o, "hello", "world");
	(void)snprintf(mountpoint, sizeof(mountpoint), "%s/mnt/a", dir);
	(void)snprintf(state, sizeof(state), "%s/sessions/a", dir);
	if (sess_open(farm, &s,
		    &(struct sess_config){.tenant = "a",
			    .mountpoint = mountpoint,
			    .state_dir = state,
			    .overlay = o},
		    NULL) < 0)
		return 6;
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (io_write_file(dir_fd, "ready", pid, strlen(pid), 0600, false) < 0)
		return 7;
	(void)close(dir_fd); /* a directory */
	if (sigwait(&term, &sig) != 0)
		return 8;
	(void)snprintf(hang, sizeof(hang), "%s/hang", dir); /* fits */
	if (access(hang, F_OK) == 0 && m->stopping(m, 1) == 0)
		(void)pause();
	s = sess_close(s);
	farm = sess_farm_free(farm);
	o = mini_overlay_free(o);
	m = sess_mounter_free(m);
	return 0;
}

/* ---- the tests ---- */

struct kept {
	struct tmpdir dir;
	pid_t keeper;
};

static pid_t start_keeper(char **argv)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)execv(KEEPER_PROGRAM, argv); /* returns only to fail */
		_exit(126);
	}
	return pid;
}

static int start_kept(void **state, const char *patience)
{
	struct kept *k = calloc(1, sizeof(*k));
	char self[] = "/proc/self/exe", mode[] = "--daemon", program[512];
	char *argv[] = {(char *)"coppice-keeper", (char *)"--patience", (char *)patience, program,
		mode, NULL, NULL};
	ssize_t n;

	assert_non_null(k);
	tmpdir_init(&k->dir);
	n = readlink(self, program, sizeof(program) - 1);
	assert_true(n > 0);
	program[n] = '\0';
	argv[5] = k->dir.path;
	k->keeper = start_keeper(argv);
	*state = k;
	return 0;
}

static int setup(void **state)
{
	return start_kept(state, LONG_PATIENCE);
}

static int setup_impatient(void **state)
{
	return start_kept(state, SHORT_PATIENCE);
}

/* Wait for the keeper's end; its exit code. */
static int end_of_keeper(struct kept *k)
{
	int status;

	assert_int_equal(waitpid(k->keeper, &status, 0), k->keeper);
	k->keeper = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int teardown(void **state)
{
	struct kept *k = *state;

	if (k->keeper > 0) {
		(void)kill(k->keeper, SIGTERM); /* ours: not reaped yet */
		(void)end_of_keeper(k);
	}
	(void)drop_seals(k->dir.path); /* of a daemon that could not do it */
	tmpdir_fini(&k->dir);
	free(k);
	return 0;
}

/* The pid of a daemon other than `other`, once it is ready. */
static pid_t ready_daemon(struct kept *k, pid_t other)
{
	char path[512], *text;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/ready", k->dir.path); /* fits */
	for (int i = 0; i < 20000; i++) {
		if (io_read_file(AT_FDCWD, path, 32, &text, &len) == 0) {
			pid_t pid = (pid_t)strtol(text, NULL, 10);

			free(text);
			if (pid > 0 && pid != other)
				return pid;
		}
		(void)usleep(1000); /* until it has started */
	}
	fail_msg("no daemon came up");
	return 0;
}

static void assert_served(struct kept *k)
{
	char path[512], *text;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/mnt/a/ws/hello", k->dir.path); /* fits */
	assert_int_equal(io_read_file(AT_FDCWD, path, 32, &text, &len), 0);
	assert_string_equal(text, "world");
	free(text);
	assert_int_equal(count_mounts(k->dir.path), 1);
}

static void test_stop_ends_in_order(void **state)
{
	struct kept *k = *state;

	(void)ready_daemon(k, 0);
	assert_served(k);
	assert_int_equal(kill(k->keeper, SIGTERM), 0);
	assert_int_equal(end_of_keeper(k), 0);
	assert_int_equal(count_mounts(k->dir.path), 0);
}

static void test_killed_daemon_is_replaced(void **state)
{
	struct kept *k = *state;
	pid_t daemon = 0;

	for (int i = 0; i < 3; i++) {
		daemon = ready_daemon(k, daemon);
		assert_served(k);
		assert_int_equal(kill(daemon, SIGKILL), 0);
	}
	(void)ready_daemon(k, daemon);
	assert_served(k);
	assert_int_equal(kill(k->keeper, SIGTERM), 0);
	assert_int_equal(end_of_keeper(k), 0);
	assert_int_equal(count_mounts(k->dir.path), 0);
}

/* The mount of a dead daemon must not hang for ever when no successor comes up. */
static void test_without_a_successor_everything_is_unmounted(void **state)
{
	struct kept *k = *state;
	pid_t daemon = ready_daemon(k, 0);
	char path[512];
	int fd;

	assert_served(k);
	(void)snprintf(path, sizeof(path), "%s/refuse", k->dir.path); /* fits */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	for (int i = 0; i < 20000 && count_mounts(k->dir.path) > 0; i++)
		(void)usleep(1000); /* until its patience ends */
	assert_int_equal(count_mounts(k->dir.path), 0);
	(void)snprintf(path, sizeof(path), "%s/mnt/a/lost", k->dir.path); /* fits */
	assert_int_equal(mkdir(path, 0755), -1);
	assert_int_equal(errno, ENOSPC); /* root's, too */
}

/* However many die young: what is held waits, and the one that can serve is started. */
static void test_it_goes_on_trying_while_mounts_are_held(void **state)
{
	struct kept *k = *state;
	pid_t daemon = ready_daemon(k, 0);
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/refuse", k->dir.path); /* fits */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(kill(daemon, SIGKILL), 0);
	(void)usleep(600000); /* six have died young */
	assert_int_equal(count_mounts(k->dir.path), 1);
	assert_int_equal(unlink(path), 0);
	(void)ready_daemon(k, daemon);
	assert_served(k);
}

static void test_a_stop_that_takes_longer_than_announced_is_ended(void **state)
{
	struct kept *k = *state;
	pid_t daemon = ready_daemon(k, 0);
	char path[512];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/hang", k->dir.path); /* fits */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(kill(k->keeper, SIGTERM), 0);
	assert_int_equal(end_of_keeper(k), 128 + SIGKILL); /* not after two minutes */
	assert_int_equal(count_mounts(k->dir.path), 0);
	assert_int_not_equal(daemon, 0);
}

static void test_failure_before_hello_is_the_keepers_too(void **state)
{
	char *argv[] = {
		(char *)"coppice-keeper", (char *)"/bin/sh", (char *)"-c", (char *)"exit 42", NULL};
	struct kept k = {0};

	(void)state;
	k.keeper = start_keeper(argv);
	assert_int_equal(end_of_keeper(&k), 42);
	argv[3] = (char *)"exit 0";
	k.keeper = start_keeper(argv);
	assert_int_equal(end_of_keeper(&k), 0);
	argv[1] = (char *)"/nonexistent";
	k.keeper = start_keeper(argv);
	assert_int_equal(end_of_keeper(&k), 127);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stop_ends_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_daemon_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_a_successor_everything_is_unmounted,
			setup_impatient, teardown),
		cmocka_unit_test_setup_teardown(
			test_it_goes_on_trying_while_mounts_are_held, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_stop_that_takes_longer_than_announced_is_ended, setup, teardown),
		cmocka_unit_test(test_failure_before_hello_is_the_keepers_too),
	};

	if (argc == 3 && strcmp(argv[1], "--daemon") == 0)
		return daemon_main(argv[2]);
	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
