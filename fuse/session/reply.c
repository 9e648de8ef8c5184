/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies. Each function ends its request exactly once, or hands back -EAGAIN without having done
 * so. The errno table of this floor's border is here: what the overlay returns is sent as it is,
 * except for codes that would mislead.
 *
 * Lifetimes are infinite: the daemon is the only writer and invalidates what it changes. Only the
 * attributes of a directory whose links are not counted yet are asked for again each time. A reply
 * that the kernel does not know any more (-ENOENT from libfuse: the caller was killed) carries no
 * lookup, so the one that was counted is given back.
 */
#include "session/op.h"

#include <base/clock.h>
#include <errno.h>

/* A change that the quota refuses is tried again for so long, if removed files are still to be
 * given back; a file that stays open after its removal may never be. */
#define QUOTA_WAIT_NS  (1 * NS_PER_S)
#define QUOTA_PAUSE_NS (3 * NS_PER_MS)

/* About 136 years; the kernel clamps it to its own largest time. */
#define FOREVER_S ((double)UINT32_MAX)

int reply_errno(int r)
{
	if (r >= 0)
		return 0;
	if (r <= -(int)SESS_ERRNOS)
		return EIO; /* codes of libraries, and the kernel's own (ERESTARTSYS ...) */
	switch (-r) {
	case EAGAIN:    /* would tell the caller to poll: there is nothing to poll for */
	case ECANCELED: /* of a fetch that was given up */
		return EIO;
	case ENOSYS: /* the kernel would never ask again, for any file */
		return EOPNOTSUPP;
	default:
		return -r;
	}
}

void reply_error(struct op *op, int r)
{
	(void)fuse_reply_err(op->req, reply_errno(r)); /* a lost reply is counted in custom_io.c */
}

/* A node in the workspace that grows. */
static uint64_t changed_node(const struct op *op)
{
	return op->kind == OP_COPY_RANGE ? op->id2 : op->id;
}

/* What a removed file took is given back when the kernel forgets it, just after the removal was
 * answered: a job that makes room and then writes must not be refused for that. So a refusal is
 * final only if nothing was about to be given back when the attempt began: the last FORGET may
 * come between the attempt and this look. */
static bool quota_may_return(struct op *op)
{
	uint64_t now = clock_mono_ns(op->s->farm->clock);

	if (op->quota_settled)
		return false;
	if (!op->quota_until_ns)
		op->quota_until_ns = now + QUOTA_WAIT_NS;
	op->quota_settled =
		now >= op->quota_until_ns || !ovl_quota_returns(op->s->overlay, changed_node(op));
	op->pause_ns = op->quota_settled ? 0 : QUOTA_PAUSE_NS;
	op->rq.need = (struct ovl_need){0};
	return true;
}

static bool must_wait(struct op *op, int r)
{
	if (r == -EDQUOT && quota_may_return(op))
		return true;
	return r == -EAGAIN && op->rq.need.kind != LOWER_NEED_NONE;
}

int reply_result(struct op *op, int r)
{
	if (must_wait(op, r))
		return -EAGAIN;
	reply_error(op, r);
	return 0;
}

static double attr_timeout(const struct stat *attr)
{
	return S_ISDIR(attr->st_mode) && attr->st_nlink == 1 ? 0 : FOREVER_S;
}

struct fuse_entry_param reply_entry_param(const struct ovl_entry *entry)
{
	return (struct fuse_entry_param){
		.ino = entry->id,
		.attr = entry->attr,
		.attr_timeout = attr_timeout(&entry->attr),
		.entry_timeout = FOREVER_S,
	};
}

int reply_entry(struct op *op, int r, const struct ovl_entry *entry)
{
	struct fuse_entry_param e;

	if (r < 0)
		return reply_result(op, r);
	e = reply_entry_param(entry);
	if (fuse_reply_entry(op->req, &e) == -ENOENT)
		ovl_forget(op->s->overlay, entry->id, 1);
	return 0;
}

int reply_create(struct op *op, int r, const struct ovl_entry *entry)
{
	/* Handles are stateless (fh 0): no RELEASE comes once OPEN was answered ENOSYS, and a
	 * successor knows no handles. */
	const struct fuse_file_info fi = {.keep_cache = 1};
	struct fuse_entry_param e;

	if (r < 0)
		return reply_result(op, r);
	e = reply_entry_param(entry);
	if (fuse_reply_create(op->req, &e, &fi) == -ENOENT)
		ovl_forget(op->s->overlay, entry->id, 1);
	return 0;
}

int reply_attr(struct op *op, int r, const struct stat *attr)
{
	if (r < 0)
		return reply_result(op, r);
	(void)fuse_reply_attr(
		op->req, attr, attr_timeout(attr)); /* a lost reply is counted in custom_io.c */
	return 0;
}

int reply_bytes(struct op *op, ssize_t n, const char *buf)
{
	if (n < 0)
		return reply_result(op, (int)n);
	(void)fuse_reply_buf(op->req, buf, (size_t)n); /* as above */
	return 0;
}

int reply_written(struct op *op, ssize_t n)
{
	if (n < 0)
		return reply_result(op, (int)n);
	(void)fuse_reply_write(op->req, (size_t)n); /* as above */
	return 0;
}
