/* SPDX-License-Identifier: Apache-2.0 */
/* The disk tier against what happens to disks: torn, cut, flipped and foreign files, kills, and
 * other boots of the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blob_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MIB (1u << 20)

/* Path of the only file in DIR/segments that ends so; of the newest, if there are several. */
static void newest(struct blob_world *w, const char *suffix, char *path, size_t cap)
{
	char dir[512], best[256] = "";
	struct dirent *de;
	DIR *d;

	d = opendir(tmpdir_path(&w->tmp, "segments", dir, sizeof(dir)));
	assert_non_null(d);
	while ((de = readdir(d)))
		if (strlen(de->d_name) > 4 && strcmp(strchr(de->d_name, '.'), suffix) == 0 &&
			strcmp(de->d_name, best) > 0)
			(void)snprintf(best, sizeof(best), "%s", de->d_name);
	closedir(d);
	assert_true(best[0]);
	assert_true((size_t)snprintf(path, cap, "%s/%s", dir, best) < cap);
}

static unsigned count_names(struct blob_world *w, const char *name)
{
	char dir[512];
	unsigned count = 0;
	struct dirent *de;
	DIR *d = opendir(tmpdir_path(&w->tmp, name, dir, sizeof(dir)));

	assert_non_null(d);
	while ((de = readdir(d)))
		count += de->d_name[0] != '.';
	closedir(d);
	return count;
}

/* The files of large blobs, one after the other. */
static int (*large_fn)(const char *path);
static unsigned large_seen;

static int visit_large(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F) {
		large_seen++;
		return large_fn(path);
	}
	return 0;
}

static void each_large(struct blob_world *w, int (*fn)(const char *path), unsigned count)
{
	char dir[512];

	large_fn = fn;
	large_seen = 0;
	assert_int_equal(
		nftw(tmpdir_path(&w->tmp, "files", dir, sizeof(dir)), visit_large, 8, FTW_PHYS), 0);
	assert_int_equal(large_seen, count);
}

static void flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	assert_true(fd >= 0);
	if (at < 0)
		at += lseek(fd, 0, SEEK_END);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void test_torn_tail_is_cut(void **state)
{
	struct blob_world w;
	char path[600];
	struct stat st;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(world_put(&w, i, 5000), 0);
	w.bs = blob_store_close(w.bs);
	newest(&w, ".seg", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	for (off_t cut = 1; cut <= 5048;
		cut += 721) { /* every part of the last record; the sidecar is stale now */
		assert_int_equal(truncate(path, st.st_size - cut), 0);
		blob_world_open(&w);
		for (uint32_t i = 0; i < 9; i++)
			assert_int_equal(world_read(&w, i, 5000), 5000);
		assert_int_equal(world_read(&w, 9, 5000), -EAGAIN);
		assert_int_equal(world_put(&w, 9, 5000), 0);
		assert_int_equal(world_read(&w, 9, 5000), 5000);
		w.bs = blob_store_close(w.bs);
	}
	blob_world_open(&w);
	blob_world_fini(&w);
}

static void test_flipped_bits_are_found_once_and_repaired(void **state)
{
	struct blob_world w;
	char path[600];

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(world_put(&w, 1, 5000), 0);
	assert_int_equal(world_put(&w, 2, 5000), 0);
	w.bs = blob_store_close(w.bs);
	newest(&w, ".seg", path, sizeof(path));
	flip_byte(path, 16 + 48 + 2500); /* in the first blob */
	blob_world_open(&w);
	assert_int_equal(world_read(&w, 1, 5000), -EIO);
	assert_int_equal(world_read(&w, 1, 5000), -EAGAIN);
	assert_int_equal(world_read(&w, 2, 5000), 5000);
	assert_int_equal(world_disk(&w).errors, 1);
	assert_int_equal(world_put(&w, 1, 5000), 0);
	blob_world_reopen(
		&w); /* both records are in the file; the later one is as good as none was */
	if (world_read(&w, 1, 5000) == -EIO)
		assert_int_equal(world_put(&w, 1, 5000), 0);
	assert_int_equal(world_read(&w, 1, 5000), 5000);
	blob_world_fini(&w);
}

static void test_a_part_of_a_damaged_blob_is_not_given_out(void **state)
{
	struct content c = content_make(1, 40000);
	struct blob_world w;
	struct blob_pin pin;
	char path[600], buf[16];

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(world_put(&w, 1, 40000), 0);
		w.bs = blob_store_close(w.bs);
		newest(&w, ".seg", path, sizeof(path));
		flip_byte(path, -1 - (40048 % 8)); /* its last bytes */
		blob_world_open(&w);
		if (i == 0)
			assert_int_equal(blob_read(w.bs, &c.oid, buf, sizeof(buf), 0), -EIO);
		else
			assert_int_equal(blob_pin(w.bs, &c.oid, &pin), -EIO);
		assert_false(blob_is_local(w.bs, &c.oid));
		w.bs = blob_store_close(w.bs);
		assert_int_equal(unlink(path), 0);
		blob_world_open(&w);
	}
	blob_world_fini(&w);
	content_free(&c);
}

