/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of a workspace and how often the kernel knows each: a counter that only rises, and one u32
 * per id in a mapped file.
 *
 *	work/refs:  header (4 KiB: magic, next id, boot id, usage) | u32 of id 0 | of id 1 | ...
 *	u32:        lookups | marks about pages (the two highest bits)
 *
 * A count is bumped before its reply is sent and lowered when a FORGET arrives, both by plain
 * atomics in the page cache: a process that takes over finds counts that are right or too high,
 * never too low. At a fresh start nobody knows any id, so all begin at 0.
 *
 * Ids must never be given twice, or a mark in the upper would name two objects. The header has the
 * next id after a kill of the process. After a crash of the machine it may be old; then ids go on
 * from a limit kept in an xattr of work/, which is raised before ids above it are used: a
 * journaling filesystem keeps the order of metadata, so that no mark can be on disk without its
 * limit.
 *
 * Threads: any. ids under `lock` (rank OVL_JOURNAL), counts lock-free: nothing moves when the file
 * grows.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_mapfile.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"

#define REFS_MAGIC    0x31736665726c766full /* "ovlrefs1" */
#define HEADER_BYTES  ((size_t)4096)
#define RESERVE_BYTES ((size_t)4 << 30)
#define LOCAL_MAX     ((RESERVE_BYTES - HEADER_BYTES) / sizeof(uint32_t))
#define LIMIT_STEP    65536u
#define XATTR_LIMIT   OVL_XATTR_OWN "ids"
#define BOOT_ID_BYTES 36
/* Beside the count, gone with the last lookup: */
#define PAGES   0x80000000u /* the kernel may have pages of it */
#define GOING   0x40000000u /* had; it is asked to drop them */
#define LOOKUPS 0x3fffffffu

struct header {
	uint64_t magic;
	uint64_t next;
	char boot_id[BOOT_ID_BYTES];
	struct ovl_kept_usage usage;
};

struct ovl_refs {
	struct lock lock;
	struct ovl_mapfile map;
	_Atomic uint64_t next; /* changed under lock */
	uint64_t limit;        /* guarded by lock; ids below it may be given */
};

struct ovl_kept_usage *ovl_refs_usage(struct ovl_ws *ws)
{
	return &((struct header *)(void *)ws->refs->map.base)->usage;
}

static int read_boot_id(char id[BOOT_ID_BYTES])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_read_full(fd, id, BOOT_ID_BYTES);
}

static int read_limit(int work_fd, uint64_t *ret_limit)
{
	uint64_t limit;
	ssize_t n = fgetxattr(work_fd, XATTR_LIMIT, &limit, sizeof(limit));

	if (n < 0 && errno != ENODATA)
		return -errno;
	*ret_limit = n == sizeof(limit) ? le64toh(limit) : OVL_LOCAL_ROOT + 1;
	return 0;
}

static int write_limit(struct ovl_refs *r, int work_fd, uint64_t limit)
{
	uint64_t le = htole64(limit);

	if (fsetxattr(work_fd, XATTR_LIMIT, &le, sizeof(le), 0) < 0)
		return -errno;
	r->limit = limit;
	return 0;
}

static _Atomic uint32_t *count_of(const struct ovl_refs *r, uint64_t local)
{
	/* relaxed: whoever has an id got it after it was allocated */
	if (local >= atomic_load_explicit(&r->next, memory_order_relaxed))
		return NULL;
	return (_Atomic uint32_t *)(void *)(r->map.base + HEADER_BYTES) + local;
}

static void set_next(struct ovl_refs *r, uint64_t next)
{
	((struct header *)(void *)r->map.base)->next = next;
	/* release: the counts of the new ids are mapped before they can be asked for */
	atomic_store_explicit(&r->next, next, memory_order_release);
}

/* The counts as the last process of this boot left them. The map has the length of the file. */
static int keep(struct ovl_refs *r, const struct header *header, bool same_boot)
{
	if (!same_boot || header->next <= OVL_LOCAL_ROOT || header->next > LOCAL_MAX ||
		r->map.len < HEADER_BYTES + header->next * sizeof(uint32_t))
		return -ESTALE;
	set_next(r, header->next);
	return 0;
}

static int start_anew(struct ovl_refs *r, const char boot_id[BOOT_ID_BYTES], uint64_t next)
{
	struct header header = {.magic = REFS_MAGIC};
	int e;

	if (next <= OVL_LOCAL_ROOT || next > LOCAL_MAX)
		return -EPROTO;
	/* In place: blocks that were given up might not come back, on a full disk. */
	memset(r->map.base, 0, r->map.len);
	e = ovl_mapfile_grow(&r->map, HEADER_BYTES + next * sizeof(uint32_t));
	if (e)
		return e;
	memcpy(header.boot_id, boot_id, BOOT_ID_BYTES);
	memcpy(r->map.base, &header, sizeof(header));
	set_next(r, next);
	return 0;
}

