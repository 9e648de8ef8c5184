/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, finding, changing, watching and deleting mounts; everything refused that must be;
 * nothing left behind. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mounts_world.h"

#include <base/cancel.h>
#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state)
{
	struct mounts_world *w = malloc(sizeof(*w));

	assert_non_null(w);
	world_init(w);
	world_open(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct mounts_world *w = *state;

	world_close(w);
	world_fini(w);
	free(w);
	return 0;
}

static void test_a_job_works_in_its_mount(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info, now;
	char path[400], root[400];

	world_create(w, "job", &info);
	assert_int_equal(info.state, MOUNT_READY);
	assert_int_equal(strlen(info.commit), 40);
	(void)snprintf(root, sizeof(root), "%s/run/mnt/default/job", w->dir.path);
	assert_string_equal(info.root, root);
	world_expect_content(world_path(&info, "README", path, sizeof(path)), "read me\n");
	world_expect_content(
		world_path(&info, "link", path, sizeof(path)), "int main(void) { return 0; }\n");
	world_write(world_path(&info, "src/new", path, sizeof(path)), "mine\n");
	world_expect_content(path, "mine\n");
	assert_int_equal(world_get(w, "job", &now), 0);
	assert_true(now.used_bytes > 0 && now.used_inodes > 0);
	assert_true(now.blobs_fetched > 0);
	mount_info_fini(&now);
	assert_int_equal(world_delete(w, "job", NULL), 0);
	assert_false(world_exists(root));
	assert_int_equal(world_get(w, "job", &now), -ENOENT);
	assert_int_equal(world_delete(w, "job", NULL), 0); /* again */
	world_expect_directories(w, 0);
	mount_info_fini(&info);
}

static void test_the_same_request_is_the_same_mount(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info a, b;
	struct err e = {0};

	world_create(w, "job", &a);
	world_create(w, "job", &b);
	assert_string_equal(a.mount_id, b.mount_id);
	mount_info_fini(&b);
	assert_int_equal(world_try_create(w,
				 &(struct mount_request){.job_id = "job", .path = "src"}, &b, &e),
		-EEXIST);
	assert_string_equal(e.reason, "JOB_ID_IN_USE");
	assert_int_equal(world_delete(w, "job", NULL), 0);
	assert_int_equal(world_try_create(w,
				 &(struct mount_request){.job_id = "job", .path = "src"}, &b, &e),
		0);
	assert_string_not_equal(a.mount_id, b.mount_id);
	mount_info_fini(&a);
	mount_info_fini(&b);
}

struct twin {
	struct mounts_world *w;
	pthread_t thread;
	int err;
	struct mount_info info;
};

static void *create_twin(void *arg)
{
	struct twin *t = arg;

	t->err = world_try_create(t->w, &(struct mount_request){.job_id = "twin"}, &t->info, NULL);
	return NULL;
}

static void test_concurrent_twins_share_one_creation(void **state)
{
	struct mounts_world *w = *state;
	struct twin twins[8] = {0};

	for (unsigned i = 0; i < 8; i++) {
		twins[i].w = w;
		assert_int_equal(pthread_create(&twins[i].thread, NULL, create_twin, &twins[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(twins[i].thread, NULL), 0);
		assert_int_equal(twins[i].err, 0);
		assert_string_equal(twins[i].info.mount_id, twins[0].info.mount_id);
	}
	for (unsigned i = 0; i < 8; i++)
		mount_info_fini(&twins[i].info);
	assert_int_equal(mounts_ready_count(w->mounts), 1);
	world_expect_directories(w, 1);
}

static void expect_refused(
	struct mounts_world *w, const struct mount_request *rq, int err, const char *reason)
{
	struct mount_info info;
	struct err e = {0};

	assert_int_equal(world_try_create(w, rq, &info, &e), err);
	assert_string_equal(err_reason(&e), reason);
	assert_true(e.message[0] != '\0');
}

static void test_bad_requests_say_what_is_wrong(void **state)
{
	struct mounts_world *w = *state;

	expect_refused(w, &(struct mount_request){.job_id = "j", .origin = "nope"}, -ENOENT,
		"ORIGIN_NOT_FOUND");
	expect_refused(w, &(struct mount_request){.job_id = "j", .revision = "nope"}, -ENOENT,
		"REVISION_NOT_FOUND");
	expect_refused(w, &(struct mount_request){.job_id = "j", .path = "nope"}, -ENOENT,
		"PATH_NOT_FOUND");
	expect_refused(w, &(struct mount_request){.job_id = "j", .path = "README"}, -ENOTDIR,
		"PATH_NOT_A_DIRECTORY");
	expect_refused(w, &(struct mount_request){.job_id = "j", .tenant = "nobody"}, -ENOENT,
		"TENANT_NOT_FOUND");
	expect_refused(w, &(struct mount_request){.job_id = "j/k"}, -EINVAL, "INVALID_FIELD");
	world_expect_directories(w, 0);
	assert_int_equal(mounts_ready_count(w->mounts), 0);
}

static void test_sub_directory_and_read_only(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;
	char path[400];

	assert_int_equal(
		world_try_create(w,
			&(struct mount_request){.job_id = "j", .path = "/src/", .read_only = true},
			&info, NULL),
		0);
	assert_string_equal(info.path, "src");
	world_expect_content(
		world_path(&info, "main.c", path, sizeof(path)), "int main(void) { return 0; }\n");
	assert_true(open(world_path(&info, "x", path, sizeof(path)), O_CREAT | O_WRONLY, 0600) < 0);
	assert_int_equal(errno, EROFS);
	mount_info_fini(&info);
}

static void test_quota_is_enforced_and_changeable(void **state)
{
	struct mounts_world *w = *state;
	const struct mount_key key = {.job_id = "q", .tenant = "default"};
	const struct mount_update more = {.fields = MOUNT_UPDATE_BYTES, .quota_bytes = 10 << 20};
	static char block[65536];
	struct mount_info info, now;
	struct statvfs st;
	char path[400];
	int fd;

	assert_int_equal(
		world_try_create(w,
			&(struct mount_request){
				.job_id = "q", .quota_bytes = 100 << 10, .quota_inodes = 50},
			&info, NULL),
		0);
	fd = open(
		world_path(&info, "big", path, sizeof(path)), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	assert_true(write(fd, block, sizeof(block)) < (ssize_t)sizeof(block));
	assert_int_equal(write(fd, block, sizeof(block)), -1);
	assert_int_equal(errno, EDQUOT);
	assert_int_equal(mounts_update(w->mounts, &key, &more, &now, NULL), 0);
	assert_int_equal(now.quota_bytes, 10 << 20);
	assert_int_equal(now.quota_inodes, 50);
	mount_info_fini(&now);
	assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(close(fd), 0);
	assert_int_equal(statvfs(info.root, &st), 0);
	assert_int_equal(st.f_blocks * st.f_frsize, 10 << 20);
	mount_info_fini(&info);
}

static void test_mountpoint(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info, other;
	struct err e = {0};
	char target[300], inside[400], link[300], path[400];

	(void)tmpdir_path(&w->dir, "here", target, sizeof(target));
	assert_int_equal(
		world_try_create(
			w, &(struct mount_request){.job_id = "m", .mountpoint = target}, &info, &e),
		0);
	(void)snprintf(inside, sizeof(inside), "%s/README", target);
	world_expect_content(inside, "read me\n");
	world_write(world_path(&info, "both", path, sizeof(path)), "x");
	(void)snprintf(inside, sizeof(inside), "%s/both", target);
	world_expect_content(inside, "x");
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = target}, -EBUSY,
		"MOUNTPOINT_IN_USE");
	(void)snprintf(inside, sizeof(inside), "%s/src", target);
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = inside}, -EBUSY,
		"MOUNTPOINT_IN_USE");
	assert_int_equal(world_delete(w, "m", NULL), 0);
	assert_false(world_exists(target));
	assert_int_equal(mkdir(target, 0700), 0); /* one that was there stays */
	assert_int_equal(
		world_try_create(w, &(struct mount_request){.job_id = "m", .mountpoint = target},
			&other, &e),
		0);
	assert_int_equal(world_delete(w, "m", NULL), 0);
	assert_int_equal(rmdir(target), 0);
	assert_int_equal(symlink(w->dir.path, tmpdir_path(&w->dir, "link", link, sizeof(link))), 0);
	(void)snprintf(inside, sizeof(inside), "%s/x", link);
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = inside}, -EINVAL,
		"INVALID_FIELD");
	(void)snprintf(inside, sizeof(inside), "%s/run/x", w->dir.path);
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = inside}, -EINVAL,
		"INVALID_FIELD");
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = w->dir.path},
		-ENOTEMPTY, "MOUNTPOINT_NOT_EMPTY");
	expect_refused(w, &(struct mount_request){.job_id = "n", .mountpoint = "relative"}, -EINVAL,
		"INVALID_FIELD");
	assert_int_equal(unlink(link), 0);
	mount_info_fini(&info);
	mount_info_fini(&other);
}

