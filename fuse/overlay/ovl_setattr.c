/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SETATTR: truncate, chown, chmod, utimens. What changes nothing costs no syscall (tar sets the
 * mode and owner that files already have), no copy-up of a lower file, and no ctime: one in memory
 * would be ahead of what the disk stamps next. O_TRUNC arrives here as size 0 and copies up without
 * data. The daemon is root, so set-id bits that a caller's change must clear are cleared here
 * (OVL_SET_KILL_SUID).
 *
 * A removed directory that somebody still has open has nothing on disk: its attributes change in
 * memory, and in the journal.
 */
#include "overlay/ovl_change.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define SET_TIMES (OVL_SET_ATIME | OVL_SET_MTIME | OVL_SET_ATIME_NOW | OVL_SET_MTIME_NOW)
#define SET_OWNER (OVL_SET_UID | OVL_SET_GID)

struct setting {
	const struct ovl_req *rq;
	const struct stat *attr;
	unsigned set;
};

/* ---- what would change ---- */

/* A request that sets nothing is chown(-1, -1), or comes before a write that kills by itself. The
 * kernel has checked nothing then: only who could chmod may take bits. */
static bool may_kill(const struct setting *s, const struct stat *now)
{
	if (!(s->set & OVL_SET_KILL_SUID) || (s->set & OVL_SET_MODE) || S_ISDIR(now->st_mode))
		return false;
	return s->set != OVL_SET_KILL_SUID || s->rq->uid == 0 || s->rq->uid == now->st_uid;
}

static mode_t wanted_mode(const struct setting *s, const struct stat *now)
{
	mode_t mode = s->set & OVL_SET_MODE ? s->attr->st_mode : now->st_mode;

	if (may_kill(s, now))
		mode = ovl_mode_killed(s->rq, now);
	return mode & 07777;
}

static bool changes_mode(const struct setting *s, const struct stat *now)
{
	return wanted_mode(s, now) != (now->st_mode & 07777);
}

static bool changes_owner(const struct setting *s, const struct stat *now)
{
	return ((s->set & OVL_SET_UID) && s->attr->st_uid != now->st_uid) ||
	       ((s->set & OVL_SET_GID) && s->attr->st_gid != now->st_gid);
}

static bool changes_anything(const struct setting *s, const struct stat *now)
{
	return (s->set & (OVL_SET_SIZE | SET_TIMES)) || changes_mode(s, now) ||
	       changes_owner(s, now);
}

/* ---- on disk ---- */

static int set_size(struct ovl_node *n, const struct setting *s, const struct ovl_grip *g)
{
	if (!(s->set & OVL_SET_SIZE))
		return 0;
	if (!S_ISREG(n->type))
		return S_ISDIR(n->type) ? -EISDIR : -EINVAL;
	ovl_content_changed_locked(n);
	return ftruncate(g->dirfd, s->attr->st_size) < 0 ? -errno : 0;
}

/* chown first: it takes set-id bits, which an explicit mode may set again. */
static int set_owner_and_mode(struct ovl_node *n, const struct setting *s, const struct ovl_grip *g)
{
	mode_t mode = wanted_mode(s, &n->attr);
	bool owner = changes_owner(s, &n->attr), bits = changes_mode(s, &n->attr);
	int r = 0;

	if (owner)
		r = ovl_grip_chown(g, s->set & OVL_SET_UID ? s->attr->st_uid : (uid_t)-1,
			s->set & OVL_SET_GID ? s->attr->st_gid : (gid_t)-1);
	if (owner && (s->set & OVL_SET_MODE) && (mode & (S_ISUID | S_ISGID)))
		bits = true;
	if (r == 0 && bits)
		r = ovl_grip_chmod(g, mode);
	return r;
}

