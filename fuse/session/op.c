/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a filled-in op to its reply: run it here, or park it. The table of run functions is what
 * makes parking uniform: a parked op is repeated by its kind, whatever it was.
 *
 * Threads: workers (op_begin, op_submit), answerers (op_run).
 */
#include "session/op.h"

#include "session/park.h"

#include <errno.h>
#include <fuse/switch.h>

static const op_run_fn run_fn[OP_KINDS] = {
	[OP_LOOKUP] = op_run_lookup,
	[OP_GETATTR] = op_run_getattr,
	[OP_SETATTR] = op_run_setattr,
	[OP_READLINK] = op_run_readlink,
	[OP_STATFS] = op_run_statfs,
	[OP_MKNOD] = op_run_mknod,
	[OP_MKDIR] = op_run_mkdir,
	[OP_SYMLINK] = op_run_symlink,
	[OP_CREATE] = op_run_create,
	[OP_TMPFILE] = op_run_tmpfile,
	[OP_LINK] = op_run_link,
	[OP_UNLINK] = op_run_unlink,
	[OP_RMDIR] = op_run_rmdir,
	[OP_RENAME] = op_run_rename,
	[OP_READDIR] = op_run_readdir,
	[OP_READDIRPLUS] = op_run_readdir,
	[OP_READ] = op_run_read,
	[OP_WRITE] = op_run_write,
	[OP_FALLOCATE] = op_run_fallocate,
	[OP_LSEEK] = op_run_lseek,
	[OP_COPY_RANGE] = op_run_copy_range,
	[OP_FSYNC] = op_run_fsync,
	[OP_GETXATTR] = op_run_getxattr,
	[OP_LISTXATTR] = op_run_listxattr,
	[OP_SETXATTR] = op_run_setxattr,
	[OP_REMOVEXATTR] = op_run_removexattr,
};

struct op op_begin(fuse_req_t req, enum op_kind kind, uint64_t id)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct op){
		.req = req,
		.s = fuse_req_userdata(req),
		.kind = kind,
		.id = id,
		.resent = sess_thread_self()->raw.resent,
		.rq = {.unique = sess_thread_self()->raw.unique,
			.uid = ctx->uid,
			.gid = ctx->gid,
			.pid = ctx->pid,
			.umask = ctx->umask},
	};
}

int op_run(struct op *op, struct sess_thread *t)
{
	struct overlay *overlay = op->s->overlay; /* the op may be gone after its reply */
	int r;

	ovl_enter(overlay);
	if (!op->resent || !op_done_before(op, &r))
		r = run_fn[op->kind](op, t);
	ovl_leave(overlay);
	return r;
}

bool op_is_patient(enum op_kind kind)
{
	return kind == OP_READ || kind == OP_GETXATTR;
}

void op_submit(struct op *op)
{
	/* relaxed: a request that slips through is served as usual, its session is not torn down
	 * before it ends */
	if (atomic_load_explicit(&op->s->draining, memory_order_relaxed)) {
		reply_error(op, -EIO);
		return;
	}
	if (op->resent)
		counter_add(op->s->farm->m.resent, 1);
	if (op_run(op, sess_thread_self()) == -EAGAIN)
		park_op(op->s->farm->park, op);
}
