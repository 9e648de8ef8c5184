/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests about one node: look it up, forget it, read and change its attributes.
 * Threads: handlers on workers, run functions on workers and answerers.
 */
#include "session/op.h"

#include <errno.h>
#include <limits.h>

int op_run_lookup(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_lookup(op->s->overlay, &op->rq, op->id, op->name, &entry);

	(void)t;
	/* Node 0 makes the kernel remember that the name is absent; not below the root, where
	 * workspaces come and go. */
	if (r == -ENOENT && op->id != OVL_ROOT_ID) {
		struct fuse_entry_param absent = reply_entry_param(&(struct ovl_entry){0});

		(void)fuse_reply_entry(op->req, &absent); /* nothing was counted */
		return 0;
	}
	return reply_entry(op, r, &entry);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, OP_LOOKUP, parent);

	op.name = name;
	op.rq.count_links = true;
	op_submit(&op);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct session *s = fuse_req_userdata(req);

	ovl_forget(s->overlay, ino, count);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct session *s = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		ovl_forget(s->overlay, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

int op_run_getattr(struct op *op, struct sess_thread *t)
{
	struct stat attr;
	int r = ovl_getattr(op->s->overlay, &op->rq, op->id, &attr);

	(void)t;
	return reply_attr(op, r, &attr);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_GETATTR, ino);

	(void)fi; /* handles are stateless, here and below */
	op.rq.count_links = true;
	op_submit(&op);
}

/* The kernel's bits as ours. NOW replaces the given time, the kernel sets both. */
static unsigned set_of(unsigned to_set, bool kill_suid)
{
	static const struct {
		unsigned fuse, ovl;
	} map[] = {
		{FUSE_SET_ATTR_MODE, OVL_SET_MODE},
		{FUSE_SET_ATTR_UID, OVL_SET_UID},
		{FUSE_SET_ATTR_GID, OVL_SET_GID},
		{FUSE_SET_ATTR_SIZE, OVL_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, OVL_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, OVL_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, OVL_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, OVL_SET_MTIME_NOW},
		{FUSE_SET_ATTR_CTIME, OVL_SET_CTIME},
	};
	unsigned set = 0;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (to_set & map[i].fuse)
			set |= map[i].ovl;
	if (set & OVL_SET_ATIME_NOW)
		set &= ~(unsigned)OVL_SET_ATIME;
	if (set & OVL_SET_MTIME_NOW)
		set &= ~(unsigned)OVL_SET_MTIME;
	/* HANDLE_KILLPRIV_V2: a change of owner always drops set-id bits, and the kernel leaves
	 * that to us; chown(-1, -1) does too, and comes as a request that sets nothing. */
	if (kill_suid || !set || (set & (OVL_SET_UID | OVL_SET_GID)))
		set |= OVL_SET_KILL_SUID;
	return set;
}

int op_run_setattr(struct op *op, struct sess_thread *t)
{
	struct stat attr;
	int r = ovl_setattr(op->s->overlay, &op->rq, op->id, op->attr, op->flags, &attr);

	(void)t;
	return reply_attr(op, r, &attr);
}

void op_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_SETATTR, ino);

	(void)fi;
	op.attr = attr;
	op.flags = set_of((unsigned)to_set, sess_thread_self()->raw.kill_suid);
	op_submit(&op);
}

int op_run_readlink(struct op *op, struct sess_thread *t)
{
	int r = ovl_readlink(op->s->overlay, &op->rq, op->id, t->out, PATH_MAX + 1);

	if (r < 0)
		return reply_result(op, r);
	(void)fuse_reply_readlink(op->req, t->out); /* a lost reply is counted in custom_io.c */
	return 0;
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct op op = op_begin(req, OP_READLINK, ino);

	op_submit(&op);
}

int op_run_statfs(struct op *op, struct sess_thread *t)
{
	struct statvfs st;
	int r = ovl_statfs(op->s->overlay, &op->rq, op->id, &st);

	(void)t;
	if (r < 0)
		return reply_result(op, r);
	(void)fuse_reply_statfs(op->req, &st); /* as above */
	return 0;
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct op op = op_begin(req, OP_STATFS, ino);

	op_submit(&op);
}
