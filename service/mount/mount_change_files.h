/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change lists that are files (patches, archives): which paths become what, step by step, with
 * contents kept as they come; in the end a layer. A path is looked up in the revision when it is
 * first named.
 */
#pragma once
#include "mount_change_internal.h"
#include "mount_kept.h"

#include <base/hashmap.h>

struct change_path {
	struct change_path *next_same; /* with the same hash */
	const char *path;              /* in the repository */
	const char *inside;            /* below the mount's directory */
	struct layer_entry base;       /* what the revision has */
	struct layer_entry before;     /* after the last whole commit of a series */
	struct layer_entry now;
	struct oid gitlink; /* the commit of a submodule that was set */
	bool replaces;
	bool goes;  /* a file of this commit takes it away */
	bool taken; /* a file of this commit took the name */
	bool bad;   /* told already */
	char text[];
};

struct change_files {
	struct change_work *work;
	struct mount_kept *kept;
	struct hashmap map; /* struct change_path */
	struct change_path **all;
	size_t count, cap;
	uint64_t hash_key[2];
	uint8_t oid_len;
};

/* What the change list was made of, from the request or as it was kept: `name` is that of the file
 * that keeps it. */
int change_files_init(struct change_files *f, struct change_work *w);
void change_files_fini(struct change_files *f);
int change_files_source(struct change_files *f, const char *name,
	const struct mount_change_source *given, struct storage_content *ret_content);
/* NULL in *ret: it is not below the mount's directory, and does not count. -ENOMEM, -E2BIG (all
 * errors are told). */
int change_files_find(struct change_files *f, const char *path, struct change_path **ret);
/* All bytes of a file or symlink, malloc'ed. */
int change_files_read(struct change_files *f, const struct layer_entry *entry,
	struct storage_content *ret_content);
/* Its content is kept, unless the revision has the same. */
int change_files_write(
	struct change_files *f, struct change_path *p, uint32_t mode, const void *data, size_t len);
/* A commit of a series is whole. */
void change_files_commit(struct change_files *f);
/* All of it over the revision. */
int change_files_lay(struct change_files *f);
/* Tells that `r` came from doing something with the change list's files; returns it. */
int change_files_failed(struct change_files *f, int r, const char *path);
