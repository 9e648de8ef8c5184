/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `git` does for a mirror: putting packs together, fetching everything. (git_incoming.c:
 * taking packs in.)
 *
 * The lock file is inherited by the program that changes things, so that it stays locked if the
 * daemon dies before the program does: the next daemon then waits for its end.
 */
#include "origin/git_mirror.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/pool.h"
#include "origin/git_fault.h"
#include "origin/git_mirror_internal.h"
#include "origin/git_url.h"
#include "origin/origin_git_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define PACKS_MAX    24u /* new packs until they are put together */
#define TIDY_NS      (600 * NS_PER_S)
#define LOCK_STEP_NS (20 * NS_PER_MS)
#define OUTPUT_MAX   4096u

static int start(struct gitmirror *m, struct gitrun *run, const char *const *argv, int lock_fd,
	struct err *e)
{
	const struct gitrun_spec spec = {
		.argv = argv, .env = m->env, .dir = m->path, .keep_fd = lock_fd};
	int r = gitrun_start(run, &spec);

	return r < 0 ? err_set(e, r == -ENOENT ? -EIO : r, NULL, "git cannot be started: %s",
			       strerror(-r))
		     : 0;
}

int gitmirror_run_to_end(
	struct gitrun *run, char *out, size_t cap, const struct gitrun_wait *wait, struct err *e)
{
	size_t len = 0;
	ssize_t n;
	int r;

	gitrun_close_input(run);
	while ((n = gitrun_read(run, out + len, cap - 1 - len, wait)) > 0) {
		len += (size_t)n;
		if (len == cap - 1)
			len = 0; /* more than anyone wants to know */
	}
	out[len] = '\0';
	if (n == -ETIMEDOUT || n == -ECANCELED) {
		gitrun_end(run);
		return err_set(e, (int)n, NULL, "git did not end in time");
	}
	r = gitrun_finish(run, wait);
	if (r < 0)
		return err_set(e, r, NULL, "git did not end in time");
	return r == 0 ? 0 : gitfault_of(run->error, e);
}

static int lock_files(struct gitmirror *m, const struct gitrun_wait *wait)
{
	_cleanup_close_ int fd = open(m->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		uint64_t step_ns = clock_after(&clock_system, LOCK_STEP_NS);
		int r = cancel_check(wait->cancel, wait->deadline_ns);

		if (r < 0)
			return r;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		(void)cancel_sleep_until((struct cancel *)wait->cancel,
			step_ns < wait->deadline_ns ? step_ns : wait->deadline_ns);
	}
	return TAKE_FD(fd);
}

static bool over_budget(struct gitmirror *m)
{
	uint64_t bytes = gitmirror_measure(m);

	return m->budget.bytes && bytes > m->budget.bytes;
}

static void tidy(void *arg)
{
	static const char *const argv[] = {"git", "repack", "--geometric=2", "-d", "-q", "-n",
		"--no-write-bitmap-index", NULL};
	struct gitmirror *m = arg;
	const struct gitrun_wait wait = {
		.cancel = m->closing, .deadline_ns = clock_after(&clock_system, TIDY_NS)};
	_cleanup_close_ int lock_fd = lock_files(m, &wait);
	char out[OUTPUT_MAX];
	struct gitrun run;
	bool again;

	/* Packs that are put together are new: then none would ever be old enough to go. Without
	 * either everything works as before, only slower or larger; the next pack tries again. */
	if (lock_fd >= 0 && over_budget(m))
		gitmirror_trim(m);
	else if (lock_fd >= 0 && start(m, &run, argv, lock_fd, NULL) == 0)
		(void)gitmirror_run_to_end(&run, out, sizeof(out), &wait, NULL);
	lock_acquire(&m->lock);
	m->tidying = false;
	again = m->trim_waits && m->haves_told == 0; /* it ended while this was under way */
	lock_release(&m->lock);
	if (again)
		gitmirror_tidy(m);
}

void gitmirror_tidy(struct gitmirror *m)
{
	bool begin;

	lock_acquire(&m->lock);
	begin = !m->tidying;
	if (begin) {
		m->packs = 0;
		m->tidying = true;
		m->trim_waits = false;
	}
	lock_release(&m->lock);
	if (begin && pool_submit(m->tidier, tidy, m, false) < 0) {
		LOCK_GUARD(&m->lock);
		m->tidying = false;
	}
}

void gitmirror_count_pack(struct gitmirror *m)
{
	bool many, over = over_budget(m);

	lock_acquire(&m->lock);
	many = ++m->packs >= PACKS_MAX;
	lock_release(&m->lock);
	if (many || over)
		gitmirror_tidy(m);
}

/* "ref: refs/heads/main\tHEAD\n…" → HEAD of the mirror. */
static void set_head(const struct gitmirror *m, const char *listing)
{
	char target[256];
	git_repository *repo;

	if (sscanf(listing, "ref: %255[^\t\n]\tHEAD", target) != 1 ||
		git_repository_open_bare(&repo, m->path) < 0)
		return;                              /* detached or empty: it stays as it was */
	(void)git_repository_set_head(repo, target); /* a bad name changes nothing */
	git_repository_free(repo);
}

static int run_locked(struct gitmirror *m, const char *const *argv, char *out,
	const struct gitrun_wait *wait, struct err *e)
{
	struct gitrun run;
	int r, lock_fd = lock_files(m, wait);

	if (lock_fd < 0)
		return err_set(
			e, lock_fd, NULL, "%s is in use: %s", m->lock_path, strerror(-lock_fd));
	gitmirror_clean(m, "refs");
	gitmirror_clean(m, "");
	r = start(m, &run, argv, lock_fd, e);
	if (r == 0)
		r = gitmirror_run_to_end(&run, out, OUTPUT_MAX, wait, e);
	(void)close(lock_fd);
	return r;
}

int gitmirror_fetch_all(struct gitmirror *m, const struct giturl *url,
	const struct gitrun_wait *wait, struct err *e)
{
	const char *const fetch[] = {"git", "fetch", "--quiet", "--prune", "--force", "--no-tags",
		"--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--",
		url->full, "+refs/*:refs/*", NULL};
	const char *const head[] = {"git", "ls-remote", "--symref", "--", url->full, "HEAD", NULL};
	char out[OUTPUT_MAX];
	int r;

	r = run_locked(m, fetch, out, wait, e);
	if (r == 0)
		r = run_locked(m, head, out, wait, e);
	if (r < 0)
		return r;
	set_head(m, out);
	gitmirror_count_pack(m);
	return 0;
}
