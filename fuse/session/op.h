/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One decoded request. A handler of ops_*.c fills it on its stack and submits it; running it calls
 * the overlay and replies exactly once, or finds that something must be fetched first. Then it is
 * parked (park.h): a copy with its own names and payload waits, and the very same run function is
 * called again later, on another thread.
 */
#pragma once
#include "session/session_internal.h"

enum op_kind {
	OP_LOOKUP,
	OP_GETATTR,
	OP_SETATTR,
	OP_READLINK,
	OP_STATFS,
	OP_MKNOD,
	OP_MKDIR,
	OP_SYMLINK,
	OP_CREATE,
	OP_TMPFILE,
	OP_LINK,
	OP_UNLINK,
	OP_RMDIR,
	OP_RENAME,
	OP_READDIR,
	OP_READDIRPLUS,
	OP_READ,
	OP_WRITE,
	OP_FALLOCATE,
	OP_LSEEK,
	OP_COPY_RANGE,
	OP_FSYNC,
	OP_GETXATTR,
	OP_LISTXATTR,
	OP_SETXATTR,
	OP_REMOVEXATTR,
	OP_KINDS,
};

struct op {
	fuse_req_t req;
	struct session *s;
	struct ovl_req rq;
	enum op_kind kind;
	uint64_t id;       /* node; the parent where there is a name */
	uint64_t id2;      /* new parent (rename, link); output node (copy) */
	const char *name;  /* name; attribute name */
	const char *name2; /* new name (rename); target (symlink) */
	const void *data;  /* payload of WRITE, value of SETXATTR */
	size_t len;        /* of data; wanted bytes of READ, READDIR, xattr */
	uint64_t offset, offset2;
	uint64_t count; /* fallocate, copy */
	mode_t mode;    /* also fallocate's mode */
	dev_t rdev;
	unsigned flags; /* open, rename, xattr flags; whence; data_only; kill_suid; enum ovl_set */
	const struct stat *attr; /* SETATTR */
	bool resent;             /* sent again by the kernel after a takeover */
	/* refused by the quota (reply.c): */
	uint64_t quota_until_ns; /* tried again until then; 0: not refused yet */
	uint64_t pause_ns;       /* before the next attempt */
	bool quota_settled;      /* nothing was about to be given back when this attempt began */
};

/* Calls the overlay and replies. -EAGAIN: neither was done for good, op->rq.need says what is
 * missing. Otherwise 0. */
typedef int (*op_run_fn)(struct op *op, struct sess_thread *t);

/* The first fields of an op, from the request at hand. */
struct op op_begin(fuse_req_t req, enum op_kind kind, uint64_t id);
/* Run or park. */
void op_submit(struct op *op);
int op_run(struct op *op, struct sess_thread *t);
/* May this kind wait long? READ and GETXATTR (digests) hold no kernel lock, other metadata does. */
bool op_is_patient(enum op_kind kind);

/* Run functions, beside the handlers that fill their fields. [ops_inode.c] */
int op_run_lookup(struct op *op, struct sess_thread *t);
int op_run_getattr(struct op *op, struct sess_thread *t);
int op_run_setattr(struct op *op, struct sess_thread *t);
int op_run_readlink(struct op *op, struct sess_thread *t);
int op_run_statfs(struct op *op, struct sess_thread *t);
/* [ops_name.c] */
int op_run_mknod(struct op *op, struct sess_thread *t);
int op_run_mkdir(struct op *op, struct sess_thread *t);
int op_run_symlink(struct op *op, struct sess_thread *t);
int op_run_create(struct op *op, struct sess_thread *t);
int op_run_tmpfile(struct op *op, struct sess_thread *t);
int op_run_link(struct op *op, struct sess_thread *t);
int op_run_unlink(struct op *op, struct sess_thread *t);
int op_run_rmdir(struct op *op, struct sess_thread *t);
int op_run_rename(struct op *op, struct sess_thread *t);
/* [ops_dir.c] */
int op_run_readdir(struct op *op, struct sess_thread *t);
/* [ops_file.c] */
int op_run_read(struct op *op, struct sess_thread *t);
int op_run_write(struct op *op, struct sess_thread *t);
int op_run_fallocate(struct op *op, struct sess_thread *t);
int op_run_lseek(struct op *op, struct sess_thread *t);
int op_run_copy_range(struct op *op, struct sess_thread *t);
int op_run_fsync(struct op *op, struct sess_thread *t);
/* [ops_xattr.c] */
int op_run_getxattr(struct op *op, struct sess_thread *t);
int op_run_listxattr(struct op *op, struct sess_thread *t);
int op_run_setxattr(struct op *op, struct sess_thread *t);
int op_run_removexattr(struct op *op, struct sess_thread *t);

/* [ops_again.c] The request was sent again and had been done: answer it as it would have been.
 * False: it is to be done. *ret as of a run function. */
bool op_done_before(struct op *op, int *ret);

/* ---- replies (reply.c). Each ends the request. ---- */

/* The one place where an errno becomes the kernel's: 0 or a negative errno in, what may be sent
 * out (positive or 0). */
int reply_errno(int r);
/* `r` 0 or negative; -EAGAIN is handed back if the op can be parked, everything else is sent. */
int reply_result(struct op *op, int r);
void reply_error(struct op *op, int r);
/* r as above; on 0 the entry is sent, and its lookup given back if nobody waits for it any more. */
int reply_entry(struct op *op, int r, const struct ovl_entry *entry);
int reply_create(struct op *op, int r, const struct ovl_entry *entry);
int reply_attr(struct op *op, int r, const struct stat *attr);
/* A count that was asked for with buffer size 0 (xattr), or bytes. */
int reply_bytes(struct op *op, ssize_t n, const char *buf);
int reply_written(struct op *op, ssize_t n);
/* Entry as the kernel wants it, with its lifetimes. */
struct fuse_entry_param reply_entry_param(const struct ovl_entry *entry);

/* ---- handlers: the table in ops.c ---- */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *fi);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len,
	struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void op_copy_range(fuse_req_t req, fuse_ino_t in, off_t in_offset, struct fuse_file_info *in_fi,
	fuse_ino_t out, off_t out_offset, struct fuse_file_info *out_fi, size_t len, int flags);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