static void test_cancelled_creation_leaves_nothing(void **state)
{
	struct mounts_world *w = *state;
	struct mount_request rq = {.tenant = "default", .job_id = "c"};
	struct cancel *cancel = cancel_new();
	struct mount_info info;

	assert_non_null(cancel);
	cancel_fire(cancel);
	assert_int_equal(mounts_create(w->mounts, &rq, cancel, clock_after(&clock_system, NS_PER_S),
				 &info, NULL),
		-ECANCELED);
	assert_int_equal(mounts_create(w->mounts, &rq, NULL, 1, &info, NULL), -ETIMEDOUT);
	assert_int_equal(world_get(w, "c", &info), -ENOENT);
	world_expect_directories(w, 0);
	cancel_unref(cancel);
}

static void test_draining_refuses_new_mounts_only(void **state)
{
	struct mounts_world *w = *state;
	struct mount_info info;

	world_create(w, "old", &info);
	mounts_drain(w->mounts, true);
	expect_refused(w, &(struct mount_request){.job_id = "new"}, -ESHUTDOWN, "DRAINING");
	assert_int_equal(world_delete(w, "old", NULL), 0);
	mount_info_fini(&info);
}

struct events {
	unsigned present, synced, changed, removed;
	enum mount_state last_state;
	uint64_t last;
};

