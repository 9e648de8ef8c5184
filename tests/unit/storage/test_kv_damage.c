// SPDX-License-Identifier: Apache-2.0
/* storage/kv: damaged, foreign and old environments are found before they are mapped; a killed
 * process loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/err.h"
#include "base/io.h"
#include "kv/kv_internal.h"
#include "storage/kv.h"
#include "tmpdir.h"

struct world {
	struct tmpdir tmp;
	char dir[300], data[300], mark[300];
	struct kv_config config;
};

static int setup(void **state)
{
	static struct world w;

	w = (struct world){0};
	tmpdir_init(&w.tmp);
	(void)tmpdir_path(&w.tmp, "store", w.dir, sizeof(w.dir));
	(void)tmpdir_path(&w.tmp, "store/data.mdb", w.data, sizeof(w.data));
	(void)tmpdir_path(&w.tmp, "store/state", w.mark, sizeof(w.mark));
	w.config = (struct kv_config){
		.dir = w.dir,
		.mode = KV_CACHE,
		.max_bytes = 16 << 20,
		.format_version = 1,
		.tables = {"one"},
		.name = "test",
	};
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	tmpdir_fini(&w->tmp);
	return 0;
}

static struct kv *open_as(struct world *w, enum kv_mode mode, int want, bool *ret_set_aside)
{
	struct kv *kv = NULL;
	struct err e = {0};

	w->config.mode = mode;
	assert_int_equal(kv_open(&kv, &w->config, ret_set_aside, &e), want);
	if (want < 0)
		assert_non_null(strstr(err_message(&e), w->dir));
	return kv;
}

static int put(struct kv *kv, uint32_t n)
{
	char value[100];
	const struct kv_op op = {0, &n, sizeof(n), value, sizeof(value), false};

	memset(value, (int)n & 0xff, sizeof(value));
	return kv_write(kv, &op, 1);
}

static uint64_t count(struct kv *kv)
{
	struct kv_txn *txn;
	uint64_t n;

	assert_int_equal(kv_read_begin(kv, &txn), 0);
	assert_int_equal(kv_count(txn, 0, &n), 0);
	kv_read_end(txn);
	return n;
}

static void fill(struct world *w, enum kv_mode mode, uint32_t n)
{
	struct kv *kv = open_as(w, mode, 0, NULL);

	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(put(kv, i), 0);
	kv_close(kv);
}

static unsigned set_aside_count(struct world *w)
{
	DIR *d = opendir(w->tmp.path);
	unsigned n = 0;

	assert_non_null(d);
	for (const struct dirent *de; (de = readdir(d));)
		n += strncmp(de->d_name, "store.damaged-", 14) == 0;
	closedir(d);
	return n;
}

/* A cache must come up empty and usable, with the damaged one beside it. */
static void expect_set_aside(struct world *w)
{
	bool set_aside = false;
	struct kv *kv = open_as(w, KV_CACHE, 0, &set_aside);

	assert_true(set_aside);
	assert_int_equal(count(kv), 0);
	assert_int_equal(put(kv, 7), 0);
	assert_int_equal(count(kv), 1);
	kv_close(kv);
	assert_int_equal(set_aside_count(w), 1);
}

static void overwrite(const char *path, uint64_t offset, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_pwrite_full(fd, bytes, len, offset), 0);
	close(fd);
}

static void test_truncated_file(void **state)
{
	static const int keep_pages[] = {1, 2, 3, 5};
	struct world *w = *state;

	for (unsigned i = 0; i < 4; i++) {
		fill(w, KV_CACHE, 500);
		assert_int_equal(truncate(w->data, keep_pages[i] * 4096), 0);
		expect_set_aside(w); /* each time the older one goes */
	}
}

static void test_garbage(void **state)
{
	struct world *w = *state;
	uint8_t garbage[8192];

	fill(w, KV_CACHE, 100);
	assert_int_equal(io_random(garbage, sizeof(garbage)), 0);
	overwrite(w->data, 0, garbage, sizeof(garbage));
	expect_set_aside(w);
}

