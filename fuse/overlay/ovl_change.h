/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that change a workspace share, and nobody else needs. A mutation goes
 *
 *	directory (entered, with an upper) → lock → what is there → quota → INTENT → syscall
 *	→ names, nodes → DONE → unlock → reply
 *
 * and each syscall in the middle is atomic by itself or leaves something that ovl_recover.c takes
 * back. What is taken out of the visible tree first moves to work/orphan (the kernel may still use
 * it) or work/tmp (garbage), never half-deleted in place.
 */
#pragma once
#include "overlay/ovl_internal.h"

#include <dirent.h>
#include <unistd.h>

static inline uint64_t ovl_local(uint64_t id)
{
	return id & OVL_LOCAL_MASK;
}

static inline bool ovl_has(const struct ovl_node *n, unsigned flag)
{
	return (atomic_load_explicit(&n->flags, memory_order_acquire) & flag) != 0;
}

static inline void ovl_flag_set(struct ovl_node *n, unsigned flag)
{
	/* release: whoever sees the flag also sees what was prepared before it was set */
	atomic_fetch_or_explicit(&n->flags, flag, memory_order_release);
}

static inline void ovl_flag_clear(struct ovl_node *n, unsigned flag)
{
	atomic_fetch_and_explicit(&n->flags, ~flag, memory_order_release);
}

/* ---- ovl_change.c: the frame of a mutation ---- */

/* One name in a directory that is about to change. The name belongs to the caller. */
struct ovl_place {
	struct ovl_node *dir; /* pinned */
	const char *name;
	size_t len;
	int dirfd; /* O_PATH of the upper directory; borrowed with ovl_fd_get while dirfd_held */
	bool dirfd_held;
	struct ovl_found found;
};

/* Enter the directory for a change: the workspace is writable, the name is a name, the directory
 * has an upper if `upper`. No lock is held after. -EROFS, -EINVAL, -ENAMETOOLONG, and what
 * ovl_dir_get answers. */
int ovl_place_enter(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_place *ret_place);
int ovl_place_need_upper(struct ovl_place *p, struct ovl_req *rq);
/* Under the directory's lock: it is still there; look at the name; borrow the descriptor if there
 * is an upper. */
int ovl_place_look_locked(struct ovl_place *p, struct ovl_req *rq);
void ovl_place_leave(struct ovl_place *p);
#define _cleanup_place_ __attribute__((cleanup(ovl_place_leave)))

/* Is the entry a directory, as far as the names and the lower say? */
bool ovl_found_is_dir(const struct ovl_found *found);
/* A name went or came: the directory's times moved. */
void ovl_place_touched(struct ovl_place *p);
/* Time as the filesystem below stamps it. */
struct timespec ovl_now(void);
/* To now, and in any case to later than it was. */
void ovl_ctime_moves(struct stat *attr);
/* A fresh name below work/: tmp/ and a number. */
void ovl_tmp_name(struct ovl_ws *ws, char name[OVL_WORK_NAME]);
/* Does the kernel, or a call that runs now besides ours, still know the node? Caller holds the lock
 * of its directory and one pin. */
bool ovl_node_in_use(struct ovl_node *n);
/* 0 if nothing in the (locked, loaded) directory is visible; -ENOTEMPTY, -EAGAIN. */
int ovl_dir_empty_locked(struct ovl_node *dir, struct ovl_req *rq);
/* Times of an upper directory put back after a change that must not be seen. */
struct ovl_times {
	struct timespec atime, mtime;
};
int ovl_times_get(int dirfd, struct ovl_times *ret_times);
void ovl_times_put(int dirfd, const struct ovl_times *times);

/* ---- ovl_whiteout.c ---- */

/* Exchange what is at dirfd/name with a whiteout, in one step; the object is at to_fd/to_name
 * after. */
int ovl_whiteout_swap(
	struct ovl_ws *ws, int dirfd, const char *name, int to_fd, const char *to_name);
/* Move work/<tmp> over a whiteout at dirfd/name, in one step (a directory cannot be renamed over a
 * device). */
int ovl_whiteout_replace(
	struct ovl_ws *ws, const char *tmp, int dirfd, const char *name, bool is_dir);

/* ---- ovl_marks.c ---- */
int ovl_xattr_at_remove(int dirfd, const char *name, const char *attr);
ssize_t ovl_xattr_at_list(int dirfd, const char *name, char *list, size_t cap);

/* ---- ovl_charge.c ---- */

/* Room for one more object; ovl_charge_object_end gives it back. */
int ovl_charge_object(struct ovl_ws *ws);
void ovl_charge_object_end(struct ovl_ws *ws);
void ovl_charge_bytes_end(struct ovl_ws *ws, uint64_t bytes);
/* All that a node was charged, when its object is gone. Caller holds node->lock or is the only one
 * who knows the node. */
