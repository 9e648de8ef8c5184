/* SPDX-License-Identifier: Apache-2.0 */
/* See mounts_world.h. The test's main thread only: it may touch the mounts, because other threads
 * answer for them. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mounts_world.h"

#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>
#include <base/metrics.h>
#include <dirent.h>
#include <fcntl.h>
#include <fuse/session.h>
#include <service/config.h>
#include <service/origins.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct git_file files[] = {
	{"README", 0100644, "read me\n", 0},
	{"src/main.c", 0100644, "int main(void) { return 0; }\n", 0},
	{"src/deep/run.sh", 0100755, "#!/bin/sh\n", 0},
	{"link", 0120000, "src/main.c", 0},
};

void world_init(struct mounts_world *w)
{
	char commit[GIT_FIXTURE_HEX], out[256];

	*w = (struct mounts_world){0};
	tmpdir_init(&w->dir);
	git_fixture_init(&w->git);
	git_fixture_commit(
		&w->git, "refs/heads/main", files, sizeof(files) / sizeof(files[0]), commit);
	git_fixture_run(&w->git,
		(const char *const[]){"symbolic-ref", "HEAD", "refs/heads/main", NULL}, out,
		sizeof(out));
}

static void expect_no_mounts(const struct mounts_world *w)
{
	char *text;
	size_t len;

	assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, &len), 0);
	if (strstr(text, w->dir.path))
		fail_msg("a mount is left:\n%s", strstr(text, w->dir.path));
	free(text);
}

void world_fini(struct mounts_world *w)
{
	expect_no_mounts(w);
	git_fixture_fini(&w->git);
	tmpdir_fini(&w->dir);
}

static void load_config(struct mounts_world *w)
{
	char path[300], text[2048];
	struct err e = {0};

	(void)tmpdir_path(&w->dir, "c.yaml", path, sizeof(path));
	(void)snprintf(text, sizeof(text),
		"data_dir: %s/data\nrun_dir: %s/run\norigins:\n  - {name: demo, type: git, url: "
		"%s}\n%s",
		w->dir.path, w->dir.path, w->git.repo, w->tenants_yaml);
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false), 0);
	if (cfg_load(&w->cfg, path, NULL, 0, &e))
		fail_msg("%s", err_message(&e));
	assert_int_equal(io_mkdirs(w->cfg->data_dir, 0700), 0);
	assert_int_equal(io_mkdirs(w->cfg->run_dir, 0755), 0);
}

void world_open(struct mounts_world *w)
{
	struct storage_config storage = {
		.memory_bytes = 8 << 20, .disk_bytes = 64 << 20, .clock = &clock_system};
	struct sess_farm_config farm = {.workers = 2, .clock = &clock_system};
	struct mounts_config config = {.clock = &clock_system};
	struct err e = {0};

	log_setup(LOG_ERROR, LOG_LOGFMT, STDERR_FILENO);
	load_config(w);
	w->metrics = metrics_new();
	assert_non_null(w->metrics);
	assert_int_equal(tenants_new(&w->tenants, w->cfg, &e), 0);
	assert_int_equal(origin_git_init(&e), 0);
	storage.data_dir = w->cfg->data_dir;
	storage.metrics = farm.metrics = w->metrics;
	if (storage_open(&w->storage, &storage, &e))
		fail_msg("%s", err_message(&e));
	origins_open(w->storage, w->cfg, w->metrics);
	w->mounter = farm.mounter = sess_mounter_local_new();
	assert_non_null(w->mounter);
	if (sess_farm_new(&w->farm, &farm, &e))
		fail_msg("%s", err_message(&e));
	config = (struct mounts_config){
		w->cfg, w->storage, w->tenants, w->farm, &clock_system, w->metrics};
	if (mounts_open(&w->mounts, &config, &e))
		fail_msg("%s", err_message(&e));
}

void world_close(struct mounts_world *w)
{
	w->mounts = mounts_close(w->mounts);
	w->farm = sess_farm_free(w->farm);
	w->mounter = sess_mounter_free(w->mounter);
	w->storage = storage_close(w->storage);
	origin_git_fini();
	w->tenants = tenants_free(w->tenants);
	w->metrics = metrics_free(w->metrics);
	w->cfg = cfg_free(w->cfg);
}

int world_try_create(struct mounts_world *w, const struct mount_request *rq, struct mount_info *ret,
	struct err *e)
{
	struct mount_request request = *rq;

	if (!request.tenant)
		request.tenant = "default";
	return mounts_create(
		w->mounts, &request, NULL, clock_after(&clock_system, 20 * NS_PER_S), ret, e);
}

void world_create(struct mounts_world *w, const char *job_id, struct mount_info *ret)
{
	struct err e = {0};

	if (world_try_create(w, &(struct mount_request){.job_id = job_id}, ret, &e))
		fail_msg("%s", err_message(&e));
}

int world_delete(struct mounts_world *w, const char *job_id, struct err *e)
{
	const struct mount_key key = {.job_id = job_id, .tenant = "default"};
	struct mount_info info = {0};
	int err =
		mounts_delete(w->mounts, &key, clock_after(&clock_system, 20 * NS_PER_S), &info, e);

	if (!err) {
		assert_int_equal(info.state, MOUNT_DELETED);
		mount_info_fini(&info);
	}
	return err;
}

int world_get(struct mounts_world *w, const char *job_id, struct mount_info *ret)
{
	const struct mount_key key = {.job_id = job_id, .tenant = "default"};

	return mounts_get(w->mounts, &key, ret, NULL);
}

const char *world_path(const struct mount_info *info, const char *name, char *buf, size_t cap)
{
	assert_true(snprintf(buf, cap, "%s/%s", info->root, name) < (int)cap);
	return buf;
}

void world_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

void world_expect_content(const char *path, const char *text)
{
	char *have;
	size_t len;

	if (io_read_file(AT_FDCWD, path, 1 << 20, &have, &len))
		fail_msg("cannot read %s", path);
	assert_string_equal(have, text);
	free(have);
}

bool world_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

const char *world_data(const struct mounts_world *w, const char *name, char *buf, size_t cap)
{
	assert_true(snprintf(buf, cap, "%s/data/%s", w->dir.path, name) < (int)cap);
	return buf;
}

static unsigned count_entries(struct mounts_world *w, const char *name)
{
	char path[400];
	DIR *dir = opendir(world_data(w, name, path, sizeof(path)));
	unsigned count = 0;

	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	assert_int_equal(closedir(dir), 0);
	return count;
}

void world_expect_directories(struct mounts_world *w, unsigned count)
{
	unsigned have = 0;

	for (unsigned i = 0; i < 1000;
		i++) { /* the remover is another thread without an event to wait on */
		have = count_entries(w, "workspaces") + count_entries(w, "trash");
		if (have == count)
			return;
		(void)nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	}
	fail_msg("%u directories of workspaces instead of %u", have, count);
}
