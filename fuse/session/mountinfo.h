/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted, from /proc/self/mountinfo: the only way to look at our own mounts without a
 * request to ourselves. */
#pragma once
#include <stdbool.h>

#define SEAL_SOURCE "coppice-seal" /* of the file systems beneath our mounts: seal.h */

struct mount_point {
	unsigned major, minor; /* of st_dev */
	char *root;            /* which directory of the file system is mounted; unescaped */
	char *path;            /* where; unescaped */
	char *fstype;
	char *source; /* unescaped */
};

/* Split one line in place; the result points into it. False: not a line of that file. */
bool mountinfo_parse(char *line, struct mount_point *ret_mount);
/* `path` is `dir` or below it. */
bool mountinfo_below(const char *path, const char *dir);
/* Call `fn` for each mount, oldest first, until it returns non-zero, which is then returned.
 * Negative errno. */
int mountinfo_each(int (*fn)(void *arg, const struct mount_point *m), void *arg);
/* The same from another process's file. */
int mountinfo_each_in(
	const char *file, int (*fn)(void *arg, const struct mount_point *m), void *arg);
/* Lazily unmount every mount of ours at or below `dir`, newest first. How many, or a negative
 * errno. Control thread. */
int mountinfo_sweep(const char *dir);
/* Abort the connection of every mount of ours at or below `dir`. How many, or a negative errno. */
int mountinfo_abort(const char *dir);
/* The device of the topmost mount of ours on exactly `path`: 0, or -ENOENT. */
int mountinfo_device(const char *path, unsigned *ret_major, unsigned *ret_minor);

/* What lies beneath our mounts on exactly `path`. */
struct mount_seals {
	const char *path;      /* not for the caller */
	bool any, on_top;      /* on top: nothing is mounted on it */
	unsigned major, minor; /* of what is on top */
};
int mountinfo_seals(const char *path, struct mount_seals *ret_seals);