void ovl_charge_drop(struct ovl_node *n);

/* A reservation for the growth of a file by writing [offset, offset + len). Caller holds node->lock
 * throughout. */
struct ovl_growth {
	uint64_t reserved;
};
int ovl_growth_reserve_locked(
	struct ovl_node *n, int fd, uint64_t offset, uint64_t len, struct ovl_growth *ret_growth);
/* After the change: charge what the file really takes, give the rest of the reservation back, keep
 * the attributes, forget the digests. */
int ovl_growth_settle_locked(struct ovl_node *n, int fd, const struct ovl_growth *growth);

/* ---- ovl_copyup_dir.c ---- */

/* ovl_dir_need_upper; for_removal: charged, but not refused by the quota. Removing must work when
 * it is full, and this adds at most the directories that the lower has. */
int ovl_dir_raise(struct ovl_node *dir, struct ovl_req *rq, bool for_removal);

/* ---- ovl_copyup.c ---- */

/* obj has an upper object, its node is set; `with_data` as for ovl_copyup. -EROFS first of all. */
int ovl_obj_writable(struct ovl_obj *obj, struct ovl_req *rq, bool with_data);

/* ---- ovl_grip.c ---- */

/* An upper object held for calls on its inode: by descriptor (regular files, directories), by
 * directory and name (others, which must not be opened). For calls that take AT_EMPTY_PATH: name is
 * "" with a descriptor. */
struct ovl_grip {
	struct ovl_node *node;
	int dirfd;
	const char *name;
	struct ovl_at at;
};
int ovl_grip_get(struct ovl_node *n, struct ovl_grip *ret_grip);
void ovl_grip_put(struct ovl_grip *g);
#define _cleanup_grip_ __attribute__((cleanup(ovl_grip_put)))
int ovl_grip_stat(const struct ovl_grip *g, struct stat *ret_st);
int ovl_grip_chmod(const struct ovl_grip *g, mode_t mode);
int ovl_grip_chown(const struct ovl_grip *g, uid_t uid, gid_t gid);
int ovl_grip_utimens(const struct ovl_grip *g, const struct timespec times[2]);
/* The mode without the set-id bits that a change by this caller takes (ovl_privs.c). */
mode_t ovl_mode_killed(const struct ovl_req *rq, const struct stat *now);
int ovl_kill_bits_locked(struct ovl_node *n, struct ovl_req *rq, int fd);

/* ---- ovl_walk.c ---- */

/* Visit every object below dirfd (not dirfd itself) with its stat, each directory before what is in
 * it. Follows nothing, crosses no mount; depth costs memory for names only, never a descriptor per
 * level. A non-zero answer ends the walk and is returned. */
typedef int (*ovl_walk_visit)(void *arg, int dirfd, const char *name, const struct stat *st);
int ovl_walk(int dirfd, ovl_walk_visit visit, void *arg);
/* work/tmp, work/orphan or work/links, to be walked and closed by the caller. */
int ovl_work_open(struct ovl_ws *ws, const char *name, int *ret_fd);
/* Remove everything in a directory, not the directory. */
int ovl_empty_dir(int dirfd);

/* ---- ovl_recover_marks.c ---- */

/* The nodes that the journal names get their id marks. One walk over the upper. */
int ovl_recover_marks(struct ovl_ws *ws);

/* ---- ovl_remove.c ---- */

/* Nobody may enter the directory any more: it is empty and is about to lose its name. Between this
 * and the end of the removal (or ovl_dir_spare) calls on it are -ENOENT. -ENOTEMPTY, -EAGAIN. No
 * directory lock held. */
int ovl_dir_condemn(struct ovl_node *dir, struct ovl_req *rq);
void ovl_dir_spare(struct ovl_node *dir);
/* An object with several names lost one: attributes, and if it was the last one what is in
 * work/links. Caller holds n->lock. */
int ovl_linked_lost_name_locked(struct ovl_node *n);
/* A node whose last name went (its object is in work/orphan, or gone if OVL_UPPER was cleared):
 * st_nlink 0, no place, dead if it is a directory. Caller holds the directory's lock. */
void ovl_node_gone_locked(struct ovl_node *n);
/* The upper's file or symlink under the name goes, without a whiteout if found.lower_exists is not
 * set. No intent is written. Caller holds the directory's lock. */
int ovl_place_take_locked(struct ovl_place *p, struct ovl_req *rq);
/* The name in the table of names: a whiteout or nothing. */
void ovl_place_clear_locked(struct ovl_place *p, bool whiteout);
