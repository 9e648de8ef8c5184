/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk tier's hooks. Small blobs go to segments (disk_log), large ones to files (disk_file),
 * one index is over both (disk_index), room is made by disk_reclaim. This file decides which part a
 * call goes to; disk_open.c brings the tier up and down.
 *
 * Nothing is synced: content can be verified. A segment's record carries a checksum that is
 * compared once per process. A file is trusted if it was written in this same boot of the machine
 * (then it is whole, because it was renamed after it was written); after another boot it is hashed
 * before its first use, on a fetch thread (settle).
 *
 * Threads: any. The caller makes sure that no second process uses the directory.
 */
#include "base/cancel.h"
#include "base/io.h"
#include "blob/disk_evict.h"
#include "blob/disk_tier.h"

#include <errno.h>
#include <sys/uio.h>

#define RESERVE_TRIES 8

static uint16_t tick(const struct disk_tier *t)
{
	uint64_t ticks = (clock_mono_ns(t->clock) - t->opened_ns) / DISK_TICK_NS +
			 1; /* 0 = not since start */

	return ticks < UINT16_MAX ? (uint16_t)ticks : UINT16_MAX;
}

/* Give up a blob that turned out damaged. */
static void drop_at(struct disk_tier *t, const struct disk_key *key, const struct disk_place *place)
{
	counter_add(t->counters.errors, 1);
	if (place->segment)
		(void)disk_index_drop(t->index, key, place); /* the bytes go with their segment */
	else
		(void)disk_files_remove(
			t->files, key, place, true, NULL); /* someone else was quicker */
}

/* The file of a blob, held, if it may be read without hashing it first. -EAGAIN: it must be
 * settled. */
static int hold_ready(struct disk_tier *t, const struct disk_key *key,
	const struct disk_place *place, bool pin, struct disk_handle **ret_handle)
{
	struct disk_handle *h;
	int r;

	r = disk_files_hold(t->files, key, place, pin, &h);
	if (r < 0)
		return r;
	if (!place->proven) {
		if (!disk_file_trusted(t->files, h)) {
			if (pin)
				gauge_add(&h->pins, -1);
			disk_handle_put(h);
			return -EAGAIN;
		}
		disk_index_prove(t->index, key, place);
	}
	*ret_handle = h;
	return 0;
}

static ssize_t read_file(struct disk_tier *t, const struct disk_key *key,
	const struct disk_place *place, struct iovec *to, uint64_t offset)
{
	struct disk_handle *h;
	ssize_t n;
	int r;

	r = hold_ready(t, key, place, false, &h);
	if (r < 0)
		return r;
	if (offset >= place->size)
		to->iov_len = 0;
	else if (to->iov_len > place->size - offset)
		to->iov_len = place->size - offset;
	n = (ssize_t)to->iov_len;
	r = io_pread_full(h->fd, to->iov_base, to->iov_len, offset);
	disk_handle_put(h);
	return r < 0 ? (r == -ENODATA ? -EIO : r) : n;
}

static ssize_t disk_read(void *impl, const struct oid *oid, void *buf, size_t len, uint64_t offset,
	struct blob_hit *ret_hit)
{
	struct disk_tier *t = impl;
	struct disk_hold hold = {.fn = disk_log_hold, .arg = t->log};
	struct disk_key key = disk_key(oid);
	struct disk_place place;
	ssize_t n;

	if (!disk_index_use(t->index, &key, tick(t), &hold, &place)) {
		counter_add(t->counters.misses, 1);
		return -EAGAIN;
	}
	if (hold.segment) {
		n = disk_segment_read(hold.segment, oid, &place, buf, len, offset);
		if (n >= 0 && !place.proven)
			disk_index_prove(t->index, &key, &place);
		disk_handle_put(&hold.segment->handle);
	} else {
		n = read_file(t, &key, &place, &(struct iovec){buf, len}, offset);
	}
	if (n == -EIO)
		drop_at(t, &key, &place);
	counter_add(n < 0 ? t->counters.misses : t->counters.hits, 1);
	*ret_hit = (struct blob_hit){.size = place.size, .again = place.heat > 0};
	return n;
}