/* Reads everything; -EIO as soon as anything is damaged. */
static int read_all(struct kv *kv, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct kv_txn *txn;
		const void *value;
		size_t len;
		int got;

		assert_int_equal(kv_read_begin(kv, &txn), 0);
		got = kv_get(txn, 0, &i, sizeof(i), &value, &len);
		assert_true(got == 0 || got == -EIO);
		if (got < 0)
			r = got;
		kv_read_end(txn);
	}
	return r;
}

/*
 * Wherever a page has been zeroed (a hole after a crash), opening and reading ends in an error or
 * in data, never in a signal; and what was once found damaged is set aside at the next start.
 */
static void test_zeroed_pages_never_kill(void **state)
{
	static const uint8_t zeros[4096];
	struct world *w = *state;
	unsigned found = 0;

	for (unsigned page = 0; page < 12; page++) {
		bool set_aside = false, again = false;
		struct kv *kv;
		int r;

		assert_int_equal(io_remove_tree(AT_FDCWD, w->dir), 0);
		fill(w, KV_CACHE, 300);
		overwrite(w->data, page * 4096, zeros, sizeof(zeros));
		kv = open_as(w, KV_CACHE, 0, &set_aside);
		r = read_all(kv, 300);
		kv_close(kv);
		kv = open_as(w, KV_CACHE, 0, &again);
		assert_int_equal(again, r == -EIO);
		assert_int_equal(read_all(kv, 300), 0);
		kv_close(kv);
		found += set_aside || again;
	}
	assert_true(found >= 6);
}

static void test_other_format_version(void **state)
{
	struct world *w = *state;

	fill(w, KV_CACHE, 10);
	w->config.format_version = 2;
	expect_set_aside(w);
}

static void test_durable_is_never_moved(void **state)
{
	struct world *w = *state;
	struct kv *kv;

	fill(w, KV_DURABLE, 10);
	w->config.format_version = 2;
	(void)open_as(w, KV_DURABLE, -EPROTONOSUPPORT, NULL);
	w->config.format_version = 1;
	kv = open_as(w, KV_DURABLE, 0, NULL);
	assert_int_equal(count(kv), 10);
	kv_close(kv);
	assert_int_equal(truncate(w->data, 8192), 0);
	(void)open_as(w, KV_DURABLE, -EIO, NULL);
	assert_int_equal(set_aside_count(w), 0);
}

static void set_mark(struct world *w, const char *text)
{
	assert_int_equal(io_write_file(AT_FDCWD, w->mark, text, strlen(text), 0600, false), 0);
}

/* What the machine's crash leaves: "open", and another boot id. */
static void test_machine_crash_distrusts_a_cache(void **state)
{
	struct world *w = *state;
	struct kv *kv;

	fill(w, KV_CACHE, 10);
	set_mark(w, "boot=00000000-0000-0000-0000-000000000000 state=clean kills=0\n");
	kv = open_as(w, KV_CACHE, 0, NULL);
	assert_int_equal(count(kv), 10); /* closed cleanly under another boot */
	kv_close(kv);
	set_mark(w, "boot=00000000-0000-0000-0000-000000000000 state=open kills=0\n");
	expect_set_aside(w);
	fill(w, KV_CACHE, 10);
	set_mark(w, "nonsense\n");
	expect_set_aside(w);
	fill(w, KV_CACHE, 10);
	assert_int_equal(unlink(w->mark), 0);
	expect_set_aside(w);
}

/* A child that writes, tells how far it is, and is killed. Nothing that was acknowledged may be
 * missing. */
static void kill_in_mid_write(struct world *w, enum kv_mode mode, uint32_t enough)
{
	int fds[2], status;
	uint32_t acknowledged = 0;
	struct kv *kv;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = {0};

		w->config.mode = mode;
		if (kv_open(&kv, &w->config, NULL, &e) < 0)
			_exit(1);
		for (uint32_t i = 0; put(kv, i) == 0; i++)
			if (write(fds[1], &i, sizeof(i)) != sizeof(i))
				break;
		_exit(2);
	}
	close(fds[1]);
	while (acknowledged < enough &&
		read(fds[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged))
		;
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fds[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged))
		;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(acknowledged >= enough);
	kv = open_as(w, mode, 0, NULL);
	assert_true(count(kv) > acknowledged);
	assert_int_equal(put(kv, 1u << 30), 0);
	kv_close(kv);
	assert_int_equal(set_aside_count(w), 0);
}

