/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `git` origin: a local repository, bare or not, given as a path or file:// URL. This file
 * opens it and keeps a few handles; names are resolved in origin_git_resolve.c, trees and blobs
 * read in origin_git_read.c.
 *
 * A handle serves one call at a time, so there are as many as calls at once (the callers' fetch
 * threads), at most HANDLES_MAX, of which a few stay open. Packs are mapped once per process
 * whatever the number of handles (libgit2 shares them). libgit2 counts its initialisations; each
 * repository holds one, so that it may be opened and closed in any order.
 *
 * Threads: any that may block.
 */
#include "origin/origin_git_internal.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/git_format.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#define HANDLES_MAX    32
#define IDLE_MAX       8
#define LENT_MAX       (256ull << 20)
#define WAIT_STEP_NS   50000000ull /* how soon a waiting call sees that it was cancelled */
#define MWINDOW_BYTES  (32u << 20)
#define MAPPED_BYTES   (1024ull << 20)
#define PACK_FILES_MAX 256
#define CACHE_BYTES    (8 << 20)

int origin_git_init(struct err *e)
{
	int r = git_libgit2_init();

	if (r < 0)
		return err_set(e, -EIO, NULL, "libgit2 does not start: %s", gitrepo_message());
	/* The daemon serves repositories of others on purpose; who may use which is decided by
	 * tenants' permissions. */
	r = git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	if (r >= 0)
		r = git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
	if (r >= 0)
		r = git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)MWINDOW_BYTES);
	if (r >= 0)
		r = git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)MAPPED_BYTES);
	if (r >= 0)
		r = git_libgit2_opts(GIT_OPT_SET_MWINDOW_FILE_LIMIT, (size_t)PACK_FILES_MAX);
	/* Objects are read once and then live in our own caches. */
	if (r >= 0)
		r = git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)CACHE_BYTES);
	if (r < 0) {
		(void)git_libgit2_shutdown();
		return err_set(e, -EIO, NULL, "libgit2 refuses an option: %s", gitrepo_message());
	}
	return 0;
}

void origin_git_fini(void)
{
	(void)git_libgit2_shutdown();
}

int gitrepo_errno(int code)
{
	const git_error *last = git_error_last();

	switch (code) {
	case GIT_ENOTFOUND:
	case GIT_EUNBORNBRANCH:
		return -ENOENT;
	case GIT_EAMBIGUOUS:
	case GIT_EINVALIDSPEC:
	case GIT_EPEEL:
		return -EINVAL;
	case GIT_EOWNER:
		return -EACCES;
	default:
		return last && last->klass == GIT_ERROR_NOMEMORY ? -ENOMEM : -EIO;
	}
}

const char *gitrepo_message(void)
{
	const git_error *last = git_error_last();

	return last && last->message ? last->message : "no reason given";
}

static void handle_close(struct gitrepo_handle *h)
{
	if (!h)
		return;
	loose_dirs_fini(&h->loose);
	git_odb_free(h->odb);
	git_repository_free(h->repo);
	free(h);
}

static int open_loose(struct gitrepo_handle *h)
{
	_cleanup_free_ char *objects = NULL;

	if (asprintf(&objects, "%sobjects", git_repository_commondir(h->repo)) < 0)
		return -ENOMEM;
	return loose_dirs_init(&h->loose, objects);
}

