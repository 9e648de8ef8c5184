/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of segments and the appending. Appends are serialised by one lock: a record is at most
 * small_max bytes into the page cache, and so a segment never has holes: whatever survives a kill
 * is a prefix of whole records and one torn tail.
 *
 * A slot's pointer is written under the lock, before the index names the slot, and cleared after
 * the index has stopped naming it; so whoever finds the slot in the index, under the index lock,
 * may read the pointer without this lock.
 */
#include "blob/disk_log.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "blob/disk_sidecar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OVERHEAD (DISK_SEGMENT_HEADER + DISK_SIDECAR_HEADER)

struct disk_log {
	int dirfd;
	uint64_t segment_bytes;
	struct disk_index *index;
	struct disk_space *space;
	uint32_t slot_count; /* const after open, as are all above */
	struct lock lock;
	struct disk_segment *
		*slot;    /* guarded by lock and the index, see above; slot 0 is never used */
	uint32_t active;  /* guarded by lock; 0 = none */
	uint64_t next_id; /* guarded by lock */
};

uint64_t disk_log_cost(size_t len)
{
	return disk_record_bytes(len) + sizeof(struct disk_row);
}

static int compare_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* only read from */
}

static DIR *open_dir(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		(void)close(fd);
	return dir;
}

/* Ids of the segments in rising order. What is neither segment nor sidecar is a rest of a dead
 * process and goes. */
static int list_ids(int dirfd, uint64_t **ret_ids, uint32_t *ret_count)
{
	__attribute__((cleanup(close_dir))) DIR *dir = open_dir(dirfd);
	_cleanup_free_ uint64_t *ids = NULL;
	uint32_t count = 0, cap = 0;
	struct dirent *de;
	uint64_t id;

	if (!dir)
		return -errno;
	while (errno = 0, (de = readdir(dir))) {
		size_t len = strlen(de->d_name);

		if (!disk_segment_parse_name(de->d_name, &id)) {
			if (len < 4 || strcmp(de->d_name + len - 4, ".idx") != 0)
				(void)unlinkat(dirfd, de->d_name, 0); /* fails for . and .. */
			continue;
		}
		if (count == cap) {
			uint64_t *more = reallocarray(ids, cap + 256, sizeof(*ids));

			if (!more)
				return -ENOMEM;
			ids = more;
			cap += 256;
		}
		ids[count++] = id;
	}
	if (errno)
		return -errno;
	if (count)
		qsort(ids, count, sizeof(*ids), compare_id);
	*ret_ids = TAKE_PTR(ids);
	*ret_count = count;
	return 0;
}

static uint64_t segment_charge(const struct disk_segment *s)
{
	return s->bytes + (uint64_t)s->row_count * sizeof(struct disk_row) + OVERHEAD -
	       DISK_SEGMENT_HEADER;
}

static int enter_rows(struct disk_log *log, const struct disk_segment *s, uint32_t slot)
{
	for (uint32_t i = 0; i < s->row_count; i++) {
		const struct disk_row *row = &s->rows[i];
		struct disk_place place = {
			.segment = slot, .offset = row->offset, .size = row->size};
		struct disk_key key = {.oid_len = row->oid_len};
		int r;

		memcpy(key.bytes, row->key, DISK_KEY_BYTES);
		r = disk_index_add(log->index, &key, &place);
		if (r < 0 &&
			r != -EEXIST) /* a kill during carrying over leaves two equal records */
			return r;
	}
	return 0;
}

/* `last`: it may be appended to again. */
static int load_segment(struct disk_log *log, uint64_t id, uint32_t slot, bool last)
{
	struct disk_segment *s;
	bool sealed;
	int r;

	r = disk_segment_open(log->dirfd, id, &s, &sealed);
	if (r == -EIO) { /* damaged: it is a cache, what was in it is fetched again */
		disk_segment_unlink(log->dirfd, id);
		return 0;
	}
	if (r < 0)
		return r;
	log->slot[slot] = s;
	s->charged = segment_charge(s);
	disk_space_force(log->space, s->charged);
	r = enter_rows(log, s, slot);
	if (r < 0)
		return r;
	if (last && s->bytes < log->segment_bytes && s->row_count < DISK_SEGMENT_ROWS_MAX) {
		disk_sidecar_unlink(log->dirfd, id); /* from now on it does not tell all */
		log->active = slot;
	} else {
		if (!sealed)
			(void)disk_sidecar_write(
				log->dirfd, s); /* without it the next start walks again */
		disk_segment_forget_rows(s);
	}
	return 0;
}

static int load_all(struct disk_log *log, const uint64_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		int r = load_segment(log, ids[i], i + 1, i + 1 == count);

		if (r < 0)
			return r;
		log->next_id = ids[i] + 1;
	}
	return 0;
}

