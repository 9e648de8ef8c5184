/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job changed: the upper layer of a workspace, a directory at a time. The cost is that of
 * the changed directories, never of the repository. Nothing of the lower is touched; what shows
 * through is named by tree oid.
 *
 * The upper is read from the disk while jobs write in it, so a listing is as good as one of a live
 * directory: what comes or goes meanwhile is in it or not. Its content is hostile: opened a
 * component at a time, never following symlinks. Any thread; blocks on the local disk.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct ovl_ws;

/* One name in an upper directory. */
struct ovl_upper_entry {
	const char *name; /* NUL-terminated, in the directory's memory */
	size_t name_len;
	mode_t mode; /* type and permissions (a directory's or symlink's: type only); 0: a whiteout,
			the lower's name is gone */
	uint64_t ino, size;           /* of a regular file */
	struct timespec mtime, ctime; /* of a regular file */
	size_t name_at;               /* private */
};

struct ovl_upper_dir {
	int fd;
	bool has_lower;                  /* something shows through */
	bool redirected;                 /* named by itself: a switch leaves it as it is */
	struct oid lower;                /* which tree */
	struct ovl_upper_entry *entries; /* by name, as bytes */
	size_t count;
	char *names; /* private */
};
#define OVL_UPPER_DIR_NONE ((struct ovl_upper_dir){.fd = -1})

/* The root. `ws` stays open for the time of the call. Close with ovl_upper_close. -EFBIG: more
 * names than are listed (4 million). */
int ovl_upper_root(struct ovl_ws *ws, struct ovl_upper_dir *ret_dir);
/* The sub-directory `name`. `below` is the tree that the directory's own lower has under that name,
 * NULL if none: a redirect or an opaque mark overrules it. -ENOENT, -ENOTDIR: it is not one (any
 * more). */
int ovl_upper_enter(const struct ovl_upper_dir *dir, const char *name, const struct oid *below,
	struct ovl_upper_dir *ret_dir);
void ovl_upper_close(struct ovl_upper_dir *dir); /* accepts OVL_UPPER_DIR_NONE */
/* The regular file `name`, for reading; the caller closes it. -ENOENT: gone, or something else now.
 */
int ovl_upper_open(const struct ovl_upper_dir *dir, const char *name, int *ret_fd);
/* The same by a path from the root. */
int ovl_upper_open_path(struct ovl_ws *ws, const char *path, int *ret_fd);
/* Length of a symlink's target; not NUL-terminated. -ENAMETOOLONG if it is `cap` or longer. */
ssize_t ovl_upper_readlink(
	const struct ovl_upper_dir *dir, const char *name, char *buf, size_t cap);

struct overlay;
struct ovl_req;

/* What the lower has under a name, hidden or not. -ENOENT. -EAGAIN here and below as in overlay.h.
 */
struct ovl_below {
	uint64_t id; /* that it has, or would have */
	mode_t mode;
	struct oid oid; /* none: a submodule */
};
int ovl_below(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_below *ret_below);
/* Takes a whiteout away, so that the lower's file is there again: nothing is copied, and what it
 * took is given back. Its id comes back too, so the caller must know that no other object has it:
 * `was` is the id of the object with one name that it has just removed from here, and must be the
 * same. -EBUSY: it is another, or still used. The caller tells the kernel. */
int ovl_restore(
	struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, uint64_t was);
/* Through a directory that was just made, and that nobody else knows, `tree` shows; seen when it is
 * next looked up, after the caller's ovl_forget. -EBUSY. */
int ovl_set_lower(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct oid *tree);