/* *ret_code: what libgit2 said. */
static int handle_open(const char *path, struct gitrepo_handle **ret_handle, int *ret_code)
{
	struct gitrepo_handle *h = calloc(1, sizeof(*h));
	int r;

	*ret_code = 0;
	if (!h)
		return -ENOMEM;
	list_init(&h->node);
	*ret_code = git_format_check(path);
	if (*ret_code == 0)
		*ret_code = git_repository_open_ext(
			&h->repo, path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	if (*ret_code == 0)
		*ret_code = git_repository_odb(&h->odb, h->repo);
	if (*ret_code < 0) {
		handle_close(h);
		return gitrepo_errno(*ret_code);
	}
	r = open_loose(h);
	if (r < 0) {
		handle_close(h);
		return r;
	}
	*ret_handle = h;
	return 0;
}

static void give_up_place(struct gitrepo *g)
{
	LOCK_GUARD(&g->lock);
	g->count--;
	cond_broadcast(&g->freed);
}

/* One step of waiting for something to be given back: short, so that a cancelled call ends soon. */
static int wait_locked(struct gitrepo *g, const struct gitrepo_wait *wait)
{
	uint64_t step_ns = clock_after(&clock_system, WAIT_STEP_NS);
	int r = cancel_check(wait->cancel, wait->deadline_ns);

	if (r == 0)
		(void)cond_wait_until(&g->freed, &g->lock,
			step_ns < wait->deadline_ns ? step_ns : wait->deadline_ns);
	return r;
}

/* Of the repository, when a handle was taken. */
struct gitrepo_state {
	unsigned generation, epoch;
};

/* An idle handle, or a place for a new one (*ret_handle NULL). */
static int take_place(struct gitrepo *g, bool fresh, const struct gitrepo_wait *wait,
	struct gitrepo_handle **ret_handle, struct gitrepo_state *ret_state)
{
	int r = 0;

	LOCK_GUARD(&g->lock);
	*ret_state = (struct gitrepo_state){g->generation, g->epoch};
	while (r == 0) {
		*ret_handle = NULL;
		if (!fresh && !list_empty(&g->idle)) {
			*ret_handle = list_entry(list_first(&g->idle), struct gitrepo_handle, node);
			list_remove(&(*ret_handle)->node);
			return 0;
		}
		if (g->count < HANDLES_MAX) {
			g->count++;
			return 0;
		}
		r = wait_locked(g, wait);
	}
	return r;
}

int gitrepo_take(struct gitrepo *g, bool fresh, const struct gitrepo_wait *wait,
	struct gitrepo_handle **ret_handle)
{
	struct gitrepo_handle *h;
	struct gitrepo_state now;
	int r, code;

	r = take_place(g, fresh, wait, &h, &now);
	if (r == 0 && !h) {
		r = handle_open(g->path, &h, &code);
		if (r < 0) {
			give_up_place(g);
			return r == -ENOENT
				       ? -EIO
				       : r; /* the repository went away: that is not an answer */
		}
		h->epoch = now.epoch;
	}
	if (r < 0)
		return r;
	if (h->generation != now.generation)
		(void)git_odb_refresh(h->odb); /* or it looks when it misses something */
	h->generation = now.generation;
	*ret_handle = h;
	return 0;
}

void gitrepo_changed(struct gitrepo *g)
{
	LOCK_GUARD(&g->lock);
	g->generation++;
}

void gitrepo_dropped(struct gitrepo *g)
{
	struct list old;

	list_init(&old);
	lock_acquire(&g->lock);
	g->generation++;
	g->epoch++;
	list_for_each_safe (it, &g->idle) {
		list_remove(it);
		list_push_back(&old, it);
		g->count--;
	}
	cond_broadcast(&g->freed);
	lock_release(&g->lock);
	list_for_each_safe (it, &old)
		handle_close(list_entry(it, struct gitrepo_handle, node));
}

void gitrepo_give(struct gitrepo *g, struct gitrepo_handle *h, bool discard)
{
	unsigned idle = 0;

	lock_acquire(&g->lock);
	list_for_each (it, &g->idle)
		idle++;
	if (!discard && idle < IDLE_MAX && h->epoch == g->epoch) {
		list_push_front(&g->idle, &h->node);
		h = NULL;
	} else {
		g->count--;
	}
	cond_broadcast(&g->freed);
	lock_release(&g->lock);
	handle_close(h);
}

int gitrepo_borrow(struct gitrepo *g, uint64_t bytes, const struct gitrepo_wait *wait,
	struct gitrepo_loan *ret_loan)
{
	LOCK_GUARD(&g->lock);
	while (g->lent_bytes && (bytes > LENT_MAX || g->lent_bytes > LENT_MAX - bytes)) {
		int r = wait_locked(g, wait);

		if (r < 0)
			return r;
	}
	g->lent_bytes += bytes;
	*ret_loan = (struct gitrepo_loan){.bytes = bytes};
	return 0;
}

void gitrepo_pay_back(struct gitrepo *g, struct gitrepo_loan *loan)
{
	git_odb_object_free(loan->object);
	LOCK_GUARD(&g->lock);
	g->lent_bytes -= loan->bytes;
	*loan = (struct gitrepo_loan){0};
	cond_broadcast(&g->freed);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

static int percent_decode(const char *text, char *out)
{
	for (; *text; text++) {
		int high, low;

		if (*text != '%') {
			*out++ = *text;
			continue;
		}
		high = hex_value(text[1]);
		low = high < 0 ? -1 : hex_value(text[2]);
		if (low < 0 || (high | low) == 0)
			return -EINVAL; /* not hex, or a NUL */
		*out++ = (char)(high << 4 | low);
		text += 2;
	}
	*out = '\0';
	return 0;
}

/* The path that the url names, malloc'ed. */
static int url_path(const char *url, char **ret_path, struct err *e)
{
	_cleanup_free_ char *path = strdup(url);

	if (!path)
		return err_set(e, -ENOMEM, NULL, "no memory");
	if (strncmp(url, "file://", 7) == 0) {
		url += 7;
		if (strncmp(url, "localhost/", 10) == 0)
			url += 9;
		if (*url != '/')
			return err_field(
				e, "url", "file://%s names another host; use file:///path", url);
		if (percent_decode(url, path) < 0)
			return err_field(e, "url", "file://%s has a bad %%-escape", url);
	} else if (strstr(url, "://")) {
		return err_field(e, "url", "type git takes a path or file:// URL, not %s", url);
	}
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* Why it could not be opened, in words of the reader's world. */
static int explain_open(const char *path, int r, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(e, -ENOENT, "ORIGIN_NOT_FOUND",
			"%s does not exist; correct the origin's url, or create it with: git clone "
			"--bare SOURCE %s",
			path, path);
	if (errno == EACCES || r == -EACCES)
		return err_set(e, -EACCES, NULL,
			"%s may not be read; give the service's user access to it", path);
	if (r == -ENOENT)
		return err_set(e, -ENOENT, "ORIGIN_NOT_FOUND",
			"%s is no Git repository; correct the origin's url, or run: git init %s",
			path, path);
	if (strstr(gitrepo_message(), "extension") ||
		strstr(gitrepo_message(), "repository version"))
		return err_set(e, -EOPNOTSUPP, "ORIGIN_UNSUPPORTED",
			"%s has a format that is not supported: %s", path, gitrepo_message());
	return err_set(e, r, NULL, "%s: %s", path, gitrepo_message());
}

void gitrepo_close(void *impl)
{
	struct gitrepo *g = impl;

	if (!g)
		return;

	while (!list_empty(&g->idle)) {
		struct gitrepo_handle *h =
			list_entry(list_first(&g->idle), struct gitrepo_handle, node);

		list_remove(&h->node);
		handle_close(h);
	}
	cond_fini(&g->freed);
	lock_fini(&g->lock);
	free(g->path);
	free(g->git_dir);
	free(g);
	(void)git_libgit2_shutdown();
}

int gitrepo_open_path(struct gitrepo **ret_repo, const char *path, struct err *e)
{
	struct gitrepo *g = calloc(1, sizeof(*g));
	struct gitrepo_handle *h;
	int r, code;

	if (!g)
		return err_set(e, -ENOMEM, NULL, "no memory");
	if (git_libgit2_init() < 0) {
		free(g);
		return err_set(e, -EIO, NULL, "libgit2 does not start: %s", gitrepo_message());
	}
	lock_init(&g->lock, LOCK_RANK_ORIGIN);
	cond_init(&g->freed);
	list_init(&g->idle);
	g->path = realpath(path, NULL); /* the service may change its directory later */
	errno = 0;
	r = handle_open(g->path ? g->path : path, &h, &code);
	if (r < 0) {
		r = explain_open(path, r, e);
		gitrepo_close(g);
		return r;
	}
	if (!g->path)
		g->path = strdup(path);
	g->count = 1;
	g->git_dir = strdup(git_repository_path(h->repo));
	gitrepo_give(g, h, false);
	if (!g->git_dir || !g->path) {
		gitrepo_close(g);
		return err_set(e, -ENOMEM, NULL, "no memory");
	}
	*ret_repo = g;
	return 0;
}

static int gitrepo_open(void **ret_impl, const struct origin_config *config, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct gitrepo *g;
	int r;

	r = url_path(config->url, &path, e);
	if (r == 0)
		r = gitrepo_open_path(&g, path, e);
	if (r == 0)
		*ret_impl = g;
	return r;
}

const struct origin_ops origin_git_ops = {
	.type = "git",
	.caps = ORIGIN_CAP_PINNED | ORIGIN_CAP_SIZES | ORIGIN_CAP_MODES | ORIGIN_CAP_LOCAL |
		ORIGIN_CAP_PUSH,
	.open = gitrepo_open,
	.close = gitrepo_close,
	.resolve = gitrepo_resolve,
	.merge_base = gitrepo_merge_base,
	.read_tree = gitrepo_read_tree,
	.read_blob = gitrepo_read_blob,
	.read_raw = gitrepo_read_raw,
};
