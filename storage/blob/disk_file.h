/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large blobs, a file each: files/<first two digits>/<160 bits of the oid>.<oid bytes>.<size in
 * hex>. The name tells the size, so a start needs no stat, and a file that a crash made shorter is
 * found out at its first open. Descriptors are kept in a small LRU.
 *
 * A file's mtime is the stamp of the boot of the machine in which it was written or last hashed:
 * with another stamp it may have lost bytes in a crash (nothing is synced), and is hashed before it
 * is trusted.
 */
#pragma once
#include "blob/disk_index.h"
#include "blob/disk_internal.h"

#include <time.h>

#define DISK_FILE_FDS_MAX 256

struct cancel;
struct disk_files;
struct disk_write;

struct disk_files_config {
	int parent_fd; /* "files" and "tmp" are made in it; what is in tmp is removed */
	struct disk_index *index;
	struct disk_space *space;
	struct timespec
		stamp; /* of this boot; 0: unknown, then no file is trusted before it was hashed */
};

int disk_files_open(struct disk_files **ret_files, const struct disk_files_config *config);
struct disk_files *disk_files_close(struct disk_files *files);
/* What a blob takes of the budget: whole blocks. */
uint64_t disk_file_cost(uint64_t size);

/* The open file of a blob that the index has at `place`, held (and pinned). -EAGAIN: gone
 * meanwhile. -EIO: not the size that it should have; drop it. */
int disk_files_hold(struct disk_files *files, const struct disk_key *key,
	const struct disk_place *place, bool pin, struct disk_handle **ret_handle);
bool disk_file_trusted(const struct disk_files *files, const struct disk_handle *h);
/* Hash the whole file against `oid`, then stamp it. -EBADMSG: it is not that. Blocks on the disk.
 */
int disk_file_prove(const struct disk_files *files, const struct disk_handle *h,
	const struct oid *oid, const struct cancel *cancel, uint64_t deadline_ns);
/* Remove file, index entry and charge. -EBUSY: pinned, and not `damaged`. *ret_freed may be NULL.
 */
int disk_files_remove(struct disk_files *files, const struct disk_key *key,
	const struct disk_place *place, bool damaged, uint64_t *ret_freed);

/* Writing: the caller has reserved disk_file_cost(size), which abort and a failed commit do not
 * give back. `used`: the tick now. */
int disk_files_begin(struct disk_files *files, const struct oid *oid, uint64_t size, uint16_t used,
	struct disk_write **ret_write);
/* -ENOSPC: call again for the rest, *ret_done bytes were taken. */
int disk_write_append(struct disk_write *w, const void *data, size_t len, size_t *ret_done);
uint64_t disk_write_size(const struct disk_write *w);
/* Publish. *ret_stored false: it was there already. */
int disk_write_commit(struct disk_write *w, bool *ret_stored);
void disk_write_abort(struct disk_write *w);
