/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back after a stop, after kill -9 and after damage, and what must not be left. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_journal.h"
#include "mount/mounts_internal.h"
#include "mounts_world.h"

#include <base/clock.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/overlay.h>
#include <service/node.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state)
{
	struct mounts_world *w = malloc(sizeof(*w));

	assert_non_null(w);
	world_init(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct mounts_world *w = *state;

	world_fini(w);
	free(w);
	return 0;
}

static void test_stop_and_start(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info before, after;
	uint64_t used;
	char path[400];

	world_open(w);
	world_create(w, "job", &before);
	world_write(world_path(&before, "src/new", path, sizeof(path)), "mine\n");
	assert_int_equal(unlink(world_path(&before, "README", path, sizeof(path))), 0);
	mount_info_fini(&before);
	assert_int_equal(world_get(w, "job", &before), 0);
	used = before.used_bytes;
	assert_true(used > 0);
	world_close(w);
	assert_false(world_exists(world_path(&before, "src", path, sizeof(path))));

	world_open(w);
	assert_int_equal(world_get(w, "job", &after), 0);
	assert_int_equal(after.state, MOUNT_READY);
	assert_string_equal(after.mount_id, before.mount_id);
	assert_string_equal(after.root, before.root);
	assert_int_equal(after.used_bytes, used);
	assert_int_equal(after.used_inodes, before.used_inodes);
	assert_true(after.sequence > before.sequence);
	world_expect_content(world_path(&after, "src/new", path, sizeof(path)), "mine\n");
	assert_false(world_exists(world_path(&after, "README", path, sizeof(path))));
	world_expect_content(world_path(&after, "src/main.c", path, sizeof(path)),
		"int main(void) { return 0; }\n");
	mount_info_fini(&after);
	world_create(w, "job", &after); /* the same request is still the same mount */
	assert_string_equal(after.mount_id, before.mount_id);
	mount_info_fini(&before);
	mount_info_fini(&after);
	assert_int_equal(world_delete(w, "job", NULL), 0);
	world_close(w);
}

/* In a child: two mounts, one of them bound, some writes, one deleted; then it waits to be killed.
 */
static void work_until_killed(struct mounts_world *w, int tell, const char *target)
{
	struct mount_info a, b, c;
	char path[400];

	world_open(w);
	world_create(w, "a", &a);
	world_write(world_path(&a, "written", path, sizeof(path)), "by a\n");
	assert_int_equal(world_try_create(w,
				 &(struct mount_request){
					 .job_id = "b", .mountpoint = target, .lease_seconds = 300},
				 &b, NULL),
		0);
	world_write(world_path(&b, "written", path, sizeof(path)), "by b\n");
	world_create(w, "c", &c);
	assert_int_equal(world_delete(w, "c", NULL), 0);
	assert_int_equal(write(tell, "x", 1), 1);
	for (;;)
		(void)pause();
}

static void kill_9(struct mounts_world *w, const char *target)
{
	int ready[2], status;
	pid_t child;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		work_until_killed(w, ready[1], target);
	(void)close(ready[1]);
	assert_int_equal(io_read_full(ready[0], &byte, 1), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	(void)close(ready[0]);
}

static void test_kill_9(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info a, b, c;
	char target[300], path[400];

	(void)tmpdir_path(&w->dir, "bound", target, sizeof(target));
	kill_9(w, target);
	world_open(w);
	assert_int_equal(mounts_ready_count(w->mounts), 2);
	assert_int_equal(world_get(w, "a", &a), 0);
	assert_int_equal(world_get(w, "b", &b), 0);
	assert_int_equal(world_get(w, "c", &c), -ENOENT);
	assert_int_equal(
		world_delete(w, "c", NULL), 0); /* the answer is repeated after a restart too */
	world_expect_content(world_path(&a, "written", path, sizeof(path)), "by a\n");
	(void)snprintf(path, sizeof(path), "%s/written", target);
	world_expect_content(path, "by b\n");
	assert_true(b.lease_expires_wall_ns > clock_wall_ns(&clock_system) + 200 * NS_PER_S);
	assert_int_equal(a.used_inodes, 1);
	mount_info_fini(&a);
	mount_info_fini(&b);
	assert_int_equal(world_delete(w, "a", NULL), 0);
	assert_int_equal(world_delete(w, "b", NULL), 0);
	assert_false(world_exists(target));
	world_expect_directories(w, 0);
	world_close(w);
}

/* A record like this one, and a workspace with something in it. Its number was given out last. */
static void leave_like(struct mounts_world *w, const char *job_id, struct mount_record r)
{
	struct mount_journal *j;
	struct err e = {0};
	char name[80], path[400];

	(void)snprintf(r.tenant, sizeof(r.tenant), "default");
	(void)snprintf(r.origin, sizeof(r.origin), "demo");
	assert_int_equal(node_uuid(r.mount_id), 0);
	(void)snprintf(r.job_id, sizeof(r.job_id), "%s", job_id);
	(void)snprintf(name, sizeof(name), "workspaces/%s/upper", r.mount_id);
	assert_int_equal(io_mkdirs(world_data(w, name, path, sizeof(path)), 0700), 0);
	(void)snprintf(name, sizeof(name), "workspaces/%s/upper/f", r.mount_id);
	world_write(world_data(w, name, path, sizeof(path)), "left");
	if (mount_journal_open(&j, world_data(w, "", path, sizeof(path)), NULL, &e))
		fail_msg("%s", err_message(&e));
	assert_int_equal(mount_journal_put(j, &r, JOURNAL_JOB_SET | JOURNAL_SERIAL), 0);
	mount_journal_close(j);
}

static void leave(struct mounts_world *w, const char *job_id, enum mount_state state)
{
	leave_like(w, job_id, (struct mount_record){.state = state, .serial = 1});
}

static void test_half_done_work_is_rolled_back_or_finished(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;
	char path[400];

	leave(w, "making", MOUNT_PROVISIONING);
	leave(w, "deleting", MOUNT_DELETING);
	leave(w, "expired", MOUNT_EXPIRED);
	assert_int_equal(
		io_mkdirs(world_data(w, "workspaces/nobodys/upper", path, sizeof(path)), 0700), 0);
	assert_int_equal(io_mkdirs(world_data(w, "trash/old/upper", path, sizeof(path)), 0700), 0);
	world_open(w);
	world_expect_directories(w, 0);
	assert_int_equal(mounts_ready_count(w->mounts), 0);
	assert_int_equal(world_delete(w, "making", NULL), -ENOENT); /* it never was */
	assert_int_equal(world_delete(w, "deleting", NULL), 0);
	assert_int_equal(world_delete(w, "expired", NULL), 0);
	world_create(w, "making", &info); /* its job id is free */
	mount_info_fini(&info);
	world_close(w);
}

static uint64_t create_serial(struct mounts_world *w, const char *job_id)
{
	struct mount_info info;
	struct stat st;

	world_create(w, job_id, &info);
	assert_int_equal(stat(info.root, &st), 0);
	mount_info_fini(&info);
	return st.st_ino >> OVL_LOCAL_BITS;
}

static void test_a_tenant_has_used_up_all_workspace_numbers(void **state)
{
	struct mounts_world *w = *state;

	struct mount_record r = {.state = MOUNT_DELETING, .serial = SERIAL_MAX - 2};

	leave_like(w, "early", r);
	world_open(w);
	assert_int_equal(create_serial(w, "a"), SERIAL_MAX - 1);
	assert_int_equal(create_serial(w, "b"), SERIAL_MAX);
	assert_int_equal(create_serial(w, "c"), 1);
	world_close(w);
	leave_like(w, "late", r); /* its row came last */
	world_open(w);
	assert_int_equal(mounts_ready_count(w->mounts), 3);
	assert_int_equal(create_serial(w, "d"), 2);
	world_close(w);
}

/* Killed after the place of a mount was sealed, once or again, and before anything was mounted on
 * it, or after that was taken away. */
static void test_a_seal_without_its_mount_is_taken_away(void **state)
{
	static const enum mount_state states[] = {
		MOUNT_PROVISIONING, MOUNT_DELETING, MOUNT_EXPIRED};
	struct mounts_world *w = *state;
	char target[300], path[400];

	(void)tmpdir_path(&w->dir, "bound", target, sizeof(target));
	for (unsigned i = 0; i < 3; i++) {
		struct mount_record r = {.state = states[i],
			.serial = 1,
			.mountpoint = target,
			.mountpoint_made = true};

		assert_int_equal(mkdir(target, 0755), 0);
		for (unsigned seals = 0; seals <= i; seals++)
			assert_int_equal(
				mount("coppice-seal", target, "tmpfs", 0, "nr_inodes=1"), 0);
		(void)snprintf(path, sizeof(path), "%s/lost", target);
		assert_int_equal(mkdir(path, 0755), -1);
		assert_int_equal(errno, ENOSPC);
		leave_like(w, "job", r);
		world_open(w);
		assert_false(world_exists(target));
		world_close(w);
	}
}

static void test_lost_workspace_fails_alone(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info lost, good;
	char name[80], path[400];

	world_open(w);
	world_create(w, "lost", &lost);
	world_create(w, "good", &good);
	world_close(w);
	(void)snprintf(name, sizeof(name), "workspaces/%s", lost.mount_id);
	assert_int_equal(io_remove_tree(AT_FDCWD, world_data(w, name, path, sizeof(path))), 0);
	mount_info_fini(&lost);
	mount_info_fini(&good);

	world_open(w);
	assert_int_equal(world_get(w, "lost", &lost), 0);
	assert_int_equal(lost.state, MOUNT_FAILED);
	assert_non_null(strstr(lost.reason, "is not there"));
	assert_int_equal(world_get(w, "good", &good), 0);
	assert_int_equal(good.state, MOUNT_READY);
	mount_info_fini(&good);
	world_create(w, "lost", &good); /* the job id can be used again */
	assert_string_not_equal(good.mount_id, lost.mount_id);
	mount_info_fini(&good);
	mount_info_fini(&lost);
	world_close(w);
}

static void test_repaired_workspace_comes_back(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;
	char name[80], path[400], aside[400];

	world_open(w);
	world_create(w, "job", &info);
	world_write(world_path(&info, "kept", path, sizeof(path)), "still here\n");
	world_close(w);
	(void)snprintf(name, sizeof(name), "workspaces/%s", info.mount_id);
	(void)world_data(w, name, path, sizeof(path));
	(void)world_data(w, "aside", aside, sizeof(aside));
	assert_int_equal(rename(path, aside), 0);
	mount_info_fini(&info);
	world_open(w);
	assert_int_equal(world_get(w, "job", &info), 0);
	assert_int_equal(info.state, MOUNT_FAILED);
	mount_info_fini(&info);
	world_close(w);
	assert_int_equal(rename(aside, path), 0);
	world_open(w);
	assert_int_equal(world_get(w, "job", &info), 0);
	assert_int_equal(info.state, MOUNT_READY);
	world_expect_content(world_path(&info, "kept", path, sizeof(path)), "still here\n");
	mount_info_fini(&info);
	world_close(w);
}

/* What is cached can be read, what is not is an error: never a missing file. */
static void test_mount_comes_back_without_its_origin(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;
	struct err e = {0};
	char path[400], aside[400];
	struct stat st;

	world_open(w);
	world_create(w, "job", &info);
	world_expect_content(world_path(&info, "README", path, sizeof(path)), "read me\n");
	assert_int_equal(stat(world_path(&info, "src/main.c", path, sizeof(path)), &st), 0);
	mount_info_fini(&info);
	world_close(w);
	(void)snprintf(aside, sizeof(aside), "%s.gone", w->git.repo);
	assert_int_equal(rename(w->git.repo, aside), 0);
	world_open(w);
	assert_int_equal(world_get(w, "job", &info), 0);
	assert_int_equal(info.state, MOUNT_READY);
	world_expect_content(world_path(&info, "README", path, sizeof(path)), "read me\n");
	assert_int_equal(stat(world_path(&info, "src/main.c", path, sizeof(path)), &st), 0);
	assert_int_equal(st.st_size, 29);
	assert_true(io_read_file(AT_FDCWD, path, 100, &(char *){NULL}, &(size_t){0}) == -EIO);
	mount_info_fini(&info);
	assert_int_equal(world_try_create(w, &(struct mount_request){.job_id = "new"}, &info, &e),
		-EHOSTUNREACH);
	assert_string_equal(e.reason, "ORIGIN_UNAVAILABLE");
	assert_int_equal(rename(aside, w->git.repo), 0);
	world_create(w, "new", &info); /* it is back, without a restart */
	mount_info_fini(&info);
	world_close(w);
}

static void test_tenant_that_is_gone_loses_nothing(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;
	char path[400];

	world_open(w);
	world_create(w, "job", &info);
	world_write(world_path(&info, "kept", path, sizeof(path)), "still here\n");
	mount_info_fini(&info);
	world_close(w);
	(void)snprintf(w->tenants_yaml, sizeof(w->tenants_yaml), "tenants: [{name: other}]\n");
	world_open(w);
	assert_int_equal(world_get(w, "job", &info), 0);
	assert_int_equal(info.state, MOUNT_FAILED);
	assert_non_null(strstr(info.reason, "not in the configuration"));
	mount_info_fini(&info);
	world_close(w);
	w->tenants_yaml[0] = '\0';
	world_open(w);
	assert_int_equal(world_get(w, "job", &info), 0);
	world_expect_content(world_path(&info, "kept", path, sizeof(path)), "still here\n");
	mount_info_fini(&info);
	world_close(w);
}

/* Somebody runs umount on our mount, or aborts its connection. */
static void test_unmounted_session_is_revived(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info a, b, now;
	char target[300], path[400];

	(void)tmpdir_path(&w->dir, "bound", target, sizeof(target));
	world_open(w);
	world_create(w, "a", &a);
	assert_int_equal(
		world_try_create(
			w, &(struct mount_request){.job_id = "b", .mountpoint = target}, &b, NULL),
		0);
	world_write(world_path(&a, "written", path, sizeof(path)), "by a\n");
	(void)snprintf(path, sizeof(path), "%s/run/mnt/default", w->dir.path);
	assert_int_equal(umount2(target, MNT_DETACH), 0);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	for (unsigned i = 0; i < 500; i++) { /* until the kernel has told */
		mount_keep_house(w->mounts);
		if (world_exists(world_path(&a, "written", path, sizeof(path))))
			break;
		(void)nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	}
	world_expect_content(path, "by a\n");
	(void)snprintf(path, sizeof(path), "%s/README", target);
	world_expect_content(path, "read me\n");
	assert_int_equal(world_get(w, "a", &now), 0);
	assert_int_equal(now.state, MOUNT_READY);
	assert_int_equal(now.used_inodes, 1);
	mount_info_fini(&a);
	mount_info_fini(&b);
	mount_info_fini(&now);
	world_close(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stop_and_start),
		TEST(test_kill_9),
		TEST(test_half_done_work_is_rolled_back_or_finished),
		TEST(test_a_tenant_has_used_up_all_workspace_numbers),
		TEST(test_a_seal_without_its_mount_is_taken_away),
		TEST(test_lost_workspace_fails_alone),
		TEST(test_repaired_workspace_comes_back),
		TEST(test_mount_comes_back_without_its_origin),
		TEST(test_tenant_that_is_gone_loses_nothing),
		TEST(test_unmounted_session_is_revived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
