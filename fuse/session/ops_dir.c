/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing a directory. OPENDIR is answered ENOSYS once for the connection: then the kernel needs no
 * handles, caches listings, and offsets must mean something by themselves (the overlay's do). The
 * listing is built in the thread's reply buffer. Threads: handlers on workers, run functions on
 * workers and answerers.
 */
#include "session/op.h"
#include "session/wire.h"

#include <errno.h>
#include <string.h>

struct listing {
	fuse_req_t req;
	char *buf;
	size_t used, cap;
	bool plus;
};

static int add_entry(
	void *arg, const char *name, const struct ovl_entry *entry, uint64_t next_offset)
{
	struct listing *l = arg;
	size_t room = l->cap - l->used, need;

	if (l->plus) {
		struct fuse_entry_param e = reply_entry_param(entry);

		need = fuse_add_direntry_plus(
			l->req, l->buf + l->used, room, name, &e, (off_t)next_offset);
	} else {
		need = fuse_add_direntry(
			l->req, l->buf + l->used, room, name, &entry->attr, (off_t)next_offset);
	}
	if (need > room)
		return 1; /* full; this entry starts the next reply */
	l->used += need;
	return 0;
}

/* Nobody received the listing: give back the lookups in it. */
static void forget_listed(const struct op *op, const char *buf, size_t used)
{
	for (size_t at = 0; at + sizeof(struct wire_direntplus) <= used;) {
		struct wire_direntplus d;

		memcpy(&d, buf + at, sizeof(d));
		if (d.nodeid != 0)
			ovl_forget(op->s->overlay, d.nodeid, 1);
		at += (sizeof(d) + d.name_len + 7) & ~(size_t)7;
	}
}

int op_run_readdir(struct op *op, struct sess_thread *t)
{
	struct listing l = {
		.req = op->req,
		.buf = t->out,
		.cap = op->len < SESS_MAX_WRITE ? op->len : SESS_MAX_WRITE,
		.plus = op->kind == OP_READDIRPLUS,
	};
	int r = ovl_readdir(op->s->overlay, &op->rq, op->id, op->offset, l.plus, add_entry, &l);

	/* What was listed before a failure is counted and must be delivered; the next call meets
	 * the failure again. */
	if (r < 0 && l.used == 0)
		return reply_result(op, r);
	if (r == -EAGAIN)
		ovl_need_drop(&op->rq.need);
	if (fuse_reply_buf(op->req, l.buf, l.used) == -ENOENT && l.plus)
		forget_listed(op, l.buf, l.used);
	return 0;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, ENOSYS); /* a lost reply is counted in custom_io.c */
}

static void submit_listing(
	fuse_req_t req, enum op_kind kind, fuse_ino_t ino, size_t size, off_t offset)
{
	struct op op = op_begin(req, kind, ino);

	op.len = size;
	op.offset = (uint64_t)offset;
	op_submit(&op);
}

void op_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	submit_listing(req, OP_READDIR, ino, size, offset);
}

void op_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	submit_listing(req, OP_READDIRPLUS, ino, size, offset);
}
