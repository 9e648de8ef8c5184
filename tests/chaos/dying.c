/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOADed into coppiced: ends the process (SIGKILL) right before or after a system call that
 * changes something, or before the reply that follows it. So the program under test is the very one
 * that is shipped, and every step of its journals is hit: what it writes to memory that outlives it
 * (the overlay's journal) lies between two such calls.
 *
 * COPPICE_DYING names a file of orders, one per line and process: CALL STAGE COUNT DELAY_MS [NAME],
 * e.g. "renameat2 before 3 1100": die before the third renameat2 that is made 1.1 s after the start
 * or later. With a NAME only calls about an entry of this name count (of a rename
 * either of the two), and of those without a path only what comes after such a call.
 * Each process takes the first line and leaves the others to its successors. STAGE is before, after
 * or reply. openat counts only where it creates, read and writev only where they speak with the
 * kernel's FUSE.
 *
 * Threads: any; the order is read before main and then only counted down.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ORDERS_MAX          65536
#define REQUEST_BYTES       (1u << 20) /* no other read asks for so much */
#define OPCODE_FORGET       2u
#define OPCODE_BATCH_FORGET 42u
#define REPLY_HEADER        16u /* fuse_out_header */

enum stage { NEVER, BEFORE, AFTER, REPLY };

static struct {
	char call[32];
	char name[64]; /* "": any */
	enum stage stage;
	uint64_t from_ns;
	atomic_uint left;
} order;

static atomic_bool name_was_seen;
static _Thread_local bool answers; /* it reads requests, so a reply follows what it does */
static _Thread_local bool reply_is_due;

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail on this clock */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void die(void)
{
	(void)syscall(SYS_kill, getpid(), SIGKILL); /* does not return */
}

static enum stage stage_of(const char *word)
{
	if (strcmp(word, "before") == 0)
		return BEFORE;
	if (strcmp(word, "after") == 0)
		return AFTER;
	return strcmp(word, "reply") == 0 ? REPLY : NEVER;
}

/* The first line of the file, which is then without it. */
static bool take_line(const char *path, char *line, size_t size)
{
	static char text[ORDERS_MAX];
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	long len = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof(text) - 1);
	char *end = len > 0 ? memchr(text, '\n', (size_t)len) : NULL;
	bool taken = end && (size_t)(end - text) < size;

	if (taken) {
		size_t rest = (size_t)(len - (end + 1 - text));

		memcpy(line, text, (size_t)(end - text));
		line[end - text] = '\0';
		taken = syscall(SYS_pwrite64, fd, end + 1, rest, 0) == (long)rest &&
			syscall(SYS_ftruncate, fd, rest) == 0;
	}
	if (fd >= 0)
		(void)syscall(SYS_close, fd); /* read and written */
	return taken;
}

__attribute__((constructor)) static void take_order(void)
{
	const char *path = getenv("COPPICE_DYING");
	char line[128], word[16];
	unsigned count, delay_ms;

	if (!path || strcmp(program_invocation_short_name, "coppiced") != 0 ||
		!take_line(path, line, sizeof(line)))
		return;
	if (sscanf(line, "%31s %15s %u %u %63s", order.call, word, &count, &delay_ms, order.name) <
		4)
		return;
	order.from_ns = now_ns() + delay_ms * 1000000ull;
	atomic_store(&order.left, count);
	order.stage = stage_of(word);
}

/* Is `path`, NULL if the call has none, about the entry that was asked for? */
static bool is_named(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (!order.name[0])
		return true;
	return path ? strcmp(slash ? slash + 1 : path, order.name) == 0
		    : atomic_load(&name_was_seen);
}

/* Of a rename: what was asked for, if it is one of the two. */
static const char *either(const char *from, const char *to)
{
	return is_named(from) ? from : to;
}

/* Is it this call's turn? */
static bool counted(const char *call, const char *path)
{
	return strcmp(call, order.call) == 0 && is_named(path) && now_ns() >= order.from_ns &&
	       atomic_fetch_sub(&order.left, 1) == 1;
}

static void before(const char *call, const char *path)
{
	if (order.stage == BEFORE && counted(call, path))
		die();
}

static void after(const char *call, const char *path, bool ok)
{
	int saved = errno;

	if (ok && path && is_named(path))
		atomic_store(&name_was_seen, true);
	if (ok && order.stage == AFTER && counted(call, path))
		die();
	if (ok && order.stage == REPLY && answers && counted(call, path))
		reply_is_due = true;
	errno = saved;
}

