/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount keeps because no origin has it: the file that a change list was made of, and the
 * contents that came out.
 *
 *	<workspace>/cl/<name>/source, deleted    as they were given
 *	                     /gitlinks           commits of submodules: "<id> <path>\0" each
 *	                     /<oid>              a blob each, for the storage (storage/kept.h)
 *
 * <name> is the start of the source's SHA-256, so the same change list is kept once, and nothing
 * here is ever changed. Of a change list of a server the source is the list of files that it told
 * (mount_change_told.c), and only then there is one. It counts against the mount's quota, and goes
 *with the workspace; what the record does not name any more goes when the mount is opened the next
 *time.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <storage/digest.h>

struct mount;
struct mount_kept;
struct mount_record;

/* The directory of the record's change list, made if need be. */
int mount_kept_begin(
	struct mount *mt, const struct mount_record *rec, struct mount_kept **ret_kept);
/* Adds a file unless it is there. -EDQUOT: the mount's quota has no room for it; -ENOSPC. */
int mount_kept_put(struct mount_kept *k, const char *name, const void *data, size_t len);
/* -ENOENT; malloc'ed, NUL-terminated. */
int mount_kept_get(
	struct mount_kept *k, const char *name, size_t max, char **ret_data, size_t *ret_len);
/* All of it is on disk and charged, and what is in it can be fetched. */
int mount_kept_finish(struct mount_kept *k);
/* NULL is fine. What was not finished is removed, if it was not there before. */
void mount_kept_free(struct mount_kept *k);

/* For mount_attach and mount_detach: all that the record's change list keeps, charged. */
int mount_kept_open(struct mount *mt);
void mount_kept_close(struct mount *mt);