static struct timespec time_for(unsigned set, unsigned given, unsigned now, struct timespec value)
{
	if (set & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (set & given)
		return value;
	return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(const struct setting *s, const struct ovl_grip *g)
{
	const struct timespec times[2] = {
		time_for(s->set, OVL_SET_ATIME, OVL_SET_ATIME_NOW, s->attr->st_atim),
		time_for(s->set, OVL_SET_MTIME, OVL_SET_MTIME_NOW, s->attr->st_mtim),
	};

	return s->set & SET_TIMES ? ovl_grip_utimens(g, times) : 0;
}

static int apply_locked(struct ovl_node *n, const struct setting *s)
{
	_cleanup_grip_ struct ovl_grip g = {0};
	struct stat st;
	int r, r2;

	r = ovl_grip_get(n, &g);
	if (r < 0)
		return r;
	r = set_size(n, s, &g);
	ovl_crash_point(n->ws, "setattr:size");
	if (r == 0)
		r = set_owner_and_mode(n, s, &g);
	if (r == 0)
		r = set_times(s, &g);
	/* also after a failure: a part may have been done */
	r2 = ovl_grip_stat(&g, &st);
	if (r2 == 0) {
		ovl_charge_settle_locked(n, &st);
		ovl_attr_set_locked(n, &st);
	}
	return r < 0 ? r : r2;
}

/* ---- in memory ---- */

static void set_time(struct timespec *t, struct timespec wanted, struct timespec now)
{
	if (wanted.tv_nsec == UTIME_NOW)
		*t = now;
	else if (wanted.tv_nsec != UTIME_OMIT)
		*t = wanted;
}

static int apply_dead_locked(struct ovl_node *n, const struct setting *s)
{
	struct timespec now;

	if (s->set & OVL_SET_SIZE)
		return -EISDIR;
	ovl_ctime_moves(&n->attr);
	now = n->attr.st_ctim; /* not the clock's: the disk may have stamped a finer time, which
				  would be later */
	n->attr.st_mode = (n->attr.st_mode & S_IFMT) | wanted_mode(s, &n->attr);
	if (s->set & OVL_SET_UID)
		n->attr.st_uid = s->attr->st_uid;
	if (s->set & OVL_SET_GID)
		n->attr.st_gid = s->attr->st_gid;
	set_time(&n->attr.st_atim,
		time_for(s->set, OVL_SET_ATIME, OVL_SET_ATIME_NOW, s->attr->st_atim), now);
	set_time(&n->attr.st_mtim,
		time_for(s->set, OVL_SET_MTIME, OVL_SET_MTIME_NOW, s->attr->st_mtim), now);
	return 0;
}

/* Written down first: a process that takes over has nothing else to look at. */
static int set_dead_locked(struct ovl_node *n, const struct setting *s)
{
	const struct stat was = n->attr;
	int r = apply_dead_locked(n, s);

	if (r == 0)
		r = ovl_journal_removed(n, &n->attr);
	if (r < 0)
		n->attr = was;
	else
		ovl_flag_set(n, OVL_ATTR); /* they are here only from now on */
	return r;
}

static int set_node(
	struct ovl_node *n, struct ovl_req *rq, const struct setting *s, struct stat *ret_attr)
{
	int r;

	LOCK_GUARD(&n->lock);
	r = ovl_attr_load_locked(n, rq);
	if (r == 0 && ovl_has(n, OVL_DEAD)) {
		r = set_dead_locked(n, s);
	} else if (r == 0 && changes_anything(s, &n->attr)) {
		r = apply_locked(n, s);
	}
	if (r == 0)
		*ret_attr = n->attr;
	return r;
}

int ovl_setattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct stat *attr,
	unsigned set, struct stat *ret_attr)
{
	const struct setting s = {rq, attr, set};
	struct ovl_obj obj = {0};
	struct stat now;
	int r;

	if (id == OVL_ROOT_ID)
		return -EPERM; /* the session's root is not a directory of anybody */
	if ((set & OVL_SET_SIZE) && attr->st_size < 0)
		return -EINVAL;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	if (obj.ws->read_only)
		r = -EROFS;
	if (r == 0 && !(obj.node && ovl_has(obj.node, OVL_UPPER | OVL_DEAD))) {
		r = ovl_getattr(o, rq, id, &now);
		if (r == 0 && !changes_anything(&s, &now)) {
			*ret_attr = now;
			ovl_obj_put(&obj);
			return 0;
		}
	}
	if (r == 0)
		r = ovl_obj_writable(&obj, rq, !((set & OVL_SET_SIZE) && attr->st_size == 0));
	if (r == 0)
		r = set_node(obj.node, rq, &s, ret_attr);
	ovl_obj_put(&obj);
	return r;
}
