/* SPDX-License-Identifier: Apache-2.0 */
/* What the writing of a large blob needs of the directory of files; private to disk_file.c and
 * disk_write.c. */
#pragma once
#include "blob/disk_file.h"

#define DISK_FILE_NAME_BYTES 96

/* "ab/<hex>.<oid bytes>.<size>" in `buf` of DISK_FILE_NAME_BYTES; returns buf. */
const char *disk_file_name(const struct disk_key *key, uint64_t size, char *buf);
/* A new file in tmp; its name goes to `name` of DISK_FILE_NAME_BYTES. */
int disk_files_temporary(struct disk_files *files, char *name, int *ret_fd);
/* Mark as written in this boot. */
void disk_files_stamp(const struct disk_files *files, int fd);
void disk_files_discard(struct disk_files *files, const char *tmp);
/* Give a temporary file its name and an index entry, unless the blob has one. */
int disk_files_publish(struct disk_files *files, const char *tmp, const struct disk_key *key,
	const struct disk_place *place, bool *ret_stored);
