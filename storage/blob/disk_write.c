/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing one large blob: a file in tmp, as long as the blob from the start (so that a full disk
 * shows at once), filled in order, published by rename. No fsync: the content can be verified, and
 * is after a crash. One thread owns a write.
 */
#include "blob/disk_write.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

struct disk_write {
	struct disk_files *files;
	struct disk_key key;
	uint64_t size, done;
	uint16_t used;
	int fd;
	char tmp[DISK_FILE_NAME_BYTES];
};

/* Blocks for the whole file. A filesystem that cannot reserve is fine; one that is full is not. */
static int preallocate(int fd, uint64_t size)
{
	if (fallocate(fd, 0, 0, (off_t)size) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR ? 0 : -errno;
}

int disk_files_begin(struct disk_files *files, const struct oid *oid, uint64_t size, uint16_t used,
	struct disk_write **ret_write)
{
	struct disk_write *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->files = files;
	w->key = disk_key(oid);
	w->size = size;
	w->used = used;
	r = disk_files_temporary(files, w->tmp, &w->fd);
	if (r < 0) {
		free(w);
		return r;
	}
	r = size ? preallocate(w->fd, size) : 0;
	if (r < 0) {
		disk_write_abort(w);
		return r;
	}
	*ret_write = w;
	return 0;
}

uint64_t disk_write_size(const struct disk_write *w)
{
	return w->size;
}

int disk_write_append(struct disk_write *w, const void *data, size_t len, size_t *ret_done)
{
	const uint8_t *p = data;
	size_t done = 0;
	int r = 0;

	if (len > w->size - w->done)
		return -EFBIG;
	while (done < len) {
		ssize_t n = pwrite(w->fd, p + done, len - done, (off_t)(w->done + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : -ENOSPC;
			break;
		}
		done += (size_t)n;
	}
	w->done += done;
	*ret_done = done;
	return r;
}

int disk_write_commit(struct disk_write *w, bool *ret_stored)
{
	struct disk_place place = {.size = w->size, .proven = true, .used = w->used};
	int r;

	*ret_stored = false;
	r = w->done == w->size ? 0 : -EIO;
	disk_files_stamp(w->files, w->fd);
	if (close(TAKE_FD(w->fd)) < 0 && r == 0)
		r = -errno; /* network filesystems tell here that it did not fit */
	if (r == 0)
		r = disk_files_publish(w->files, w->tmp, &w->key, &place, ret_stored);
	disk_write_abort(w);
	return r;
}

void disk_write_abort(struct disk_write *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	disk_files_discard(w->files, w->tmp); /* nothing there any more once published */
	free(w);
}