static void test_kill_keeps_a_cache(void **state)
{
	kill_in_mid_write(*state, KV_CACHE, 500);
}

static void test_kill_keeps_durable(void **state)
{
	kill_in_mid_write(*state, KV_DURABLE, 20);
}

/* A full disk must not make a good cache a distrusted one, nor the start a crash. */
static void test_marking_and_opening_need_no_room(void **state)
{
	struct world *w = *state;
	char lock[400];
	struct stat before, after;

	fill(w, KV_CACHE, 10);
	assert_int_equal(stat(w->mark, &before), 0);
	kv_close(open_as(w, KV_CACHE, 0, NULL));
	assert_int_equal(stat(w->mark, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino); /* overwritten, not replaced */
	(void)snprintf(lock, sizeof(lock), "%s/lock.mdb", w->dir);
	assert_int_equal(stat(lock, &after), 0);
	assert_true(after.st_blocks * 512 >= after.st_size); /* no hole that has to be filled */
}

/* A child that has the environment open until it is killed. */
static void open_and_kill(struct world *w)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct kv *kv;
		struct err e = {0};

		if (kv_open(&kv, &w->config, NULL, &e) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* Deep trees, values in overflow pages, freed pages: everything that a healthy file may hold. */
static void fill_all_kinds(struct world *w, enum kv_mode mode)
{
	static char large[20000];
	struct kv *kv = open_as(w, mode, 0, NULL);

	for (uint32_t i = 0; i < 3000; i++) {
		const struct kv_op op = {
			0, &i, sizeof(i), large, i % 100 ? 40 + i % 200 : sizeof(large), false};

		assert_int_equal(kv_write_async(kv, &op, 1, NULL, NULL), 0);
	}
	assert_int_equal(kv_flush(kv), 0);
	for (uint32_t i = 0; i < 3000; i += 3) {
		const struct kv_op op = {0, &i, sizeof(i), NULL, 0, false};

		assert_int_equal(kv_write_async(kv, &op, 1, NULL, NULL), 0);
	}
	kv_close(kv);
}

static int check_whole(struct world *w)
{
	int fd = open(w->data, O_RDONLY | O_CLOEXEC);
	const char *why;
	struct stat st;
	int r;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	r = kv_check_file(fd, (uint64_t)st.st_size, true, &why);
	close(fd);
	return r;
}

static void test_whole_check_passes_what_is_healthy(void **state)
{
	struct world *w = *state;
	struct kv *kv;

	kv_close(open_as(w, KV_CACHE, 0, NULL));
	assert_int_equal(check_whole(w), 0);
	fill_all_kinds(w, KV_CACHE);
	assert_int_equal(check_whole(w), 0);
	for (unsigned i = 0; i < 4; i++)
		open_and_kill(w);
	kv = open_as(w, KV_CACHE, 0, NULL);
	assert_int_equal(count(kv), 2000);
	kv_close(kv);
	assert_int_equal(set_aside_count(w), 0);
}

/* Any page overwritten: the check says so or the page was not in use; it never crashes and never
 * loops. */
static void test_whole_check_finds_garbage_pages(void **state)
{
	struct world *w = *state;
	uint8_t page[4096], garbage[4096];
	unsigned found = 0, pages;
	struct stat st;
	int fd;

	fill_all_kinds(w, KV_CACHE);
	assert_int_equal(stat(w->data, &st), 0);
	pages = (unsigned)(st.st_size / 4096);
	fd = open(w->data, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (unsigned i = 2; i < pages; i++) {
		assert_int_equal(io_pread_full(fd, page, sizeof(page), i * 4096ull), 0);
		assert_int_equal(io_random(garbage, sizeof(garbage)), 0);
		/* Half of them keep their header: only the nodes lie. */
		memcpy(garbage, page, i % 2 ? 16 : 0);
		overwrite(w->data, i * 4096ull, garbage, sizeof(garbage));
		found += check_whole(w) == -EIO;
		overwrite(w->data, i * 4096ull, page, sizeof(page));
	}
	close(fd);
	assert_int_equal(check_whole(w), 0);
	assert_true(found > 50);
}

/* LMDB leaves pages unwritten that a transaction took at the end and gave back: such a file is
 * short and healthy. */
static void test_short_but_healthy_file_is_kept(void **state)
{
	struct world *w = *state;
	struct kv *kv = open_as(w, KV_DURABLE, 0, NULL);
	static char value[1000];
	struct kv_op ops[1000];
	uint32_t key[1000];
	struct stat st;

	for (uint32_t i = 0; i < 1000; i++) {
		key[i] = i;
		ops[i] = (struct kv_op){0, &key[i], sizeof(key[i]), value, sizeof(value), false};
	}
	assert_int_equal(kv_write(kv, ops, 1000), 0);
	for (uint32_t i = 10; i < 1000; i++)
		ops[i].value = NULL;
	assert_int_equal(kv_write(kv, ops, 1000), 0);
	for (uint32_t i = 0; i < 5; i++) /* the free list moves away from the end */
		assert_int_equal(put(kv, i), 0);
	kv_close(kv);
	assert_int_equal(stat(w->data, &st), 0);
	assert_int_equal(truncate(w->data, st.st_size - 4096), 0);
	kv = open_as(w, KV_DURABLE, 0, NULL);
	assert_int_equal(count(kv), 10);
	assert_int_equal(kv_write(kv, ops, 10), 0);
	kv_close(kv);
}

/* A page that kills us at every start must not do so for ever. */
static void test_two_kills_lead_to_a_whole_check(void **state)
{
	struct world *w = *state;
	uint8_t garbage[4096];
	struct stat st;

	fill_all_kinds(w, KV_CACHE);
	open_and_kill(w);
	open_and_kill(w);
	assert_int_equal(stat(w->data, &st), 0);
	assert_int_equal(io_random(garbage, sizeof(garbage)), 0);
	for (uint64_t at = 8192; at < (uint64_t)st.st_size; at += 4096)
		overwrite(w->data, at, garbage, sizeof(garbage));
	expect_set_aside(w);
}

static void test_damaged_durable_is_refused(void **state)
{
	struct world *w = *state;
	uint8_t garbage[4096];
	struct stat st;

	fill_all_kinds(w, KV_DURABLE);
	assert_int_equal(stat(w->data, &st), 0);
	kv_close(open_as(w, KV_DURABLE, 0, NULL));
	assert_int_equal(io_random(garbage, sizeof(garbage)), 0);
	for (uint64_t at = 8192; at < (uint64_t)st.st_size; at += 4096)
		overwrite(w->data, at, garbage, sizeof(garbage));
	(void)open_as(w, KV_DURABLE, -EIO, NULL);
}

static void test_lock_ends_with_its_process(void **state)
{
	struct world *w = *state;
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct kv *kv;
		struct err e = {0};

		if (kv_open(&kv, &w->config, NULL, &e) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)open_as(w, KV_CACHE, -EBUSY, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	kv_close(open_as(w, KV_CACHE, 0, NULL));
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_truncated_file),
		T(test_garbage),
		T(test_zeroed_pages_never_kill),
		T(test_other_format_version),
		T(test_durable_is_never_moved),
		T(test_machine_crash_distrusts_a_cache),
		T(test_kill_keeps_a_cache),
		T(test_kill_keeps_durable),
		T(test_lock_ends_with_its_process),
		T(test_whole_check_passes_what_is_healthy),
		T(test_whole_check_finds_garbage_pages),
		T(test_short_but_healthy_file_is_kept),
		T(test_marking_and_opening_need_no_room),
		T(test_two_kills_lead_to_a_whole_check),
		T(test_damaged_durable_is_refused),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
