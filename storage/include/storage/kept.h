/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents that no origin has (what a patch makes of a file): a directory with a file for each
 * blob, named by its id in hex, that someone keeps for as long as they are needed. While it is open
 * here, blobs that are fetched are looked for in it before an origin is asked, whoever wants them:
 * they are verified as everything else. Other names in the directory do not count.
 *
 * Any thread; opening and reading block on the disk.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stdint.h>

struct storage;
struct storage_kept;

/* -ENOENT, -ENOTDIR, -ENOMEM. What is put into the directory later is not seen. */
int storage_kept_open(struct storage *st, const char *dir, struct storage_kept **ret_kept);
/* Before the storage is closed. NULL is fine. Returns NULL. */
struct storage_kept *storage_kept_close(struct storage_kept *kept);
/* Of all files in it. */
uint64_t storage_kept_bytes(const struct storage_kept *kept);
