// SPDX-License-Identifier: Apache-2.0
/* Commits go through `git fast-import` (one process for any number of files, dates fixed). */
#include "git_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 16

/* git with stdin and stdout from and to files: no pipe can fill up. */
static void run_git(
	struct git_fixture *g, const char *const argv[], const char *in, const char *out)
{
	char home[300];
	char *const env[] = {home, "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", NULL};
	const char *full[ARGS_MAX + 4] = {"git", "-C", g->repo};
	posix_spawn_file_actions_t files;
	int status;
	pid_t pid;

	(void)snprintf(home, sizeof(home), "HOME=%s", g->tmp.path);
	for (unsigned i = 0; i < ARGS_MAX && argv[i]; i++)
		full[i + 3] = argv[i];
	assert_int_equal(posix_spawn_file_actions_init(&files), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&files, 0, in, O_RDONLY, 0), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(
				 &files, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600),
		0);
	assert_int_equal(posix_spawnp(&pid, "git", &files, NULL, (char *const *)full, env), 0);
	assert_int_equal(posix_spawn_file_actions_destroy(&files), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void git_fixture_init(struct git_fixture *g)
{
	static const char *const init[] = {"init", "-q", "--bare", "-b", "main", "repo.git", NULL};

	*g = (struct git_fixture){0};
	tmpdir_init(&g->tmp);
	(void)snprintf(g->repo, sizeof(g->repo), "%s", g->tmp.path);
	run_git(g, init, "/dev/null", "/dev/null");
	(void)tmpdir_path(&g->tmp, "repo.git", g->repo, sizeof(g->repo));
}

void git_fixture_fini(struct git_fixture *g)
{
	tmpdir_fini(&g->tmp);
}

void git_fixture_run(struct git_fixture *g, const char *const argv[], char *out, size_t cap)
{
	char path[300];
	FILE *f;

	run_git(g, argv, "/dev/null", tmpdir_path(&g->tmp, "output", path, sizeof(path)));
	f = fopen(path, "r");
	assert_non_null(f);
	if (!fgets(out, (int)cap, f))
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	assert_int_equal(fclose(f), 0);
}

/* Names in fast-import's quoted form, every byte in octal. */
static void write_path(FILE *f, const char *path)
{
	(void)fputc('"', f);
	for (const char *p = path; *p; p++)
		(void)fprintf(f, *p == '/' ? "/" : "\\%03o", (unsigned)(unsigned char)*p);
	(void)fputc('"', f);
}

static void write_file(FILE *f, const struct git_file *file)
{
	size_t len = file->len ? file->len : strlen(file->data);

	if (file->mode == 0160000) {
		(void)fprintf(f, "M 160000 %s ", (const char *)file->data);
		write_path(f, file->path);
		(void)fputc('\n', f);
		return;
	}
	(void)fprintf(f, "M %06o inline ", (unsigned)file->mode);
	write_path(f, file->path);
	(void)fprintf(f, "\ndata %zu\n", len);
	(void)fwrite(file->data, 1, len, f);
	(void)fputc('\n', f);
}

void git_fixture_commit(struct git_fixture *g, const char *ref, const struct git_file *files,
	unsigned count, char ret_commit[GIT_FIXTURE_HEX])
{
	const char *const import[] = {"fast-import", "--quiet", "--date-format=raw", NULL};
	const char *const list[] = {"for-each-ref", "--format=%(objectname)", ref, NULL};
	char path[300], old[GIT_FIXTURE_HEX];
	FILE *f = fopen(tmpdir_path(&g->tmp, "stream", path, sizeof(path)), "w");

	assert_non_null(f);
	git_fixture_run(g, list, old, sizeof(old));
	(void)fprintf(f,
		"commit %s\ncommitter Test <test@example.org> 1700000000 +0000\ndata 5\ntest\n\n",
		ref);
	if (old[0])
		(void)fprintf(f, "from %s\n", old);
	(void)fputs("deleteall\n", f);
	for (unsigned i = 0; i < count; i++)
		write_file(f, &files[i]);
	(void)fputs("\ndone\n", f);
	assert_int_equal(ferror(f), 0);
	assert_int_equal(fclose(f), 0);
	run_git(g, import, path, "/dev/null");
	git_fixture_run(g, list, ret_commit, GIT_FIXTURE_HEX);
	assert_int_equal(strlen(ret_commit), 40);
}
