/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies beneath our mounts: an empty file system with room for no inode, so that when the mount
 * is dead and was taken away nobody, root included, can write where a workspace was. It outlives
 * this process, and is only taken away with the mount for good. Its mode and times can be changed,
 * as an older release does. Control thread.
 */
#pragma once
#include <stdbool.h>

/* Seal the directory `dir` (O_PATH will do). *ret_root: the seal's own root, where to mount.
 * Negative errno: not allowed here, or the kernel cannot. */
int seal_put(int dir, int *ret_root);
/* Seal `path` unless it is. Its parents are ours: it is followed by name. */
int seal_path(const char *path);
/* Take away the seals of `path` if nothing is mounted on them. Without following symbolic links. 0:
 * there was none, or it is gone. */
int seal_take(const char *path);
/* The seal's root `root` again, when nothing came of it. */
void seal_undo(int root);
/* Is a seal at `path`, whatever is on it? */
bool seal_there(const char *path);
