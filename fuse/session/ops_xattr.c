/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. security.* and POSIX ACLs do not exist here and are refused before anything
 * else is looked at: the kernel and tools ask for them all the time. Not with ENOSYS, which would
 * end every question about user.* too. Threads: handlers on workers, run functions on workers and
 * answerers.
 */
#include "session/op.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_BYTES_MAX 65536u /* XATTR_SIZE_MAX, XATTR_LIST_MAX of the kernel */

static bool never_here(const char *name)
{
	return strncmp(name, "security.", 9) == 0 || strncmp(name, "system.posix_acl_", 17) == 0;
}

/* Size 0 asks for the length only. */
static int reply_value(struct op *op, ssize_t n, const char *value)
{
	if (n < 0 || op->len > 0)
		return reply_bytes(op, n, value);
	(void)fuse_reply_xattr(op->req, (size_t)n); /* a lost reply is counted in custom_io.c */
	return 0;
}

static size_t value_cap(const struct op *op)
{
	return op->len < XATTR_BYTES_MAX ? op->len : XATTR_BYTES_MAX;
}

int op_run_getxattr(struct op *op, struct sess_thread *t)
{
	return reply_value(op,
		ovl_getxattr(op->s->overlay, &op->rq, op->id, op->name, t->out, value_cap(op)),
		t->out);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct op op;

	if (never_here(name)) {
		(void)fuse_reply_err(req, ENODATA); /* as above */
		return;
	}
	op = op_begin(req, OP_GETXATTR, ino);
	op.name = name;
	op.len = size;
	op_submit(&op);
}

int op_run_listxattr(struct op *op, struct sess_thread *t)
{
	return reply_value(
		op, ovl_listxattr(op->s->overlay, &op->rq, op->id, t->out, value_cap(op)), t->out);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct op op = op_begin(req, OP_LISTXATTR, ino);

	op.len = size;
	op_submit(&op);
}

int op_run_setxattr(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_setxattr(op->s->overlay, &op->rq, op->id, op->name, op->data,
					op->len, (int)op->flags));
}

void op_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct op op;

	if (never_here(name)) {
		(void)fuse_reply_err(req, EOPNOTSUPP); /* as above */
		return;
	}
	op = op_begin(req, OP_SETXATTR, ino);
	op.name = name;
	op.data = value;
	op.len = size;
	op.flags = (unsigned)flags;
	op_submit(&op);
}

int op_run_removexattr(struct op *op, struct sess_thread *t)
{
	(void)t;
	return reply_result(op, ovl_removexattr(op->s->overlay, &op->rq, op->id, op->name));
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct op op;

	if (never_here(name)) {
		(void)fuse_reply_err(req, ENODATA); /* as above */
		return;
	}
	op = op_begin(req, OP_REMOVEXATTR, ino);
	op.name = name;
	op_submit(&op);
}
