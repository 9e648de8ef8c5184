/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New names for new objects: mknod, mkdir, symlink, create. Where nothing is in the way the object
 * is made in place; over a whiteout it is made in work/tmp and put in the whiteout's place in one
 * step, opaque if it is a directory, so that the lower that the whiteout hid never shows. An object
 * made in place gets owner and mode after it exists: a crash between leaves its intent open, and
 * recovery takes the object away again (nobody has seen it: the directory is locked and no reply
 * was sent).
 *
 * The daemon is root and does what the kernel would do for the caller: owner, set-gid directories,
 * exact mode whatever our umask.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct make {
	struct ovl_req *rq;
	enum ovl_intent_op op;
	mode_t mode; /* with the type */
	dev_t rdev;
	const char *target; /* of a symlink */
	uid_t uid;
	gid_t gid;
	char tmp[OVL_WORK_NAME]; /* where it is made if a whiteout is in the way */
	int fd;                  /* out: a created file, O_RDWR */
};

/* As ext4: below a set-gid directory the group is the directory's, and sub-directories pass it on.
 */
static int choose_owner(struct make *m, struct ovl_node *dir)
{
	int r;

	m->uid = m->rq->uid;
	m->gid = m->rq->gid;
	LOCK_GUARD(&dir->lock);
	r = ovl_attr_load_locked(dir, m->rq);
	if (r < 0 || !(dir->attr.st_mode & S_ISGID))
		return r;
	m->gid = dir->attr.st_gid;
	if (S_ISDIR(m->mode))
		m->mode |= S_ISGID;
	return 0;
}

static int make_raw(struct make *m, int dirfd, const char *name)
{
	mode_t mode = m->mode & 07777;
	int r;

	switch (m->mode & S_IFMT) {
	case S_IFREG:
		m->fd = openat(dirfd, name,
			O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOATIME | O_CLOEXEC, mode);
		return m->fd < 0 ? -errno : 0;
	case S_IFDIR:
		r = mkdirat(dirfd, name, mode);
		break;
	case S_IFLNK:
		r = symlinkat(m->target, dirfd, name);
		break;
	default:
		r = mknodat(dirfd, name, m->mode, m->rdev);
	}
	return r < 0 ? -errno : 0;
}

static int stat_made(const struct make *m, int dirfd, const char *name, struct stat *ret_st)
{
	int r = m->fd >= 0 ? fstat(m->fd, ret_st)
			   : fstatat(dirfd, name, ret_st, AT_SYMLINK_NOFOLLOW);

	return r < 0 ? -errno : 0;
}

/* Owner and mode as wanted; the usual case of a caller that is root costs nothing but the stat that
 * the reply needs. */
