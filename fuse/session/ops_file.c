/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File content. OPEN is answered ENOSYS once for the connection: opening and closing then cost no
 * request, and what READ and WRITE meet is decided by what the node is now, never by a handle.
 * Threads: handlers on workers, run functions on workers and answerers.
 */
#include "session/op.h"

#include <errno.h>

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, ENOSYS); /* a lost reply is counted in custom_io.c */
}

int op_run_read(struct op *op, struct sess_thread *t)
{
	size_t len = op->len < SESS_MAX_WRITE ? op->len : SESS_MAX_WRITE;

	return reply_bytes(
		op, ovl_read(op->s->overlay, &op->rq, op->id, t->out, len, op->offset), t->out);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_READ, ino);

	(void)fi;
	op.len = size;
	op.offset = (uint64_t)offset;
	op_submit(&op);
}

int op_run_write(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_written(op, ovl_write(op->s->overlay, &op->rq, op->id, op->data, op->len,
					 op->offset, op->flags != 0));
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_WRITE, ino);

	(void)fi;
	op.data = buf;
	op.len = size;
	op.offset = (uint64_t)offset;
	op.flags = sess_thread_self()->raw.kill_suid;
	op_submit(&op);
}

int op_run_fallocate(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_fallocate(op->s->overlay, &op->rq, op->id, (int)op->mode,
					op->offset, op->count));
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len,
	struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_FALLOCATE, ino);

	(void)fi;
	op.mode = (mode_t)mode;
	op.offset = (uint64_t)offset;
	op.count = (uint64_t)len;
	op_submit(&op);
}

int op_run_lseek(struct op *op, struct sess_thread *t)
{
	int64_t position = ovl_lseek(op->s->overlay, &op->rq, op->id, op->offset, (int)op->flags);

	(void)t;
	if (position < 0)
		return reply_result(op, (int)position);
	(void)fuse_reply_lseek(op->req, position); /* a lost reply is counted in custom_io.c */
	return 0;
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_LSEEK, ino);

	(void)fi;
	op.offset = (uint64_t)offset;
	op.flags = (unsigned)whence;
	op_submit(&op);
}

int op_run_copy_range(struct op *op, struct sess_thread *t)
{
	const struct ovl_copy copy = {
		.in_id = op->id,
		.in_offset = op->offset,
		.out_id = op->id2,
		.out_offset = op->offset2,
		.len = op->count,
	};

	(void)t;
	return reply_written(op, ovl_copy_range(op->s->overlay, &op->rq, &copy));
}

void op_copy_range(fuse_req_t req, fuse_ino_t in, off_t in_offset, struct fuse_file_info *in_fi,
	fuse_ino_t out, off_t out_offset, struct fuse_file_info *out_fi, size_t len, int flags)
{
	struct op op = op_begin(req, OP_COPY_RANGE, in);

	(void)in_fi;
	(void)out_fi;
	(void)flags; /* none is defined; the kernel has refused others */
	op.offset = (uint64_t)in_offset;
	op.id2 = out;
	op.offset2 = (uint64_t)out_offset;
	op.count = len;
	op_submit(&op);
}

int op_run_fsync(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_fsync(op->s->overlay, &op->rq, op->id, op->flags != 0));
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct op op = op_begin(req, OP_FSYNC, ino);

	(void)fi;
	op.flags = data_only != 0;
	op_submit(&op);
}