int disk_log_open(struct disk_log **ret_log, const struct disk_log_config *config)
{
	_cleanup_free_ uint64_t *ids = NULL;
	struct disk_log *log;
	uint32_t count = 0;
	int r;

	log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	lock_init(&log->lock, LOCK_RANK_BLOB_TIER);
	log->segment_bytes = config->segment_bytes;
	log->index = config->index;
	log->space = config->space;
	log->next_id = 1;
	r = mkdirat(config->parent_fd, "segments", 0700) < 0 && errno != EEXIST ? -errno : 0;
	log->dirfd =
		r < 0 ? -1
		      : openat(config->parent_fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && log->dirfd < 0)
		r = -errno;
	if (r == 0)
		r = list_ids(log->dirfd, &ids, &count);
	if (r == 0) {
		log->slot_count = (count + 64 > config->slots ? count + 64 : config->slots) + 1;
		log->slot = calloc(log->slot_count, sizeof(struct disk_segment *));
		r = log->slot ? load_all(log, ids, count) : -ENOMEM;
	}
	if (r < 0) {
		(void)disk_log_close(log);
		return r;
	}
	*ret_log = log;
	return 0;
}

struct disk_log *disk_log_close(struct disk_log *log)
{
	if (!log)
		return NULL;
	if (log->active)
		(void)disk_sidecar_write(
			log->dirfd, log->slot[log->active]); /* only makes the next start quick */
	for (uint32_t i = 1; log->slot && i < log->slot_count; i++)
		if (log->slot[i])
			disk_handle_put(&log->slot[i]->handle);
	free(log->slot);
	if (log->dirfd >= 0)
		(void)close(log->dirfd);
	lock_fini(&log->lock);
	free(log);
	return NULL;
}

static void seal_active_locked(struct disk_log *log)
{
	struct disk_segment *s = log->slot[log->active];

	(void)disk_sidecar_write(log->dirfd, s); /* without it the next start walks the records */
	disk_segment_forget_rows(s);
	log->active = 0;
}

static int open_next_locked(struct disk_log *log)
{
	uint32_t slot = 1;
	int r;

	while (slot < log->slot_count && log->slot[slot])
		slot++;
	if (slot == log->slot_count)
		return -ENOSPC;
	r = disk_space_reserve(log->space, OVERHEAD);
	if (r < 0)
		return r;
	r = disk_segment_create(log->dirfd, log->next_id, &log->slot[slot]);
	if (r < 0) {
		disk_space_release(log->space, OVERHEAD);
		return r;
	}
	log->slot[slot]->charged = OVERHEAD;
	log->next_id++;
	log->active = slot;
	return 0;
}

static int room_locked(struct disk_log *log, size_t len)
{
	if (log->active) {
		const struct disk_segment *s = log->slot[log->active];

		if (s->row_count < DISK_SEGMENT_ROWS_MAX &&
			(uint64_t)s->bytes + disk_record_bytes(len) <= log->segment_bytes)
			return 0;
		seal_active_locked(log);
	}
	return open_next_locked(log);
}

int disk_log_append(struct disk_log *log, const struct disk_append *a, bool *ret_stored)
{
	struct disk_key key = disk_key(a->oid);
	struct disk_place place;
	int r;

	LOCK_GUARD(&log->lock);
	*ret_stored = false;
	if (!a->from && disk_index_find(log->index, &key, &place))
		return 0;
	r = room_locked(log, a->len);
	if (r < 0)
		return r;
	place = (struct disk_place){
		.segment = log->active, .size = a->len, .proven = true, .used = a->used};
	r = disk_segment_append(log->slot[log->active], a->oid, a->data, a->len, &place.offset);
	if (r < 0)
		return r;
	log->slot[log->active]->charged += disk_log_cost(a->len);
	*ret_stored = true;
	if (a->from) {
		(void)disk_index_move(
			log->index, &key, a->from, &place); /* gone meanwhile: dead bytes */
		return 0;
	}
	return disk_index_add(log->index, &key, &place);
}

struct disk_segment *disk_log_hold(void *log, uint32_t slot)
{
	struct disk_segment *s = ((struct disk_log *)log)->slot[slot];

	ref_get(&s->handle.ref);
	return s;
}

struct disk_segment *disk_log_hold_pinned(void *log, uint32_t slot)
{
	struct disk_segment *s = disk_log_hold(log, slot);

	gauge_add(&s->handle.pins, 1);
	return s;
}

uint32_t disk_log_slots(const struct disk_log *log)
{
	return log->slot_count;
}

bool disk_log_evictable(struct disk_log *log, uint32_t slot, uint64_t *ret_bytes, uint64_t *ret_id)
{
	const struct disk_segment *s;

	LOCK_GUARD(&log->lock);
	s = log->slot[slot];
	if (!s || slot == log->active || gauge_get(&s->handle.pins) > 0)
		return false;
	*ret_bytes = s->charged;
	*ret_id = s->id;
	return true;
}

bool disk_log_pinned(const struct disk_log *log, uint32_t slot)
{
	return gauge_get(&log->slot[slot]->handle.pins) > 0;
}

uint64_t disk_log_remove(struct disk_log *log, uint32_t slot)
{
	struct disk_segment *s;
	uint64_t freed;

	LOCK_GUARD(&log->lock);
	s = TAKE_PTR(log->slot[slot]);
	freed = s->charged;
	disk_segment_unlink(log->dirfd, s->id);
	disk_space_release(log->space, freed);
	disk_handle_put(&s->handle);
	return freed;
}