static int correct(const struct make *m, int dirfd, const char *name, struct stat *ret_st)
{
	mode_t mode = m->mode & 07777;
	int r = stat_made(m, dirfd, name, ret_st);
	bool owner, bits;

	if (r < 0)
		return r;
	owner = ret_st->st_uid != m->uid || ret_st->st_gid != m->gid;
	if (owner && fchownat(dirfd, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* the umask took bits, or chown took set-id bits */
	bits = !S_ISLNK(m->mode) &&
	       ((ret_st->st_mode & 07777) != mode || (owner && (mode & (S_ISUID | S_ISGID))));
	if (bits && fchmodat(dirfd, name, mode, 0) < 0)
		return -errno;
	return owner || bits ? stat_made(m, dirfd, name, ret_st) : 0;
}

static void unmake(const struct make *m, int dirfd, const char *name)
{
	/* what cannot be removed is found by recovery or stays in work/tmp until then */
	(void)unlinkat(dirfd, name, S_ISDIR(m->mode) ? AT_REMOVEDIR : 0);
}

static int make_in_place(struct make *m, struct ovl_place *p, struct stat *ret_st)
{
	int r = make_raw(m, p->dirfd, p->name);

	if (r < 0)
		return r;
	ovl_crash_point(p->dir->ws, "create:made");
	r = correct(m, p->dirfd, p->name, ret_st);
	if (r < 0)
		unmake(m, p->dirfd, p->name);
	return r;
}

static int make_over_whiteout(struct make *m, struct ovl_place *p, struct stat *ret_st)
{
	struct ovl_ws *ws = p->dir->ws;
	bool is_dir = S_ISDIR(m->mode);
	int r = make_raw(m, ws->work_fd, m->tmp);

	if (r < 0)
		return r;
	if (is_dir)
		r = ovl_xattr_at_set(ws->work_fd, m->tmp, OVL_XATTR_OPAQUE, "y", 1, 0);
	if (r == 0)
		r = correct(m, ws->work_fd, m->tmp, ret_st);
	ovl_crash_point(ws, "create:in-tmp");
	if (r == 0)
		r = ovl_whiteout_replace(ws, m->tmp, p->dirfd, p->name, is_dir);
	if (r < 0)
		unmake(m, ws->work_fd, m->tmp);
	return r;
}

/* Take back what was made, when there is no memory for its node. */
static void take_back(const struct make *m, struct ovl_place *p)
{
	struct ovl_ws *ws = p->dir->ws;
	char tmp[OVL_WORK_NAME];

	if (!p->found.child) {
		unmake(m, p->dirfd, p->name);
		return;
	}
	ovl_tmp_name(ws, tmp);
	if (ovl_whiteout_swap(ws, p->dirfd, p->name, ws->work_fd, tmp) == 0)
		unmake(m, ws->work_fd, tmp);
}

static void publish(struct make *m, struct ovl_place *p, struct ovl_node *n, const struct stat *st)
{
	lock_acquire(&n->lock);
	ovl_attr_set_locked(n, st);
	ovl_charge_settle_locked(n, st);
	lock_release(&n->lock);
	if (m->fd >= 0)
		ovl_fd_adopt(n, TAKE_FD(m->fd));
	if (S_ISDIR(m->mode))
		p->dir->dir->subdirs++;
	ovl_place_touched(p);
}

static int make_locked(struct make *m, struct ovl_place *p, struct ovl_entry *ret_entry)
{
	struct ovl_ws *ws = p->dir->ws;
	_cleanup_node_ struct ovl_node *n = NULL;
	struct stat st;
	int r = choose_owner(m, p->dir);

	if (r == 0)
		r = ovl_charge_object(ws);
	if (r < 0)
		return r;
	if (p->found.child) /* the whiteout in the way */
		ovl_tmp_name(ws, m->tmp);
	/* new_name tells recovery that the object appears complete, by a rename */
	r = ovl_journal_intent(ws, &(struct ovl_intent){.unique = m->rq->unique,
					   .op = m->op,
					   .parent = p->dir->id,
					   .name = p->name,
					   .new_name = p->found.child ? m->tmp : NULL});
	if (r < 0) {
		ovl_charge_object_end(ws);
		return r;
	}
	ovl_crash_point(ws, "create:intent");
	r = p->found.child ? make_over_whiteout(m, p, &st) : make_in_place(m, p, &st);
	ovl_crash_point(ws, "create:after-syscall");
	if (r == 0) {
		r = ovl_node_new_locked(p->dir, p->name, p->len, &st, &n);
		if (r < 0)
			take_back(m, p);
	}
	if (r < 0) {
		ovl_charge_object_end(ws);
		ovl_journal_void(ws, m->rq->unique);
		return r;
	}
	publish(m, p, n, &st);
	ovl_journal_done(ws, m->rq->unique);
	ovl_crash_point(ws, "create:done");
	return ovl_entry_of(n, m->rq, ret_entry);
}

static int make(struct overlay *o, struct make *m, uint64_t parent, const char *name,
	struct ovl_entry *ret_entry)
{
	_cleanup_place_ struct ovl_place p = {0};
	int r;

	m->fd = -1;
	r = ovl_place_enter(o, m->rq, parent, name, &p);
	if (r == 0)
		r = ovl_place_need_upper(&p, m->rq);
	if (r < 0)
		return r;
	lock_acquire(&p.dir->dir->lock);
	r = ovl_place_look_locked(&p, m->rq);
	if (r == 0)
		r = p.found.where == OVL_ABSENT ? make_locked(m, &p, ret_entry) : -EEXIST;
	lock_release(&p.dir->dir->lock);
	cleanup_close(&m->fd);
	return r;
}

int ovl_mknod(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	dev_t rdev, struct ovl_entry *ret_entry)
{
	struct make m = {.rq = rq, .op = OVL_INTENT_MKNOD, .mode = mode, .rdev = rdev};

	switch (mode & S_IFMT) {
	case 0:
		m.mode |= S_IFREG;
		break;
	case S_IFCHR:
		if (rdev == makedev(0, 0))
			return -EPERM; /* it would be a whiteout */
		break;
	case S_IFREG:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return -EINVAL;
	}
	return make(o, &m, parent, name, ret_entry);
}

int ovl_mkdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	struct ovl_entry *ret_entry)
{
	struct make m = {
		.rq = rq, .op = OVL_INTENT_MKDIR, .mode = S_IFDIR | (mode & (07777 & ~S_ISUID))};

	return make(o, &m, parent, name, ret_entry);
}

int ovl_symlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	const char *target, struct ovl_entry *ret_entry)
{
	struct make m = {
		.rq = rq, .op = OVL_INTENT_SYMLINK, .mode = S_IFLNK | 0777, .target = target};

	return make(o, &m, parent, name, ret_entry);
}

/* The file is there: open(O_CREAT) opens it. */
static int open_existing(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_entry *ret_entry)
{
	int r = ovl_lookup(o, rq, parent, name, ret_entry);

	if (r == 0 && !S_ISREG(ret_entry->attr.st_mode)) {
		r = S_ISDIR(ret_entry->attr.st_mode) ? -EISDIR : -EEXIST;
		ovl_forget(o, ret_entry->id, 1);
	}
	return r;
}

int ovl_create(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	mode_t mode, int flags, struct ovl_entry *ret_entry)
{
	struct make m = {.rq = rq, .op = OVL_INTENT_CREATE, .mode = S_IFREG | (mode & 07777)};
	int r = make(o, &m, parent, name, ret_entry);

	if (r != -EEXIST || (flags & O_EXCL))
		return r;
	r = open_existing(o, rq, parent, name, ret_entry);
	if (r == 0 && (flags & O_TRUNC)) {
		struct stat empty = {.st_size = 0};
		uint64_t id = ret_entry->id;

		r = ovl_setattr(o, rq, id, &empty, OVL_SET_SIZE, &ret_entry->attr);
		if (r < 0)
			ovl_forget(o, id, 1);
	}
	return r;
}
