/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's FUSE protocol as far as we look at it ourselves: layouts and numbers of
 * <linux/fuse.h>, which cannot be included (a field of it has a banned function's name) and is
 * older than the protocol in Debian 12. The layouts never change; newer kernels only append.
 */
#pragma once
#include <stdint.h>

enum wire_opcode {
	WIRE_LOOKUP = 1,
	WIRE_FORGET = 2,
	WIRE_GETATTR = 3,
	WIRE_SETATTR = 4,
	WIRE_READLINK = 5,
	WIRE_SYMLINK = 6,
	WIRE_MKNOD = 8,
	WIRE_MKDIR = 9,
	WIRE_UNLINK = 10,
	WIRE_RMDIR = 11,
	WIRE_RENAME = 12,
	WIRE_LINK = 13,
	WIRE_OPEN = 14,
	WIRE_READ = 15,
	WIRE_WRITE = 16,
	WIRE_STATFS = 17,
	WIRE_RELEASE = 18,
	WIRE_FSYNC = 20,
	WIRE_SETXATTR = 21,
	WIRE_GETXATTR = 22,
	WIRE_LISTXATTR = 23,
	WIRE_REMOVEXATTR = 24,
	WIRE_FLUSH = 25,
	WIRE_INIT = 26,
	WIRE_OPENDIR = 27,
	WIRE_READDIR = 28,
	WIRE_RELEASEDIR = 29,
	WIRE_FSYNCDIR = 30,
	WIRE_GETLK = 31,
	WIRE_SETLK = 32,
	WIRE_SETLKW = 33,
	WIRE_ACCESS = 34,
	WIRE_CREATE = 35,
	WIRE_INTERRUPT = 36,
	WIRE_BMAP = 37,
	WIRE_DESTROY = 38,
	WIRE_IOCTL = 39,
	WIRE_POLL = 40,
	WIRE_NOTIFY_REPLY = 41,
	WIRE_BATCH_FORGET = 42,
	WIRE_FALLOCATE = 43,
	WIRE_READDIRPLUS = 44,
	WIRE_RENAME2 = 45,
	WIRE_LSEEK = 46,
	WIRE_COPY_FILE_RANGE = 47,
	WIRE_SETUPMAPPING = 48,
	WIRE_REMOVEMAPPING = 49,
	WIRE_SYNCFS = 50,
	WIRE_TMPFILE = 51,
	WIRE_STATX = 52,
};

#define WIRE_WRITE_HEADERS 80u /* bytes before a WRITE's payload: fuse_in_header, fuse_write_in */

#define WIRE_UNIQUE_RESEND    (1ull << 63) /* of a request that is sent again after a takeover */
#define WIRE_NOTIFY_RESEND    7            /* the `error` of an out header with unique 0 */
#define WIRE_INIT_EXT         (1u << 30)   /* flags2 is there */
#define WIRE_INIT2_HAS_RESEND (1u << 7)
/* attach this opening of /dev/fuse to the connection of another */
#define WIRE_IOC_CLONE          _IOR(229, 0, uint32_t)
#define WIRE_WRITE_KILL_SUIDGID (1u << 2)
#define WIRE_FATTR_KILL_SUIDGID (1u << 11)

#define WIRE_INIT_BIG_WRITES         (1u << 5)
#define WIRE_INIT_PARALLEL_DIROPS    (1u << 18)
#define WIRE_INIT_MAX_PAGES          (1u << 22)
#define WIRE_INIT_HANDLE_KILLPRIV_V2 (1u << 28)

struct wire_in_header {
	uint32_t len, opcode;
	uint64_t unique, nodeid;
	uint32_t uid, gid, pid;
	uint16_t total_extlen, padding;
};

struct wire_out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct wire_init_in {
	uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};

struct wire_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, unused[7];
};

struct wire_write_in {
	uint64_t fh, offset;
	uint32_t size, write_flags;
	uint64_t lock_owner;
	uint32_t flags, padding;
};

/* Only the beginning. */
struct wire_setattr_in {
	uint32_t valid, padding;
};

/* One record of READDIRPLUS; the name follows, padded to 8 bytes. */
struct wire_direntplus {
	uint64_t nodeid;
	uint8_t rest_of_entry[120];
	uint64_t ino, off;
	uint32_t name_len, type;
};
