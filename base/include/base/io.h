/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes, and files that appear complete or not at all. All blocking; EINTR is
 * retried. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cancel;

/* All of `len` bytes, or a negative errno; a short file is -ENODATA. */
int io_read_full(int fd, void *buf, size_t len);
int io_pread_full(int fd, void *buf, size_t len, uint64_t offset);
int io_write_full(int fd, const void *buf, size_t len);
int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);
/* Whole file below dirfd (AT_FDCWD is fine) as malloc'ed, NUL-terminated bytes. -EFBIG beyond
 * `max`. */
int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len);
/* Replace `name` in dirfd: temporary name, write, fsync if `sync`, rename, fsync the directory if
 * `sync`. */
int io_write_file(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync);
/* Every missing directory of the path, like mkdir -p. */
int io_mkdirs(const char *path, mode_t mode);
/* Remove a tree below dirfd without following symlinks or crossing into other mounts (EXDEV
 * counts as an error, bind mounts included). What does not exist is success; "." and ".." are
 * -EINVAL. Depth costs neither stack nor descriptors. Whoever adds entries meanwhile can make it
 * fail with -ENOTEMPTY, or -ESTALE if directories move. */
int io_remove_tree(int dirfd, const char *name);
/* The same, ending soon with -ECANCELED when `cancel` fires; what is left can be removed later. */
int io_remove_tree_until(int dirfd, const char *name, const struct cancel *cancel);
/* Copy `len` bytes (UINT64_MAX: to the end): reflink, else copy_file_range, else read and write.
 * Returns bytes through ret. */
int io_copy_range(int in_fd, uint64_t in_off, int out_fd, uint64_t out_off, uint64_t len,
	uint64_t *ret_copied);
int io_fsync_dir(int dirfd, const char *path);
/* Hash of bytes for tables (not cryptographic, keyed so that callers cannot choose collisions):
 * SipHash-1-3. */
uint64_t io_hash(const void *data, size_t len, const uint64_t key[2]);
/* `len` bytes from getrandom(2); -EIO if there are none. */
int io_random(void *buf, size_t len);
/* Unit words of the config: "256MiB", "20GiB", "1000", "4k"; and durations "500ms", "30s", "5m",
 * "7d". False if not one. */
bool io_parse_size(const char *text, uint64_t *ret_bytes);
bool io_parse_duration(const char *text, uint64_t *ret_ns);
