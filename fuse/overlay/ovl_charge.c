/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What upper objects cost the quota. One function of stat says it (ovl_charge_of), so that a
 * recount after a crash gives the sum that was charged: one inode per object, hard links once,
 * whiteouts never; bytes for the content of regular files only.
 *
 * Bytes are the space used, in blocks of 4 KiB, but not the blocks in which the filesystem keeps
 * its own maps and attributes: those come and go with writeback, and a charge that changes by
 * itself could never be given back exactly. So what exceeds the rounded size is only counted when
 * it is more than such blocks can explain: then it was preallocated.
 *
 * A write reserves the most that it can need, and afterwards gives back what it did not
 * (ovl_growth_*). All under the node's lock.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_usage.h"

#include <base/cleanup.h>
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define BLOCK             4096ull
#define STAT_BLOCK        512ull
#define EXTENTS_IN_INODE  4   /* ext4: a file of no more blocks needs no map outside its inode */
#define EXTENTS_PER_BLOCK 340 /* ext4: extents in one 4 KiB block of the map */
#define FIEMAP_BATCH      32

static uint64_t round_up_block(uint64_t bytes)
{
	return bytes > UINT64_MAX - BLOCK ? UINT64_MAX & ~(BLOCK - 1)
					  : (bytes + BLOCK - 1) & ~(BLOCK - 1);
}

/* The most that map and attribute blocks of a file of so many data blocks can take. */
static uint64_t overhead_max(uint64_t data_blocks)
{
	uint64_t map = data_blocks > EXTENTS_IN_INODE ? data_blocks / EXTENTS_PER_BLOCK + 2 : 0;

	return (map + 1) * BLOCK;
}

uint64_t ovl_charge_of(const struct stat *st)
{
	uint64_t size, used;

	if (!S_ISREG(st->st_mode) || st->st_size < 0 || st->st_blocks < 0)
		return 0;
	size = round_up_block((uint64_t)st->st_size);
	used = round_up_block((uint64_t)st->st_blocks * STAT_BLOCK);
	if (used <= size || used - size <= overhead_max(size / BLOCK))
		return used < size ? used : size;
	return used;
}

int ovl_charge_object(struct ovl_ws *ws)
{
	return ovl_usage_charge(ws, QUOTA_INODES, 1);
}

void ovl_charge_object_end(struct ovl_ws *ws)
{
	ovl_usage_release(ws, QUOTA_INODES, 1);
}

void ovl_charge_bytes_end(struct ovl_ws *ws, uint64_t bytes)
{
	/* A sparse file's map may have grown by a block after its node was evicted: the node that
	 * is loaded later then knows of a little more than was charged. The next start counts anew.
	 */
	ovl_usage_release(ws, QUOTA_BYTES, bytes);
}

void ovl_charge_drop(struct ovl_node *n)
{
	ovl_charge_bytes_end(n->ws, n->charged_bytes);
	n->charged_bytes = 0;
	ovl_charge_object_end(n->ws);
}

void ovl_charge_settle_locked(struct ovl_node *node, const struct stat *st)
{
	uint64_t now = ovl_charge_of(st);

	if (now > node->charged_bytes)
		ovl_usage_force(node->ws, QUOTA_BYTES, now - node->charged_bytes);
	else
		ovl_charge_bytes_end(node->ws, node->charged_bytes - now);
	node->charged_bytes = now;
}

/* Bytes of [start, end), both at block boundaries, that have no block yet. */
static uint64_t unmapped(int fd, uint64_t start, uint64_t end)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + FIEMAP_BATCH * sizeof(struct fiemap_extent)];
	} u;
	uint64_t missing = end - start;

	for (uint64_t at = start; at < end;) {
		uint64_t before = at;

		u.map = (struct fiemap){
			.fm_start = at, .fm_length = end - at, .fm_extent_count = FIEMAP_BATCH};
		if (ioctl(fd, FS_IOC_FIEMAP, &u.map) < 0)
			return end - start; /* cannot tell: nothing is there */
		for (uint32_t i = 0; i < u.map.fm_mapped_extents; i++) {
			const struct fiemap_extent *x = &u.map.fm_extents[i];
			uint64_t from = x->fe_logical > at ? x->fe_logical : at;
			uint64_t to = x->fe_logical + x->fe_length;

			to = to < end ? to : end;
			if (to > from) {
				missing -= to - from;
				at = to;
			}
		}
		if (u.map.fm_mapped_extents < FIEMAP_BATCH || at == before)
			break;
	}
	return missing;
}

int ovl_growth_reserve_locked(
	struct ovl_node *n, int fd, uint64_t offset, uint64_t len, struct ovl_growth *ret_growth)
{
	uint64_t start = offset & ~(BLOCK - 1), end, need;
	int r;

	if (__builtin_add_overflow(offset, len, &end))
		return -EFBIG;
	end = round_up_block(end);
	need = end - start;
	/* the usual append or overwrite of a file without holes: known without asking the
	 * filesystem */
	if (ovl_has(n, OVL_ATTR) && S_ISREG(n->attr.st_mode)) {
		uint64_t size = round_up_block((uint64_t)n->attr.st_size);

		if (n->charged_bytes == size && start <= size)
			need = end > size ? end - size : 0;
	}
	r = ovl_usage_charge(n->ws, QUOTA_BYTES, need);
	if (r == -EDQUOT) {
		need = unmapped(fd, start, end);
		r = ovl_usage_charge(n->ws, QUOTA_BYTES, need);
	}
	if (r == 0)
		ret_growth->reserved = need;
	return r;
}

int ovl_growth_settle_locked(struct ovl_node *n, int fd, const struct ovl_growth *growth)
{
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	ovl_content_changed_locked(n);
	if (r == 0) {
		ovl_charge_settle_locked(n, &st);
		ovl_attr_set_locked(n, &st);
	}
	ovl_charge_bytes_end(n->ws, growth->reserved);
	return r;
}

/* ---- recount ---- */

struct recount {
	uint64_t bytes, inodes;
	struct hashmap linked; /* inode numbers of objects with several names that were counted */
};

static int count_one(void *arg, int dirfd, const char *name, const struct stat *st)
{
	struct recount *c = arg;

	(void)dirfd;
	(void)name;
	if (ovl_is_whiteout(st))
		return 0;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		int r = hashmap_insert(&c->linked, st->st_ino, c);

		if (r == -EEXIST)
			return 0;
		if (r < 0)
			return r;
	}
	c->bytes += ovl_charge_of(st);
	c->inodes++;
	return 0;
}

int ovl_charge_scan(struct ovl_ws *ws, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	_cleanup_close_ int orphan = -1, links = -1;
	struct recount c = {0};
	int r;

	hashmap_init(&c.linked);
	r = ovl_walk(ws->upper_fd, count_one, &c);
	if (r == 0)
		r = ovl_work_open(ws, "orphan", &orphan);
	if (r == 0)
		r = ovl_walk(orphan, count_one, &c);
	if (r == 0)
		r = ovl_work_open(ws, "links", &links);
	if (r == 0)
		r = ovl_walk(links, count_one, &c);
	hashmap_fini(&c.linked);
	if (r < 0)
		return r;
	*ret_bytes = c.bytes;
	*ret_inodes = c.inodes;
	return 0;
}
