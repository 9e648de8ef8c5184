/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing a workspace's files from the service: the overlay's own operations, as the workspace's
 * owner, with what is missing fetched and the kernel told of each name.
 */
#pragma once
#include "workflow/wf.h"

#include <fuse/overlay.h>

struct session;

struct wf_files {
	struct wf *w;
	struct overlay *overlay;
	struct session *session;
	uint64_t next; /* of the requests' numbers, and of temporary names */
	/* What is done is written down, one file after another: temporary files have the same
	 * name after a kill. Directories that are made show nothing of the base. */
	bool planned;
	/* The kernel's requests are not served yet: what changes it is told later, by others. */
	bool silent;
};

/* A name in a directory that was entered. */
struct wf_place {
	uint64_t parent;
	bool counted; /* `parent` counts as a lookup */
	/* Those above it count too: as with the kernel, who has a file has its directories. */
	uint64_t *above;
	size_t above_count, above_cap;
	const char *name;
	char text[256];
};

void wf_files_init(struct wf_files *f, struct wf *w);
/* The directory of a path. With `make` what lacks is made and files in the way go; but if a
 * directory of the base could be brought back, it is, and *ret_restored is the length of its path.
 * -ENOENT. */
int wf_files_enter(struct wf_files *f, const char *path, bool make, struct wf_place *ret_place,
	size_t *ret_restored);
void wf_files_leave(struct wf_files *f, struct wf_place *place);
/* The place's directory is read, whether the name is there or not. */
int wf_files_look(struct wf_files *f, struct wf_place *place);
/* The directories of `path` that are empty go; with `keep_base` only those that the base does not
 * have. */
int wf_files_prune(struct wf_files *f, const char *path, bool keep_base);
/* A file goes, and the directories of `path` that are empty then. */
int wf_files_remove(struct wf_files *f, struct wf_place *place, const char *path);
/* What the base has there is there again. -EBUSY: not now. */
int wf_files_restore(struct wf_files *f, struct wf_place *place);
/* What the job has there over something new of the base goes: the base's is seen. Its id was never
 * given to anybody. */
int wf_files_uncover(struct wf_files *f, struct wf_place *place);
/* An empty directory that is there goes; what is none stays. -ENOTEMPTY. */
int wf_files_rmdir(struct wf_files *f, struct wf_place *place);
/* An empty directory, unless one is there. */
int wf_files_mkdir(struct wf_files *f, struct wf_place *place);
/* A file or symlink with this content and mode takes the place. */
int wf_files_write(struct wf_files *f, struct wf_place *place, const struct wf_node *node);