static void test_bad_sidecars_do_not_count(void **state)
{
	struct blob_world w;
	char path[600];

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(world_put(&w, i, 1000), 0);
	for (off_t at = 0; at < 32 + 320; at += 13) {
		w.bs = blob_store_close(w.bs);
		newest(&w, ".idx", path, sizeof(path));
		flip_byte(path, at);
		blob_world_open(&w);
		for (uint32_t i = 0; i < 10; i++)
			assert_int_equal(world_read(&w, i, 1000), 1000);
	}
	blob_world_fini(&w);
}

static void test_foreign_and_left_over_files_go(void **state)
{
	static const char *const names[] = {"segments/0000000000000099.seg", "segments/junk",
		"tmp/5", "files/x", "files/ab/0123",
		"files/ab/ab23456789012345678901234567890123456789.20.x"};
	struct blob_world w;
	char path[600];

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(world_put(&w, 1, 1000), 0);
	w.bs = blob_store_close(w.bs);
	assert_int_equal(mkdir(tmpdir_path(&w.tmp, "files/ab", path, sizeof(path)), 0700), 0);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = open(tmpdir_path(&w.tmp, names[i], path, sizeof(path)), O_WRONLY | O_CREAT,
			0600);

		assert_int_equal(
			write(fd, "not a blob of ours, but long enough to look at", 46), 46);
		close(fd);
	}
	blob_world_open(&w);
	assert_int_equal(world_read(&w, 1, 1000), 1000);
	assert_int_equal(world_disk(&w).blobs, 1);
	assert_int_equal(count_names(&w, "tmp"), 0);
	assert_int_equal(count_names(&w, "segments"), 2); /* ours, and its sidecar */
	assert_int_equal(count_names(&w, "files/ab"), 0);
	assert_int_equal(world_put(&w, 2, 1000), 0);
	blob_world_fini(&w);
}

static void test_another_format_is_emptied(void **state)
{
	struct blob_world w;
	char path[600];
	int fd;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(world_put(&w, 1, 1000), 0);
	assert_int_equal(world_put(&w, 2, 100000), 0);
	w.bs = blob_store_close(w.bs);
	fd = open(tmpdir_path(&w.tmp, "format", path, sizeof(path)), O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "coppice blob store 99\n", 22), 22);
	close(fd);
	blob_world_open(&w);
	assert_int_equal(world_disk(&w).blobs, 0);
	assert_int_equal(world_disk(&w).bytes, 0);
	assert_int_equal(world_put(&w, 1, 1000), 0);
	blob_world_reopen(&w);
	assert_int_equal(world_read(&w, 1, 1000), 1000);
	blob_world_fini(&w);
}

static int cut_file(const char *path)
{
	return truncate(path, 65536);
}

static void test_a_cut_large_file_is_found_at_its_first_open(void **state)
{
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(world_put(&w, 1, 300000), 0);
	w.bs = blob_store_close(w.bs);
	each_large(&w, cut_file, 1);
	blob_world_open(&w);
	assert_int_equal(world_read(&w, 1, 300000), -EIO);
	assert_int_equal(world_read(&w, 1, 300000), -EAGAIN);
	assert_int_equal(world_disk(&w).bytes, 0);
	assert_int_equal(world_put(&w, 1, 300000), 0);
	assert_int_equal(world_read(&w, 1, 300000), 300000);
	blob_world_fini(&w);
}

/* As after a crash of the machine: the right length, another boot, and perhaps other bytes. */
static int age_file(const char *path)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	return utimensat(AT_FDCWD, path, times, 0);
}

