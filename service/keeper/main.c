/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coppice-keeper PROGRAM [ARGS]: runs the daemon and holds a copy of every /dev/fuse descriptor, so
 * that a connection outlives the daemon's process. It mounts on the daemon's behalf (serve.c).
 *
 *	        start          HELLO, TAKE ... SETTLE (the rest is unmounted)
 *	(no child) ──► child ──────────► serving
 *	    ▲   at once  │ dies              │ dies
 *	    └────────────┴───────────────────┘
 *
 * A child that dies is followed at once; one whose predecessors died young too waits a little
 * longer each time, but is always followed. One that did not get as far as serving is followed by
 * the very program that last did, whatever its name means by now: a bad upgrade goes back by
 * itself. What a dead child left mounted waits for a successor that SETTLEs, however many try: its
 * users stand still, and go on when somebody has repaired what was wrong. After --patience they get
 * errors. A child that once told that it lives, and then does not for --watchdog, hangs: it is
 *killed, and followed as any other. The keeper ends with the child's status when it was told to
 *stop (TERM, INT), when the child ends by itself with 0, and when the child fails before it ever
 *said HELLO: a bad configuration does not get better by restarting.
 *
 * One thread. It never waits for the child: everything is an event in one poll. SIGCHLD comes
 * through the signal descriptor, and reaps strangers too, because in a container this may be
 * process 1.
 */
#include "keeper.h"
#include "session/keeper_proto.h"

#include <base/process.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEVER             UINT64_MAX
#define BACKOFF_MIN_MS    100u
#define BACKOFF_MAX_MS    10000u
#define BACKOFF_SERVED_MS 1000u /* at most, if the dead one had served: each time jobs got on */
#define CALM_MS           1000u /* a child that lived so long was fine: its successor starts at once */
#define QUICK_MAX         3u    /* so many that died younger in a row are followed at once too */
#define PATIENCE_S        600u /* how long mounts wait for a successor that serves them */
#define PATIENCE_MAX_S    86400u
#define WATCHDOG_S        60u /* a child that says nothing for so long hangs */
#define WATCHDOG_MAX_S    86400u
#define WATCH_LOOKS       5u     /* silent ones in a row; one in a quarter of the time */
#define LOOK_MS           200u   /* between two looks at whether the child could die */
#define DYING_MS          10000u /* how long a killed child may take to end */
#define STOP_MS \
	120000u /* how long a child may take to stop before it is killed, if it does not say */

struct keeper {
	struct program program;
	char oom_score[16]; /* ours before we changed it; "": unchanged */
	int signal_fd;
	struct child child;
	struct held held;
	struct held_other other;
	bool stopping, hello_ever, done;
	int exit_code;
	uint64_t patience_ms;                     /* NEVER: without end */
	uint64_t restart_ms, give_up_ms, kill_ms; /* when; NEVER */
	unsigned watchdog_s;                      /* 0: off */
	uint64_t watch_ms; /* when it is looked whether the child has told that it lives; NEVER */
	unsigned silent;   /* so many looks have found that it has not */
	uint64_t look_ms;  /* when the child is looked at next */
	uint64_t dying_ms; /* since when it is seen half dead; 0: it is not */
	pid_t undead;      /* a child that was given up before it had ended; 0: none */
	bool use_good;     /* the last child did not get as far as serving */
	unsigned backoff_ms, quick_deaths;
};

uint64_t keeper_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void keeper_log(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap); /* a long line is cut */
	va_end(ap);
	(void)dprintf(STDERR_FILENO, "keeper %s\n", line); /* nowhere else to complain */
}

/* The kernel must not choose us when memory is short: every build on the node would lose its files.
 */
static void protect_from_oom(struct keeper *k)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, k->oom_score, sizeof(k->oom_score) - 1);
	if (n <= 0 || pwrite(fd, "-1000", 5, 0) != 5)
		k->oom_score[0] = '\0'; /* not allowed here */
	else
		k->oom_score[n] = '\0';
	(void)close(fd); /* done, or not */
}

static void finish(struct keeper *k, int code)
{
	held_unmount_all(&k->held);
	k->exit_code = code;
	k->done = true;
}

