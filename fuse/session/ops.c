/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of operations, and nothing else. What is absent is answered by libfuse with ENOSYS,
 * which the kernel remembers for the connection, and that is wanted: FLUSH and FSYNCDIR mean
 * nothing here, ACCESS is the kernel's own work, locks are kept by the kernel, and a write_buf
 * would turn splice on. RELEASE and RELEASEDIR succeed by default. There is no destroy: libfuse
 * calls it on hand-over too.
 */
#include "session/op.h"

const struct fuse_lowlevel_ops sess_ops = {
	.init = sess_op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.create = op_create, /* and TMPFILE: see raw.c */
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.open = op_open,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_range,
	.fsync = op_fsync,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
};