static bool disk_has(void *impl, const struct oid *oid)
{
	struct disk_tier *t = impl;
	struct disk_key key = disk_key(oid);
	struct disk_place place;
	struct disk_handle *h;

	if (!disk_index_find(t->index, &key, &place))
		return false;
	if (place.segment || place.proven)
		return true;
	if (hold_ready(t, &key, &place, false, &h) < 0)
		return false;
	disk_handle_put(h);
	return true;
}

static int disk_settle(
	void *impl, const struct oid *oid, const struct cancel *cancel, uint64_t deadline_ns)
{
	struct disk_tier *t = impl;
	struct disk_key key = disk_key(oid);
	struct disk_place place;
	struct disk_handle *h;
	int r;

	if (!disk_index_find(t->index, &key, &place))
		return -EAGAIN;
	if (place.segment || place.proven)
		return 0;
	r = disk_files_hold(t->files, &key, &place, false, &h);
	if (r == 0) {
		if (!disk_file_trusted(t->files, h))
			r = disk_file_prove(t->files, h, oid, cancel, deadline_ns);
		disk_handle_put(h);
	}
	if (r == 0) {
		disk_index_prove(t->index, &key, &place);
		return 0;
	}
	if (r != -EBADMSG && r != -EIO)
		return r;
	drop_at(t, &key, &place);
	return -EAGAIN;
}

/* A segment's blob is checked before it is given out as a descriptor: whoever copies from it checks
 * nothing. */
static int pin_in_segment(struct disk_tier *t, const struct oid *oid,
	const struct disk_place *place, struct disk_segment *s)
{
	struct disk_key key = disk_key(oid);
	ssize_t n = place->proven ? 0 : disk_segment_read(s, oid, place, NULL, 0, 0);

	if (n == 0) {
		disk_index_prove(t->index, &key, place);
		return 0;
	}
	gauge_add(&s->handle.pins, -1);
	disk_handle_put(&s->handle);
	return (int)n;
}

static int disk_pin(void *impl, const struct oid *oid, struct blob_pin *ret_pin)
{
	struct disk_tier *t = impl;
	struct disk_hold hold = {.fn = disk_log_hold_pinned, .arg = t->log};
	struct disk_key key = disk_key(oid);
	struct disk_place place;
	struct disk_handle *h = NULL;
	int r;

	if (!disk_index_use(t->index, &key, tick(t), &hold, &place))
		return -EAGAIN;
	if (hold.segment) {
		r = pin_in_segment(t, oid, &place, hold.segment);
		h = &hold.segment->handle;
	} else {
		r = hold_ready(t, &key, &place, true, &h);
	}
	if (r == -EIO)
		drop_at(t, &key, &place);
	if (r < 0)
		return r;
	gauge_add(&t->pins, 1);
	*ret_pin = (struct blob_pin){
		.fd = h->fd,
		.offset = place.segment ? place.offset + DISK_RECORD_HEADER : 0,
		.size = place.size,
		.handle = h,
	};
	return 0;
}

static void disk_unpin(void *impl, struct blob_pin *pin)
{
	struct disk_tier *t = impl;
	struct disk_handle *h = pin->handle;

	gauge_add(&h->pins, -1);
	disk_handle_put(h);
	gauge_add(&t->pins, -1);
}

static bool is_full(int r)
{
	return r == -ENOSPC || r == -EDQUOT;
}

/* Reserve within the budget, evicting first if that would pass the high mark. What one thread has
 * made room for another may take: that is not full yet. */
static int reserve(struct disk_tier *t, uint64_t bytes)
{
	uint64_t want, freed = 0;
	int r;

	if (bytes > t->space.budget)
		return -ENOSPC;
	for (unsigned i = 0;; i++) {
		want = disk_evict_want(t->space.budget, disk_space_used(&t->space), bytes);
		if (want) {
			r = disk_reclaim(t, want, &freed);
			if (r < 0)
				return r;
		}
		r = disk_space_reserve(&t->space, bytes);
		if (r == 0 || i == RESERVE_TRIES || (want && !freed))
			return r;
	}
}

/* The filesystem is full before the budget is: make room there. */
static int make_room(struct disk_tier *t, uint64_t bytes)
{
	uint64_t freed = 0;
	int r;

	counter_add(t->counters.errors, 1);
	r = disk_reclaim(t, bytes > t->segment_bytes ? bytes : t->segment_bytes, &freed);
	return r < 0 ? r : freed ? 0 : -ENOSPC;
}