static void start_child(struct keeper *k)
{
	bool good = k->use_good && k->program.good_fd >= 0;
	int r = child_start(&k->child, &k->program, good);

	k->restart_ms = NEVER;
	k->child.watchdog_s = k->watchdog_s;
	if (good)
		keeper_log("going_back reason=\"the last one did not get as far as serving\"");
	if (r < 0) {
		keeper_log("start_failed errno=%d", -r);
		k->restart_ms = keeper_now_ms() + k->backoff_ms;
	}
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void schedule_restart(struct keeper *k, uint64_t lived_ms, bool served)
{
	unsigned most_ms = served ? BACKOFF_SERVED_MS : BACKOFF_MAX_MS;
	uint64_t now = keeper_now_ms();

	k->quick_deaths = lived_ms >= CALM_MS ? 0 : k->quick_deaths + 1;
	k->restart_ms = now;
	if (k->quick_deaths <= QUICK_MAX) {
		k->backoff_ms = BACKOFF_MIN_MS;
	} else {
		k->backoff_ms = k->backoff_ms < most_ms ? k->backoff_ms : most_ms;
		k->restart_ms += k->backoff_ms;
		k->backoff_ms = k->backoff_ms * 2 < most_ms ? k->backoff_ms * 2 : most_ms;
	}
	if (k->held.count > 0 && k->give_up_ms == NEVER && k->patience_ms != NEVER)
		k->give_up_ms = now + k->patience_ms;
}

static void child_ended(struct keeper *k, int status)
{
	uint64_t lived_ms = keeper_now_ms() - k->child.started_ms;
	bool served = k->child.settled;
	bool handed_over = served && WIFEXITED(status) && WEXITSTATUS(status) == KEEPER_HANDED_OVER;

	k->use_good = !served;
	child_clear(&k->child);
	held_untake_all(&k->held);
	k->kill_ms = k->watch_ms = NEVER;
	if (k->stopping || (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || !k->hello_ever))) {
		finish(k, handed_over ? 0 : code_of(status));
		return;
	}
	schedule_restart(k, handed_over ? CALM_MS : lived_ms, served);
	keeper_log("%s status=%d lived_ms=%llu mounts=%u quick_deaths=%u",
		handed_over ? "child_handed_over" : "child_died", code_of(status),
		(unsigned long long)lived_ms, k->held.count, k->quick_deaths);
}

static void reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->child.pid)
			child_ended(k, status);
		if (pid == k->undead) {
			keeper_log("child_stuck_ended pid=%ld", (long)pid);
			k->undead = 0;
		}
	}
}

static void pass_on(const struct keeper *k, int sig)
{
	if (k->child.pid > 0 && kill(k->child.pid, sig) < 0)
		keeper_log("kill_failed signal=%d errno=%d", sig, errno);
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;
	int sig;

	if (read(k->signal_fd, &info, sizeof(info)) != sizeof(info))
		return; /* non-blocking: somebody was faster, or nothing */
	sig = (int)info.ssi_signo;
	if (sig == SIGCHLD) {
		reap(k);
		return;
	}
	if (sig == SIGTERM || sig == SIGINT) {
		k->stopping = true;
		if (k->kill_ms == NEVER)
			k->kill_ms = keeper_now_ms() + STOP_MS;
		if (k->child.pid == 0) {
			finish(k, 0);
			return;
		}
	}
	pass_on(k, sig);
}

/* It was killed, and a thread that only tells the kernel something waits there: for a directory's
 * lock, whose holder waits for an answer that the child would have given, or for changed pages that
 * the child would have taken. A successor does both. */
static void give_up_child(struct keeper *k)
{
	keeper_log("child_stuck pid=%ld mounts=%u", (long)k->child.pid, k->held.count);
	k->undead = k->child.pid;
	child_ended(k, SIGKILL); /* the wait status of one that was killed */
}

/* SIGCHLD does not come before the last thread of a killed child has come back from the kernel.
 * One that waits for an answer of the child itself never does: it is given up at once. Others come
 * back when the disk is done, and until then the child may still be writing: they are waited for;
 * when that does not help, the connections are aborted, in case it is for one of those. */
static void look_after_child(struct keeper *k, uint64_t now)
{
	/* the latter reads, and makes the kernel write back; it changes nothing */
	static const char *const harmless[] = {"fuse-notify", "ovl-digest", NULL};

	if (k->child.pid == 0 || now < k->look_ms)
		return;
	k->look_ms = now + LOOK_MS;
	if (!process_half_dead(k->child.pid)) {
		k->dying_ms = 0;
	} else if (!k->dying_ms) { /* a death in its course is not taken for it */
		k->dying_ms = now;
	} else if (!k->stopping && !k->undead && process_only_left(k->child.pid, harmless)) {
		k->dying_ms = 0;
		give_up_child(k);
	} else if (now - k->dying_ms >= DYING_MS) {
		k->dying_ms = now;
		keeper_log(
			"child_does_not_die pid=%ld mounts=%u", (long)k->child.pid, k->held.count);
		held_abort_all(&k->held);
	}
}

/* Looks are counted, not time: when this process did not run either (a frozen container), nothing
 * is known of the child. */
static void look_for_life(struct keeper *k, uint64_t now)
{
	if (now < k->watch_ms)
		return;
	k->watch_ms = now + k->watchdog_s * 1000ull / (WATCH_LOOKS - 1);
	if (++k->silent < WATCH_LOOKS)
		return;
	k->watch_ms = NEVER;
	keeper_log("child_hangs pid=%ld mounts=%u", (long)k->child.pid, k->held.count);
	pass_on(k, SIGKILL);
}

static void on_time(struct keeper *k)
{
	uint64_t now = keeper_now_ms();

	look_after_child(k, now);
	look_for_life(k, now);
	if (now >= k->kill_ms) {
		k->kill_ms = NEVER;
		keeper_log("child_does_not_stop");
		pass_on(k, SIGKILL);
	}
	if (now >= k->give_up_ms) {
		k->give_up_ms = NEVER;
		keeper_log("no_successor mounts=%u", k->held.count);
		held_unmount_untaken(&k->held);
	}
	if (now >= k->restart_ms && k->child.pid == 0)
		start_child(k);
}