static int start(struct ovl_refs *r, int work_fd, bool adopt)
{
	struct header header = {0};
	char boot_id[BOOT_ID_BYTES];
	bool same_boot;
	int e = read_boot_id(boot_id);

	if (!e)
		e = read_limit(work_fd, &r->limit);
	if (e)
		return e;
	if (r->map.len >= HEADER_BYTES)
		memcpy(&header, r->map.base, sizeof(header));
	same_boot = header.magic == REFS_MAGIC &&
		    memcmp(header.boot_id, boot_id, BOOT_ID_BYTES) == 0 && header.next <= r->limit;
	if (adopt)
		return keep(r, &header, same_boot);
	return start_anew(r, boot_id, same_boot ? header.next : r->limit);
}

int ovl_refs_open(struct ovl_ws *ws)
{
	struct ovl_refs *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	lock_init(&r->lock, LOCK_RANK_OVL_JOURNAL);
	e = ovl_mapfile_open(&r->map, ws->work_fd, "refs", RESERVE_BYTES);
	if (!e)
		e = start(r, ws->work_fd, ws->adopt);
	ws->refs = r;
	if (e)
		ovl_refs_close(ws, false);
	return e;
}

void ovl_refs_close(struct ovl_ws *ws, bool clean)
{
	struct ovl_refs *r = ws->refs;

	if (!r)
		return;
	/* An exact limit loses no ids to the next start. If it cannot be written the old one holds
	 * too. */
	if (clean)
		(void)write_limit(
			r, ws->work_fd, atomic_load_explicit(&r->next, memory_order_relaxed));
	ovl_mapfile_close(&r->map);
	lock_fini(&r->lock);
	free(r);
	ws->refs = NULL;
}

int ovl_ids_alloc(struct ovl_ws *ws, uint32_t count, uint64_t *ret_local)
{
	struct ovl_refs *r = ws->refs;
	uint64_t first, end;
	int e = 0;

	LOCK_GUARD(&r->lock);
	first = atomic_load_explicit(&r->next, memory_order_relaxed); /* changes under lock only */
	if (count > LOCAL_MAX - first)
		return -ENOSPC;
	end = first + count;
	if (end > r->limit)
		e = write_limit(r, ws->work_fd, end + LIMIT_STEP);
	if (!e)
		e = ovl_mapfile_grow(&r->map, HEADER_BYTES + end * sizeof(uint32_t));
	if (e)
		return e;
	set_next(r, end);
	*ret_local = first;
	return 0;
}

bool ovl_ids_known(struct ovl_ws *ws, uint64_t local)
{
	return local > OVL_LOCAL_ROOT && count_of(ws->refs, local) != NULL;
}

void ovl_refs_add(struct ovl_ws *ws, uint64_t local, uint32_t n)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);

	/* relaxed, also below: what is read after it is ordered by the locks that eviction takes.
	 * Who lists for days gets no further: the FORGET that ends it all names more than that. */
	if (count &&
		(atomic_fetch_add_explicit(count, n, memory_order_relaxed) & LOOKUPS) > LOOKUPS / 2)
		atomic_fetch_sub_explicit(count, n, memory_order_relaxed);
}

uint32_t ovl_refs_sub(struct ovl_ws *ws, uint64_t local, uint64_t n)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);
	uint32_t old, left;

	if (!count)
		return 0;
	old = atomic_load_explicit(count, memory_order_relaxed);
	do
		left = n < (old & LOOKUPS) ? old - (uint32_t)n : 0;
	while (!atomic_compare_exchange_weak_explicit(
		count, &old, left, memory_order_relaxed, memory_order_relaxed));
	return left & LOOKUPS;
}

uint32_t ovl_refs_get(struct ovl_ws *ws, uint64_t local)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);

	return count ? atomic_load_explicit(count, memory_order_relaxed) & LOOKUPS : 0;
}

void ovl_refs_pages_come(struct ovl_ws *ws, uint64_t local)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);

	/* sequentially consistent, here and below: the page comes after it */
	if (count && !(atomic_load(count) & PAGES))
		atomic_fetch_or(count, PAGES);
}

void ovl_refs_pages_go(struct ovl_ws *ws, uint64_t local)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);
	uint32_t old = count ? atomic_load(count) : 0;

	if (count)
		while (!atomic_compare_exchange_weak(count, &old, (old & ~PAGES) | GOING))
			;
}

void ovl_refs_pages_gone(struct ovl_ws *ws, uint64_t local)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);

	if (count)
		atomic_fetch_and(count, ~GOING);
}

bool ovl_refs_has_pages(struct ovl_ws *ws, uint64_t local)
{
	_Atomic uint32_t *count = count_of(ws->refs, local);

	return count && (atomic_load(count) & (PAGES | GOING));
}
