/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_kept.h. By the claimer of the mount. */
#include "mount_kept.h"

#include "mount_change_list.h"
#include "mounts_internal.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/kept.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_LEN 32
#define BLOCK    4096u

struct mount_kept {
	struct mount *mt;
	char *dir;
	int fd;
	bool made;            /* the directory was not there */
	bool finished;        /* nothing is to be undone */
	uint64_t bytes, room; /* added; that may be */
};

static uint64_t in_blocks(uint64_t bytes)
{
	return (bytes / BLOCK + 1) * BLOCK;
}

/* "": the record's change list keeps nothing. */
static void name_of(const struct mount_record *rec, char ret_name[NAME_LEN + 1])
{
	char hex[OID_HEX_MAX] = "";
	const char *from = hex;

	if (rec->change_kind == MOUNT_CHANGE_PATCH || rec->change_kind == MOUNT_CHANGE_TAR)
		from = rec->change_text ? rec->change_text : "";
	else if (mount_change_list_is_told(rec))
		(void)oid_hex(&rec->change_from, hex);
	(void)snprintf(ret_name, NAME_LEN + 1, "%s", from);
}

static char *dir_of(const struct mount *mt, const char *name)
{
	char *dir;

	return asprintf(&dir, "%s/%s/cl%s%s", mt->registry->workspaces_dir, mt->rec.mount_id,
		       *name ? "/" : "", name) < 0
		       ? NULL
		       : dir;
}

/* What the mount may still take. Before it is attached it has no account of its own. */
static uint64_t room_of(const struct mount *mt, const struct mount_record *rec)
{
	uint64_t room;

	if (mt->attached)
		return quota_available(&mt->quota, QUOTA_BYTES);
	room = quota_available(tenant_quota(mt->tenant), QUOTA_BYTES);
	return rec->quota_bytes < room ? rec->quota_bytes : room;
}

int mount_kept_begin(struct mount *mt, const struct mount_record *rec, struct mount_kept **ret_kept)
{
	struct mount_kept *k = calloc(1, sizeof(*k));
	char name[NAME_LEN + 1];
	struct stat st;
	int r;

	if (!k)
		return -ENOMEM;
	k->mt = mt;
	k->fd = -1;
	k->room = room_of(mt, rec);
	name_of(rec, name);
	k->dir = dir_of(mt, name);
	if (!k->dir) {
		mount_kept_free(k);
		return -ENOMEM;
	}
	k->made = stat(k->dir, &st) < 0;
	r = io_mkdirs(k->dir, 0700);
	if (r == 0) {
		k->fd = open(k->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = k->fd < 0 ? -errno : 0;
	}
	if (r < 0) {
		mount_kept_free(k);
		return r;
	}
	*ret_kept = k;
	return 0;
}

int mount_kept_put(struct mount_kept *k, const char *name, const void *data, size_t len)
{
	int r;

	if (faccessat(k->fd, name, F_OK, 0) == 0)
		return 0;
	if (k->bytes + in_blocks(len) > k->room)
		return -EDQUOT;
	r = io_write_file(k->fd, name, data, len, 0600, false); /* synced with all others */
	if (r == 0)
		k->bytes += in_blocks(len);
	return r;
}

int mount_kept_get(
	struct mount_kept *k, const char *name, size_t max, char **ret_data, size_t *ret_len)
{
	return io_read_file(k->fd, name, max, ret_data, ret_len);
}

/* From now on it can be fetched. */
static int serve(struct mount *mt, const char *dir, uint64_t *ret_bytes)
{
	struct storage_kept **all, *kept;
	int r = storage_kept_open(mt->registry->config.storage, dir, &kept);

	if (r < 0)
		return r;
	all = reallocarray(mt->kept, mt->kept_count + 1u, sizeof(struct storage_kept *));
	if (!all) {
		storage_kept_close(kept);
		return -ENOMEM;
	}
	mt->kept = all;
	mt->kept[mt->kept_count++] = kept;
	*ret_bytes = storage_kept_bytes(kept);
	return 0;
}

int mount_kept_finish(struct mount_kept *k)
{
	uint64_t ignored;
	int r = 0;

	if (k->bytes && syncfs(k->fd) < 0)
		return -errno;
	if (k->made)
		r = io_fsync_dir(k->fd, "..");
	/* an account that is not open yet is charged when it is */
	if (r == 0 && k->mt->attached && k->bytes)
		r = quota_charge(&k->mt->quota, QUOTA_BYTES, k->bytes);
	if (r == 0)
		r = serve(k->mt, k->dir, &ignored);
	k->finished = r == 0;
	return r;
}

void mount_kept_free(struct mount_kept *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		(void)close(k->fd); /* a directory: what is in it was synced, or goes */
	if (!k->finished && k->made && k->dir) {
		int r = io_remove_tree(AT_FDCWD, k->dir);

		if (r < 0 && r != -ENOENT) /* goes with the workspace */
			log_warn("change_list_left", LOG_S("dir", k->dir), LOG_E(r));
	}
	free(k->dir);
	free(k);
}

/* ---- a mount that is opened ---- */

/* Change lists that were switched off. */
static void sweep(const struct mount *mt, const char *dir, const char *keep)
{
	DIR *d = opendir(dir);

	if (!d)
		return; /* there is none */
	for (const struct dirent *entry; (entry = readdir(d));) {
		int r;

		if (entry->d_name[0] == '.' || strcmp(entry->d_name, keep) == 0)
			continue;
		r = io_remove_tree(dirfd(d), entry->d_name);
		if (r < 0)
			log_warn("change_list_left", LOG_S("mount_id", mt->rec.mount_id),
				LOG_S("name", entry->d_name), LOG_E(r));
	}
	(void)closedir(d);
}

int mount_kept_open(struct mount *mt)
{
	_cleanup_free_ char *all = dir_of(mt, "");
	_cleanup_free_ char *dir = NULL;
	char name[NAME_LEN + 1];
	uint64_t bytes;
	int r;

	if (!all)
		return -ENOMEM;
	name_of(&mt->rec, name);
	sweep(mt, all, name);
	if (!*name)
		return 0;
	dir = dir_of(mt, name);
	if (!dir)
		return -ENOMEM;
	while (mt->kept_count) /* what lay before the mount had an account */
		storage_kept_close(mt->kept[--mt->kept_count]);
	r = serve(mt, dir, &bytes);
	/* a release that does not know of lists has cleared it away; its contents are the origin's
	 */
	if (r == -ENOENT && mount_change_list_is_told(&mt->rec))
		return 0;
	if (r == 0)
		quota_charge_force(&mt->quota, QUOTA_BYTES, bytes);
	return r;
}

void mount_kept_close(struct mount *mt)
{
	while (mt->kept_count)
		storage_kept_close(mt->kept[--mt->kept_count]);
	free(mt->kept);
	mt->kept = NULL;
}
