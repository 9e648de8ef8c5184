/* SPDX-License-Identifier: Apache-2.0 */
/* See git_mirror.h; what it runs programs for is in git_mirror_run.c. */
#include "origin/git_mirror.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "base/pool.h"
#include "origin/git_mirror_internal.h"
#include "origin/origin_git_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COMMITS_FILE_MAX (16u << 20)
#define CLEAN_DEPTH_MAX  32

static bool left_behind(const char *name)
{
	size_t len = strlen(name);

	return strncmp(name, "tmp_", 4) == 0 || (len > 5 && strcmp(name + len - 5, ".lock") == 0);
}

/* Temporary and lock files of programs that were killed. */
static void clean(int parent_fd, const char *name, unsigned depth)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.' ||
			fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < CLEAN_DEPTH_MAX)
			clean(dirfd(dir), entry->d_name, depth + 1);
		else if (S_ISREG(st.st_mode) && left_behind(entry->d_name))
			(void)unlinkat(
				dirfd(dir), entry->d_name, 0); /* or it stays, and git says so */
	}
	(void)closedir(dir);
}

void gitmirror_clean(const struct gitmirror *m, const char *below)
{
	_cleanup_free_ char *path = path_join(m->path, below);

	if (path)
		clean(AT_FDCWD, path, 0);
}

static int make_repository(const char *path, struct err *e)
{
	git_repository_init_options options = {.version = GIT_REPOSITORY_INIT_OPTIONS_VERSION};
	git_repository *repo;

	options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH;
	options.initial_head = "main";
	if (git_repository_init_ext(&repo, path, &options) < 0)
		return err_set(e, -EIO, NULL, "%s cannot be made: %s", path, gitrepo_message());
	git_repository_free(repo);
	return 0;
}

static int append_commit(struct gitmirror *m, const struct oid *commit)
{
	if (m->commit_count == m->commit_cap) {
		size_t cap = m->commit_cap ? 2 * m->commit_cap : 16;
		struct oid *grown = reallocarray(m->commits, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->commits = grown;
		m->commit_cap = cap;
	}
	m->commits[m->commit_count++] = *commit;
	return 0;
}

/* Lines that are no ids (a write that was cut short) are passed over: those commits are fetched
 * again. */
static int load_commits(struct gitmirror *m)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t len;
	int r = io_read_file(AT_FDCWD, m->commits_path, COMMITS_FILE_MAX, &text, &len);

	if (r < 0)
		return r == -ENOENT || r == -EFBIG ? 0 : r;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct oid oid;

		if (oid_parse(line, &oid) == 0 && oid.len == GIT_OID_RAWSZ) {
			r = append_commit(m, &oid);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int gitmirror_open(struct gitmirror *m, const char *state_dir, struct err *e)
{
	const struct pool_config pool = {.name = "git-tidy", .threads_max = 1, .queue_max = 4};
	int r;

	m->path = path_join(state_dir, "mirror.git");
	m->commits_path = path_join(state_dir, "commits");
	m->lock_path = path_join(state_dir, "lock");
	m->closing = cancel_new();
	if (!m->path || !m->commits_path || !m->lock_path || !m->closing ||
		pool_new(&m->tidier, &pool) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	r = io_mkdirs(state_dir, 0700);
	if (r < 0)
		return err_set(e, r, NULL, "%s cannot be made: %s", state_dir, strerror(-r));
	r = make_repository(m->path, e);
	if (r < 0)
		return r;
	gitmirror_clean(m, "objects");
	gitmirror_clean_incoming(m);
	r = load_commits(m);
	return r < 0 ? err_wrap(e, r, "read %s", m->commits_path) : 0;
}

void gitmirror_init(struct gitmirror *m)
{
	*m = (struct gitmirror){.path = NULL};
	lock_init(&m->lock, LOCK_RANK_ORIGIN);
}

void gitmirror_set_env(struct gitmirror *m, char *const *env)
{
	m->env = env;
}

void gitmirror_fini(struct gitmirror *m)
{
	if (m->closing)
		cancel_fire(m->closing);
	if (m->tidier)
		pool_free(m->tidier);
	m->closing = cancel_unref(m->closing);
	lock_fini(&m->lock);
	free(m->path);
	free(m->commits_path);
	free(m->lock_path);
	free(m->commits);
}

bool gitmirror_has_commit(struct gitmirror *m, const struct oid *commit)
{
	LOCK_GUARD(&m->lock);
	for (size_t i = m->commit_count; i > 0; i--)
		if (oid_equal(&m->commits[i - 1], commit))
			return true;
	return false;
}

size_t gitmirror_begin_haves(struct gitmirror *m, struct oid *ret_commits, size_t cap)
{
	size_t count;
	LOCK_GUARD(&m->lock);

	count = m->commit_count < cap ? m->commit_count : cap;
	for (size_t i = 0; i < count; i++)
		ret_commits[i] = m->commits[m->commit_count - 1 - i];
	m->haves_told++;
	return count;
}

void gitmirror_end_haves(struct gitmirror *m)
{
	bool trim;

	lock_acquire(&m->lock);
	m->haves_told--;
	trim = m->trim_waits && m->haves_told == 0;
	lock_release(&m->lock);
	if (trim)
		gitmirror_tidy(m);
}

int gitmirror_forget_commits(struct gitmirror *m)
{
	LOCK_GUARD(&m->lock);
	m->commit_count = 0;
	return unlink(m->commits_path) < 0 && errno != ENOENT ? -errno : 0;
}

int gitmirror_add_commit(struct gitmirror *m, const struct oid *commit)
{
	char line[OID_HEX_MAX + 1], hex[OID_HEX_MAX];
	_cleanup_close_ int fd = -1;
	int r;

	if (gitmirror_has_commit(m, commit))
		return 0;
	(void)snprintf(line, sizeof(line), "%s\n", oid_hex(commit, hex));
	fd = open(m->commits_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, line, strlen(line));
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	if (r < 0)
		return r;
	LOCK_GUARD(&m->lock);
	return append_commit(m, commit);
}
