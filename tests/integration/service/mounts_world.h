/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node without its API: configuration, tenants, storage, FUSE farm and the registry, over a small
 * repository, in a temporary directory. It can be closed and opened again on the same directories,
 * as a restart does.
 */
#pragma once
#include "git_fixture.h"
#include "tmpdir.h"

#include <base/err.h>
#include <service/mounts.h>

struct mounts_world {
	struct tmpdir dir;
	struct git_fixture git;
	char tenants_yaml[512]; /* what the configuration says after "origins:"; may be set before
				   opening */
	struct cfg *cfg;
	struct metrics *metrics;
	struct tenants *tenants;
	struct storage *storage;
	struct sess_mounter *mounter;
	struct sess_farm *farm;
	struct mounts *mounts;
};

/* Directories and the repository. */
void world_init(struct mounts_world *w);
/* Removes them; the world must be closed. Fails the test if a mount is left. */
void world_fini(struct mounts_world *w);
void world_open(struct mounts_world *w);
void world_close(struct mounts_world *w);

/* Create for tenant "default", whole repository; fails the test if it fails. The caller ends `ret`.
 */
void world_create(struct mounts_world *w, const char *job_id, struct mount_info *ret);
/* The same with everything of `rq` but the tenant, if it has none. */
int world_try_create(struct mounts_world *w, const struct mount_request *rq, struct mount_info *ret,
	struct err *e);
int world_delete(struct mounts_world *w, const char *job_id, struct err *e);
int world_get(struct mounts_world *w, const char *job_id, struct mount_info *ret);

/* "<root>/<name>" of a mount. */
const char *world_path(const struct mount_info *info, const char *name, char *buf, size_t cap);
void world_write(const char *path, const char *text);
void world_expect_content(const char *path, const char *text);
bool world_exists(const char *path);
/* "<data_dir>/<name>". */
const char *world_data(const struct mounts_world *w, const char *name, char *buf, size_t cap);
/* Wait, at most ten seconds, until data_dir/workspaces and data_dir/trash hold `count` entries in
 * all. */
void world_expect_directories(struct mounts_world *w, unsigned count);