static void see(void *arg, const struct mount_event *event)
{
	struct events *s = arg;

	s->present += event->kind == MOUNT_EVENT_PRESENT;
	s->synced += event->kind == MOUNT_EVENT_SYNCED;
	s->changed += event->kind == MOUNT_EVENT_CHANGED;
	s->removed += event->kind == MOUNT_EVENT_REMOVED;
	if (event->sequence) {
		assert_true(event->sequence > s->last || event->kind == MOUNT_EVENT_SYNCED);
		s->last = event->sequence;
	}
	if (event->mount)
		s->last_state = event->mount->state;
}

static void test_watching_and_coming_back(void **state)
{
	struct mounts_world *w = *state;
	struct events first = {0}, again = {0};
	struct mount_watch *watch;
	struct mount_info a, b;

	world_create(w, "a", &a);
	assert_int_equal(mounts_watch(w->mounts, NULL, 0, see, &first, &watch), 0);
	assert_int_equal(first.present, 1);
	assert_int_equal(first.synced, 1);
	world_create(w, "b", &b);
	assert_int_equal(first.changed, 2); /* PROVISIONING, READY */
	assert_int_equal(first.last_state, MOUNT_READY);
	mounts_unwatch(w->mounts, watch);
	assert_int_equal(world_delete(w, "b", NULL), 0);
	assert_int_equal(first.removed, 0);
	assert_int_equal(mounts_watch(w->mounts, NULL, first.last, see, &again, &watch), 0);
	assert_int_equal(again.present + again.synced, 0);
	assert_int_equal(again.changed, 1); /* DELETING */
	assert_int_equal(again.removed, 1);
	assert_int_equal(again.last_state, MOUNT_DELETED);
	mounts_unwatch(w->mounts, watch);
	mount_info_fini(&a);
	mount_info_fini(&b);
}

static void test_pages_of_a_list(void **state)
{
	struct mounts_world *w = *state;
	struct mount_filter filter = {.page_size = 2};
	char token[64] = "", job[16];
	unsigned seen = 0;

	for (unsigned i = 0; i < 5; i++) {
		struct mount_info info;

		(void)snprintf(job, sizeof(job), "j%u", i);
		world_create(w, job, &info);
		mount_info_fini(&info);
	}
	assert_int_equal(world_delete(w, "j1", NULL), 0);
	do {
		struct mount_info *infos;
		unsigned count;
		struct err e = {0};
		char next[64];

		filter.page_token = token;
		assert_int_equal(mounts_list(w->mounts, &filter, &infos, &count, next, &e), 0);
		assert_true(count <= 2);
		for (unsigned i = 0; i < count; i++, seen++)
			mount_info_fini(&infos[i]);
		free(infos);
		(void)snprintf(token, sizeof(token), "%s", next);
	} while (token[0]);
	assert_int_equal(seen, 4);
}

static void test_lease_runs_out_unless_renewed(void **state)
{
	struct mounts_world *w = *state;
	const struct mount_key kept = {.job_id = "kept", .tenant = "default"};
	struct mount_info info;
	struct err e = {0};

	assert_int_equal(
		world_try_create(w, &(struct mount_request){.job_id = "kept", .lease_seconds = 5},
			&info, &e),
		0);
	mount_info_fini(&info);
	assert_int_equal(
		world_try_create(w, &(struct mount_request){.job_id = "lost", .lease_seconds = 5},
			&info, &e),
		0);
	assert_true(info.lease_expires_wall_ns > info.created_wall_ns + 4 * NS_PER_S);
	mount_info_fini(&info);
	for (unsigned i = 0; i < 600 && world_get(w, "lost", &info) == 0;
		i++) { /* an event of the clock */
		mount_info_fini(&info);
		assert_int_equal(mounts_renew(w->mounts, &kept, 0, &info, &e), 0);
		mount_info_fini(&info);
		(void)nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
	}
	assert_int_equal(world_get(w, "lost", &info), -ENOENT);
	assert_int_equal(world_get(w, "kept", &info), 0);
	mount_info_fini(&info);
	world_expect_directories(w, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_job_works_in_its_mount),
		TEST(test_the_same_request_is_the_same_mount),
		TEST(test_concurrent_twins_share_one_creation),
		TEST(test_bad_requests_say_what_is_wrong),
		TEST(test_sub_directory_and_read_only),
		TEST(test_quota_is_enforced_and_changeable),
		TEST(test_mountpoint),
		TEST(test_cancelled_creation_leaves_nothing),
		TEST(test_draining_refuses_new_mounts_only),
		TEST(test_watching_and_coming_back),
		TEST(test_pages_of_a_list),
		TEST(test_lease_runs_out_unless_renewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