static int damage_and_age_file(const char *path)
{
	flip_byte(path, 150000);
	return age_file(path);
}

static void test_after_another_boot_large_files_are_hashed_first(void **state)
{
	struct content c = content_make(1, 300000);
	struct source s = {.content = &c};
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	assert_int_equal(world_fetch(&w, &s), 0);
	w.bs = blob_store_close(w.bs);
	each_large(&w, age_file, 1);
	blob_world_open(&w);
	assert_int_equal(
		world_read(&w, 1, 300000), -EAGAIN); /* a reader must not wait for the hashing */
	assert_false(world_has(&w, 1, 300000));
	assert_int_equal(world_fetch(&w, &s), 0);
	assert_int_equal(s.calls, 1); /* it was whole: not fetched again */
	assert_int_equal(world_read(&w, 1, 300000), 300000);
	blob_world_reopen(&w);
	assert_int_equal(world_read(&w, 1, 300000), 300000); /* and that is remembered */
	w.bs = blob_store_close(w.bs);
	each_large(&w, damage_and_age_file, 1);
	blob_world_open(&w);
	assert_int_equal(world_read(&w, 1, 300000), -EAGAIN);
	assert_int_equal(world_fetch(&w, &s), 0);
	assert_int_equal(s.calls, 2);
	assert_int_equal(world_read(&w, 1, 300000), 300000);
	blob_world_fini(&w);
	content_free(&c);
}

/* A writer that is killed at any moment leaves a store in which every blob that can be read is
 * right. */
static void test_kill_in_the_middle_of_writing(void **state)
{
	struct blob_world w;

	(void)state;
	blob_world_init(&w, 0, 256 * MIB);
	w.bs = blob_store_close(w.bs);
	for (unsigned round = 0; round < 5; round++) {
		unsigned present = 0;
		int status;
		int written[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(written), 0);
		pid = fork();
		if (pid == 0) {
			blob_world_open(&w);
			for (uint32_t i = round * 10000;; i++) {
				(void)world_put(&w, i, i % 8 ? 200 + i % 9000 : 70000 + i % 50000);
				if (i % 10000 == 5 + round * 37)
					(void)!write(written[1], "", 1); /* go on until killed */
			}
		}
		assert_true(pid > 0);
		assert_int_equal(read(written[0], &byte, 1), 1);
		close(written[0]);
		close(written[1]);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		blob_world_open(&w);
		for (uint32_t i = round * 10000; i < round * 10000 + 10000; i++) {
			size_t size = i % 8 ? 200 + i % 9000 : 70000 + i % 50000;
			ssize_t n = world_read(&w, i, size);

			if (n == -EAGAIN)
				break;
			assert_int_equal(n, size); /* the bytes are compared in world_read */
			present++;
		}
		assert_true(present > 0);
		assert_int_equal(count_names(&w, "tmp"), 0);
		w.bs = blob_store_close(w.bs);
	}
	blob_world_open(&w);
	blob_world_fini(&w);
}

static void test_descriptors_stay_bounded(void **state)
{
	struct blob_world w;
	unsigned count = 0;
	struct dirent *de;
	DIR *d;

	(void)state;
	blob_world_init(&w, 0, 64 * MIB);
	for (uint32_t i = 0; i < 300; i++) {
		assert_int_equal(world_put(&w, i, 65537), 0);
		assert_int_equal(world_read(&w, i, 65537), 65537);
	}
	d = opendir("/proc/self/fd");
	while ((de = readdir(d)))
		count++;
	closedir(d);
	assert_in_range(count, 256, 256 + 40);
	assert_int_equal(world_read(&w, 0, 65537), 65537);
	blob_world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_tail_is_cut),
		cmocka_unit_test(test_flipped_bits_are_found_once_and_repaired),
		cmocka_unit_test(test_a_part_of_a_damaged_blob_is_not_given_out),
		cmocka_unit_test(test_bad_sidecars_do_not_count),
		cmocka_unit_test(test_foreign_and_left_over_files_go),
		cmocka_unit_test(test_another_format_is_emptied),
		cmocka_unit_test(test_a_cut_large_file_is_found_at_its_first_open),
		cmocka_unit_test(test_after_another_boot_large_files_are_hashed_first),
		cmocka_unit_test(test_kill_in_the_middle_of_writing),
		cmocka_unit_test(test_descriptors_stay_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
