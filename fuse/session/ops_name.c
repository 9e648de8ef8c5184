/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that make, remove and move names.
 * Threads: handlers on workers, run functions on workers and answerers.
 */
#include "session/op.h"

int op_run_mknod(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_mknod(op->s->overlay, &op->rq, op->id, op->name, op->mode, op->rdev, &entry);

	(void)t;
	return reply_entry(op, r, &entry);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct op op = op_begin(req, OP_MKNOD, parent);

	op.name = name;
	op.mode = mode;
	op.rdev = rdev;
	op_submit(&op);
}

int op_run_mkdir(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_mkdir(op->s->overlay, &op->rq, op->id, op->name, op->mode, &entry);

	(void)t;
	return reply_entry(op, r, &entry);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct op op = op_begin(req, OP_MKDIR, parent);

	op.name = name;
	op.mode = mode;
	op_submit(&op);
}

int op_run_symlink(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_symlink(op->s->overlay, &op->rq, op->id, op->name, op->name2, &entry);

	(void)t;
	return reply_entry(op, r, &entry);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, OP_SYMLINK, parent);

	op.name = name;
	op.name2 = target;
	op_submit(&op);
}

int op_run_create(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_create(
		op->s->overlay, &op->rq, op->id, op->name, op->mode, (int)op->flags, &entry);

	(void)t;
	return reply_create(op, r, &entry);
}

int op_run_tmpfile(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_tmpfile(op->s->overlay, &op->rq, op->id, op->mode, &entry);

	(void)t;
	return reply_create(op, r, &entry);
}

void op_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct op op =
		op_begin(req, sess_thread_self()->raw.tmpfile ? OP_TMPFILE : OP_CREATE, parent);

	op.name = name;
	op.mode = mode;
	op.flags = (unsigned)fi->flags;
	op_submit(&op);
}

int op_run_link(struct op *op, struct sess_thread *t)
{
	struct ovl_entry entry;
	int r = ovl_link(op->s->overlay, &op->rq, op->id, op->id2, op->name, &entry);

	(void)t;
	return reply_entry(op, r, &entry);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct op op = op_begin(req, OP_LINK, ino);

	op.id2 = new_parent;
	op.name = new_name;
	op_submit(&op);
}

int op_run_unlink(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_unlink(op->s->overlay, &op->rq, op->id, op->name));
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, OP_UNLINK, parent);

	op.name = name;
	op_submit(&op);
}

int op_run_rmdir(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_rmdir(op->s->overlay, &op->rq, op->id, op->name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct op op = op_begin(req, OP_RMDIR, parent);

	op.name = name;
	op_submit(&op);
}

int op_run_rename(struct op *op, struct sess_thread *t)
{
	const struct ovl_rename rename = {
		.parent = op->id,
		.new_parent = op->id2,
		.name = op->name,
		.new_name = op->name2,
		.flags = op->flags,
	};

	(void)t;
	return reply_result(op, ovl_rename(op->s->overlay, &op->rq, &rename));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags)
{
	struct op op = op_begin(req, OP_RENAME, parent);

	op.name = name;
	op.id2 = new_parent;
	op.name2 = new_name;
	op.flags = flags;
	op_submit(&op);
}
