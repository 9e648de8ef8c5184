/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing the disk tier up and down, and its geometry.
 *
 *	DIR/format  DIR/segments/<id>.{seg,idx}  DIR/files/ab/<oid>.<oid bytes>.<size>  DIR/tmp/
 *
 * A directory of another format is emptied, not converted: what is in a cache is fetched again.
 *Runs on the thread that opens the store, before any other uses it.
 */
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/io.h"
#include "blob/disk_evict.h"
#include "blob/disk_tier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define FORMAT        "coppice blob store 1\n"
#define SEGMENT_MIN   (256ull << 10)
#define SEGMENT_BYTES (64ull << 20)
#define SEGMENT_LIMIT (2ull << 30)
#define BOOT_ID       "/proc/sys/kernel/random/boot_id"

void disk_tier_close(void *tier)
{
	struct disk_tier *t = tier;

	(void)disk_log_close(t->log);
	(void)disk_files_close(t->files);
	(void)disk_index_free(t->index);
	if (t->dirfd >= 0)
		(void)close(t->dirfd);
	lock_fini(&t->space.lock);
	lock_fini(&t->reclaim_lock);
	free(t);
}

static int check_format(int dirfd)
{
	static const char *const dirs[] = {"segments", "files", "tmp"};
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r;

	r = io_read_file(dirfd, "format", 256, &data, &len);
	if (r == 0 && strcmp(data, FORMAT) == 0)
		return 0;
	if (r < 0 && r != -ENOENT && r != -EFBIG)
		return r;
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		r = io_remove_tree(dirfd, dirs[i]);
		if (r < 0)
			return r;
	}
	return io_write_file(dirfd, "format", FORMAT, strlen(FORMAT), 0600, true);
}

/* A time that stands for this boot of the machine; never 0 unless the kernel does not tell. Within
 * what any filesystem keeps. */
static struct timespec boot_stamp(void)
{
	_cleanup_free_ char *id = NULL;
	struct timespec stamp = {0};
	size_t len;

	if (io_read_file(AT_FDCWD, BOOT_ID, 4096, &id, &len) < 0 || len == 0)
		return stamp;
	stamp.tv_sec = (time_t)(crc32c(0, id, len) & 0x7fffffff) | 1;
	stamp.tv_nsec = (long)(crc32c(1, id, len) % 1000000000u);
	return stamp;
}

/* A segment is 1/64 of the budget, so that eviction is not coarse, between a few records and 64
 * MiB. With a very large budget it grows, so that the descriptors do not: at most about a thousand.
 */
static uint64_t segment_size(uint64_t budget, uint32_t small_max)
{
	uint64_t size = budget / 64, least = 4ull * disk_record_bytes(small_max);

	if (size > SEGMENT_BYTES)
		size = budget / 1024 > SEGMENT_BYTES ? budget / 1024 : SEGMENT_BYTES;
	if (size > SEGMENT_LIMIT)
		size = SEGMENT_LIMIT;
	if (size < SEGMENT_MIN)
		size = SEGMENT_MIN;
	return size < least ? least : size;
}

static int open_parts(struct disk_tier *t)
{
	const struct disk_log_config log = {
		.parent_fd = t->dirfd,
		.segment_bytes = t->segment_bytes,
		.slots = (uint32_t)(2 * (t->space.budget / t->segment_bytes) + 64),
		.index = t->index,
		.space = &t->space,
	};
	const struct disk_files_config files = {.parent_fd = t->dirfd,
		.index = t->index,
		.space = &t->space,
		.stamp = boot_stamp()};
	uint64_t want, freed;
	int r;

	r = disk_log_open(&t->log, &log);
	if (r == 0)
		r = disk_files_open(&t->files, &files);
	if (r < 0)
		return r;
	want = disk_evict_want(t->space.budget, disk_space_used(&t->space),
		0); /* it may be lower than last time */
	return want ? disk_reclaim(t, want, &freed) : 0;
}

int blob_disk_new(struct blob_tier *ret_tier, const struct blob_disk_config *config, struct err *e)
{
	struct disk_tier *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(e, -ENOMEM, NULL, "no memory for the blob store");
	lock_init(&t->space.lock, LOCK_RANK_LEAF);
	lock_init(&t->reclaim_lock, LOCK_RANK_BLOB_RECLAIM);
	blob_counters_init(&t->counters, config->metrics, "disk");
	t->dirfd = -1;
	t->space.budget = config->budget_bytes;
	t->small_max = config->small_max;
	t->segment_bytes = segment_size(config->budget_bytes, config->small_max);
	t->clock = config->clock;
	t->opened_ns = clock_mono_ns(t->clock);
	r = io_mkdirs(config->dir, 0700);
	if (r == 0) {
		t->dirfd = open(config->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = t->dirfd < 0 ? -errno : check_format(t->dirfd);
	}
	if (r == 0)
		r = disk_index_new(&t->index);
	if (r == 0)
		r = open_parts(t);
	if (r < 0) {
		disk_tier_close(t);
		return err_wrap(e, r, "blob store %s", config->dir);
	}
	*ret_tier = (struct blob_tier){.ops = &blob_disk_ops, .impl = t};
	return 0;
}