/* A call under one or two names (with 64 it is the same call), about `path`, or NULL. */
#define STAGED(type, name, call, path, params, args)                       \
	type name params;                                                  \
	type name params                                                   \
	{                                                                  \
		static _Atomic(void *) next;                               \
		void *to = atomic_load(&next);                             \
		type r;                                                    \
                                                                           \
		if (!to)                                                   \
			atomic_store(&next, to = dlsym(RTLD_NEXT, #name)); \
		before(call, path);                                        \
		r = ((type(*) params)to)args;                              \
		after(call, path, r >= 0);                                 \
		return r;                                                  \
	}

STAGED(int, mkdirat, "mkdirat", p, (int d, const char *p, mode_t m), (d, p, m))
STAGED(int, mknodat, "mknodat", p, (int d, const char *p, mode_t m, dev_t v), (d, p, m, v))
STAGED(int, symlinkat, "symlinkat", p, (const char *t, int d, const char *p), (t, d, p))
STAGED(int, linkat, "linkat", q, (int a, const char *p, int b, const char *q, int f),
	(a, p, b, q, f))
STAGED(int, unlinkat, "unlinkat", p, (int d, const char *p, int f), (d, p, f))
STAGED(int, renameat, "renameat", either(p, q), (int a, const char *p, int b, const char *q),
	(a, p, b, q))
STAGED(int, renameat2, "renameat2", either(p, q),
	(int a, const char *p, int b, const char *q, unsigned f), (a, p, b, q, f))
STAGED(int, ftruncate, "ftruncate", NULL, (int d, off_t n), (d, n))
STAGED(int, ftruncate64, "ftruncate", NULL, (int d, off_t n), (d, n))
STAGED(int, posix_fallocate, "posix_fallocate", NULL, (int d, off_t a, off_t n), (d, a, n))
STAGED(int, fchmod, "fchmod", NULL, (int d, mode_t m), (d, m))
STAGED(int, fchmodat, "fchmodat", p, (int d, const char *p, mode_t m, int f), (d, p, m, f))
STAGED(int, fchown, "fchown", NULL, (int d, uid_t u, gid_t g), (d, u, g))
STAGED(int, fchownat, "fchownat", p, (int d, const char *p, uid_t u, gid_t g, int f),
	(d, p, u, g, f))
STAGED(int, utimensat, "utimensat", p, (int d, const char *p, const struct timespec t[2], int f),
	(d, p, t, f))
STAGED(int, fsetxattr, "fsetxattr", NULL, (int d, const char *n, const void *v, size_t s, int f),
	(d, n, v, s, f))
STAGED(int, setxattr, "setxattr", p, (const char *p, const char *n, const void *v, size_t s, int f),
	(p, n, v, s, f))
STAGED(int, lsetxattr, "lsetxattr", p,
	(const char *p, const char *n, const void *v, size_t s, int f), (p, n, v, s, f))
STAGED(int, fsync, "fsync", NULL, (int d), (d))
STAGED(int, fdatasync, "fdatasync", NULL, (int d), (d))
STAGED(ssize_t, pwrite, "pwrite", NULL, (int d, const void *b, size_t n, off_t o), (d, b, n, o))
STAGED(ssize_t, pwrite64, "pwrite", NULL, (int d, const void *b, size_t n, off_t o), (d, b, n, o))
STAGED(ssize_t, pwritev64, "pwritev", NULL, (int d, const struct iovec *v, int n, off_t o),
	(d, v, n, o))
STAGED(ssize_t, copy_file_range, "copy_file_range", NULL,
	(int a, off_t *p, int b, off_t *q, size_t n, unsigned f), (a, p, b, q, n, f))

static mode_t mode_in(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int openat64(int d, const char *p, int flags, ...);
int openat64(int d, const char *p, int flags, ...)
{
	bool creates = flags & O_CREAT;
	mode_t mode;
	va_list ap;
	int r;

	va_start(ap, flags);
	mode = mode_in(flags, ap);
	va_end(ap);
	if (creates)
		before("openat", p);
	r = (int)syscall(SYS_openat, d, p, flags, mode);
	if (creates)
		after("openat", p, r >= 0);
	return r;
}

int openat(int d, const char *p, int flags, ...);
int openat(int d, const char *p, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_in(flags, ap);
	va_end(ap);
	return openat64(d, p, flags, mode);
}

/* The kernel never repeats these. */
static bool is_forget(const uint32_t *header)
{
	return header[1] == OPCODE_FORGET || header[1] == OPCODE_BATCH_FORGET;
}

ssize_t read(int d, void *b, size_t n)
{
	bool request = n >= REQUEST_BYTES;
	uint32_t h[2];
	ssize_t r;

	if (request)
		before("read", NULL);
	r = syscall(SYS_read, d, b, n);
	answers |= request;
	if (request)
		after("read", NULL, r >= 0);
	if (request && r >= (ssize_t)sizeof(h) && is_forget(memcpy(&h, b, sizeof(h))))
		after("forget", NULL, true);
	return r;
}

ssize_t writev(int d, const struct iovec *v, int n)
{
	bool reply = n > 0 && v[0].iov_len == REPLY_HEADER;
	ssize_t r;

	if (reply && reply_is_due)
		die();
	if (reply)
		before("writev", NULL);
	r = syscall(SYS_writev, d, v, n);
	if (reply)
		after("writev", NULL, r >= 0);
	return r;
}