static int next_timeout(const struct keeper *k)
{
	uint64_t now = keeper_now_ms(), at = k->restart_ms;

	if (k->give_up_ms < at)
		at = k->give_up_ms;
	if (k->kill_ms < at)
		at = k->kill_ms;
	if (k->watch_ms < at)
		at = k->watch_ms;
	if (k->child.pid > 0 && k->look_ms < at)
		at = k->look_ms;
	if (at == NEVER)
		return -1; /* idle: a signal or the child wakes us */
	return at <= now ? 0 : (int)(at - now);
}

static void serve_child(struct keeper *k)
{
	bool was_settled = k->child.settled;

	serve(&k->held, &k->other, &k->child);
	k->hello_ever = k->hello_ever || k->child.said_hello;
	if (k->child.settled && !was_settled) {
		k->give_up_ms = NEVER;
		child_praise(&k->child, &k->program);
	}
	if (k->child.lives && k->watchdog_s && k->watch_ms == NEVER)
		k->watch_ms = keeper_now_ms();
	if (k->child.lives)
		k->silent = 0;
	k->child.lives = false;
	if (k->child.stop_ms) { /* it knows better than we how long */
		k->kill_ms = keeper_now_ms() + k->child.stop_ms;
		k->watch_ms = NEVER;
		k->child.stop_ms = 0;
	}
}

static int run(struct keeper *k)
{
	start_child(k);
	while (!k->done) {
		struct pollfd p[2] = {
			{.fd = k->signal_fd, .events = POLLIN},
			{.fd = k->child.socket, .events = POLLIN}, /* -1 is skipped */
		};
		int n = poll(p, 2, next_timeout(k));

		if (n < 0 && errno != EINTR) {
			keeper_log("poll_failed errno=%d", errno);
			finish(k, 1);
		}
		/* The child's last words before its end. */
		if (n > 0 && p[1].revents)
			serve_child(k);
		if (n > 0 && p[0].revents)
			on_signal(k);
		if (!k->done)
			on_time(k);
	}
	return k->exit_code;
}

static int open_signals(void)
{
	static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
	sigset_t set;

	(void)sigemptyset(&set); /* cannot fail, as the next */
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		(void)sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool parse_seconds(const char *text, unsigned long max, unsigned long *ret_seconds)
{
	unsigned long seconds;
	char *end;

	errno = 0;
	seconds = text ? strtoul(text, &end, 10) : 0;
	if (!text || errno || end == text || *end || text[0] == '-' || seconds > max)
		return false;
	*ret_seconds = seconds;
	return true;
}

/* The index of the program in `argv`; 0: wrong usage. */
static int parse(struct keeper *k, char **argv)
{
	int i = 1;

	for (; argv[i] && argv[i][0] == '-'; i += 2) {
		unsigned long seconds;

		if (strcmp(argv[i], "--patience") == 0 &&
			parse_seconds(argv[i + 1], PATIENCE_MAX_S, &seconds))
			k->patience_ms = seconds ? seconds * 1000 : NEVER;
		else if (strcmp(argv[i], "--watchdog") == 0 &&
			 parse_seconds(argv[i + 1], WATCHDOG_MAX_S, &seconds))
			k->watchdog_s = (unsigned)seconds;
		else
			return 0;
	}
	return argv[i] ? i : 0;
}

static const char usage[] =
	"usage: coppice-keeper [--patience SECONDS] [--watchdog SECONDS] PROGRAM [ARGS]\n"
	"Runs PROGRAM, mounts for it and holds its FUSE connections.\n"
	"  --patience  how long mounts wait for a PROGRAM that serves them (600; 0: without end)\n"
	"  --watchdog  a PROGRAM that has told that it lives, and then does not for so long, is\n"
	"              killed and started anew (60; 0: never)\n";

int main(int argc, char **argv)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int code, first;

	if (!k)
		return 1;
	k->patience_ms = PATIENCE_S * 1000;
	k->watchdog_s = WATCHDOG_S;
	first = argc > 1 ? parse(k, argv) : 0;
	if (!first) {
		(void)fputs(usage, stderr); /* nowhere else to complain */
		free(k);
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	k->program.argv = argv + first;
	k->program.good_fd = -1;
	k->child.socket = -1;
	k->restart_ms = k->give_up_ms = k->kill_ms = k->watch_ms = NEVER;
	k->backoff_ms = BACKOFF_MIN_MS;
	k->signal_fd = open_signals();
	if (k->signal_fd < 0) {
		keeper_log("signals_failed errno=%d", errno);
		free(k);
		return 1;
	}
	protect_from_oom(k);
	k->program.oom_score = k->oom_score[0] ? k->oom_score : NULL;
	code = run(k);
	(void)close(k->signal_fd); /* at the end */
	free(k);
	return code;
}
