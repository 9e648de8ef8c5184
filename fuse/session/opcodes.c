/* SPDX-License-Identifier: Apache-2.0 */
/* Names of FUSE operations, for metrics and people. */
#include "session/wire.h"

#include "fuse/session.h"

#include <stddef.h>

#define NAMED(op) [WIRE_##op] = #op

static const char *const opcode_name[] = {
	NAMED(LOOKUP),
	NAMED(FORGET),
	NAMED(GETATTR),
	NAMED(SETATTR),
	NAMED(READLINK),
	NAMED(SYMLINK),
	NAMED(MKNOD),
	NAMED(MKDIR),
	NAMED(UNLINK),
	NAMED(RMDIR),
	NAMED(RENAME),
	NAMED(LINK),
	NAMED(OPEN),
	NAMED(READ),
	NAMED(WRITE),
	NAMED(STATFS),
	NAMED(RELEASE),
	NAMED(FSYNC),
	NAMED(SETXATTR),
	NAMED(GETXATTR),
	NAMED(LISTXATTR),
	NAMED(REMOVEXATTR),
	NAMED(FLUSH),
	NAMED(INIT),
	NAMED(OPENDIR),
	NAMED(READDIR),
	NAMED(RELEASEDIR),
	NAMED(FSYNCDIR),
	NAMED(GETLK),
	NAMED(SETLK),
	NAMED(SETLKW),
	NAMED(ACCESS),
	NAMED(CREATE),
	NAMED(INTERRUPT),
	NAMED(BMAP),
	NAMED(DESTROY),
	NAMED(IOCTL),
	NAMED(POLL),
	NAMED(NOTIFY_REPLY),
	NAMED(BATCH_FORGET),
	NAMED(FALLOCATE),
	NAMED(READDIRPLUS),
	NAMED(RENAME2),
	NAMED(LSEEK),
	NAMED(COPY_FILE_RANGE),
	NAMED(SETUPMAPPING),
	NAMED(REMOVEMAPPING),
	NAMED(SYNCFS),
	NAMED(TMPFILE),
	NAMED(STATX),
};
#undef NAMED

const char *sess_opcode_name(unsigned opcode)
{
	return opcode < sizeof(opcode_name) / sizeof(opcode_name[0]) ? opcode_name[opcode] : NULL;
}