static int put_small(struct disk_tier *t, const struct oid *oid, const void *data, size_t len)
{
	struct disk_append append = {.oid = oid, .data = data, .len = len, .used = tick(t)};
	uint64_t cost = disk_log_cost(len);
	bool stored;
	int r;

	for (bool again = false;; again = true) {
		r = reserve(t, cost);
		if (r < 0)
			return r;
		r = disk_log_append(t->log, &append, &stored);
		if (!stored)
			disk_space_release(&t->space, cost);
		if (!is_full(r) || again)
			return is_full(r) ? -ENOSPC : r;
		r = make_room(t, cost);
		if (r < 0)
			return r;
	}
}

static int disk_begin(void *impl, const struct oid *oid, uint64_t size, void **ret_write)
{
	struct disk_tier *t = impl;
	struct disk_write *w;
	int r;

	if (size > DISK_SIZE_MAX)
		return -EFBIG;
	r = reserve(t, disk_file_cost(size));
	if (r < 0)
		return r;
	r = disk_files_begin(t->files, oid, size, tick(t), &w);
	if (is_full(r) && make_room(t, size) == 0)
		r = disk_files_begin(t->files, oid, size, tick(t), &w);
	if (r < 0) {
		disk_space_release(&t->space, disk_file_cost(size));
		return is_full(r) ? -ENOSPC : r;
	}
	*ret_write = w;
	return 0;
}

static int disk_write_piece(void *impl, void *write, const void *data, size_t len)
{
	struct disk_tier *t = impl;
	size_t done;
	int r;

	r = disk_write_append(write, data, len, &done);
	if (is_full(r) && make_room(t, disk_write_size(write)) == 0)
		r = disk_write_append(write, (const uint8_t *)data + done, len - done, &done);
	return is_full(r) ? -ENOSPC : r;
}

static int disk_commit(void *impl, void *write)
{
	struct disk_tier *t = impl;
	uint64_t cost = disk_file_cost(disk_write_size(write));
	bool stored;
	int r;

	r = disk_write_commit(write, &stored);
	if (!stored)
		disk_space_release(&t->space, cost);
	return is_full(r) ? -ENOSPC : r;
}

static void disk_abort(void *impl, void *write)
{
	struct disk_tier *t = impl;

	disk_space_release(&t->space, disk_file_cost(disk_write_size(write)));
	disk_write_abort(write);
}

static int disk_put(void *impl, const struct oid *oid, const void *data, size_t len)
{
	struct disk_tier *t = impl;
	void *write;
	int r;

	if (len <= t->small_max)
		return put_small(t, oid, data, len);
	r = disk_begin(t, oid, len, &write);
	if (r < 0)
		return r;
	r = disk_write_piece(t, write, data, len);
	if (r == 0)
		return disk_commit(t, write);
	disk_abort(t, write);
	return r;
}

static void disk_drop(void *impl, const struct oid *oid)
{
	struct disk_tier *t = impl;
	struct disk_key key = disk_key(oid);
	struct disk_place place;

	if (disk_index_find(t->index, &key, &place))
		drop_at(t, &key, &place);
}

static int disk_evict(void *impl, uint64_t want_bytes, uint64_t *ret_freed)
{
	return disk_reclaim(impl, want_bytes, ret_freed);
}

static void disk_stats(void *impl, struct blob_tier_stats *ret_stats)
{
	struct disk_tier *t = impl;
	int64_t pins = gauge_get(&t->pins);

	blob_counters_get(&t->counters, ret_stats);
	ret_stats->blobs = disk_index_count(t->index);
	ret_stats->bytes = disk_space_used(&t->space);
	ret_stats->budget_bytes = t->space.budget;
	ret_stats->pinned = pins > 0 ? (uint64_t)pins : 0;
}

const struct blob_tier_ops blob_disk_ops = {
	.name = "disk",
	.close = disk_tier_close,
	.read = disk_read,
	.has = disk_has,
	.settle = disk_settle,
	.pin = disk_pin,
	.unpin = disk_unpin,
	.put = disk_put,
	.begin = disk_begin,
	.write = disk_write_piece,
	.commit = disk_commit,
	.abort = disk_abort,
	.drop = disk_drop,
	.evict = disk_evict,
	.stats = disk_stats,
};
