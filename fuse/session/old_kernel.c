/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that cannot send a request again (before 6.9). Whoever keeps a copy of the descriptor
 * keeps the connection alive, and with it what a dead process had read and not answered: that would
 * wait for ever. So there the process reads through a descriptor of its own, another opening of
 * /dev/fuse for the same connection. It closes with the process, and the kernel ends with
 * ECONNABORTED what was read through it and not answered; everything else goes on with the next
 * process.
 *
 *	keeper's copy ──► first opening ──┐
 *	                                  ├── connection
 *	this process ───► own opening ────┘
 *
 * An answer is only taken from the opening that the request was read through. So the exchange is
 * made when nothing is under way: before the answer to INIT, which the kernel waits for before it
 * sends anything else, and before an adopted connection is served.
 *
 * Threads: the worker that handles INIT, or the one that opens the service.
 */
#include "session/session_internal.h"
#include "session/wire.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

void sess_note_kernel(struct session *s)
{
	struct wire_init_in in = {0};
	size_t have = s->init_len - sizeof(struct wire_in_header);

	memcpy(&in, s->init_request + sizeof(struct wire_in_header),
		have < sizeof(in) ? have : sizeof(in));
	s->resends = in.flags & WIRE_INIT_EXT && in.flags2 & WIRE_INIT2_HAS_RESEND;
}

static bool needs_own(const struct session *s)
{
	return !s->resends && s->farm->mounter->adopt;
}

static int own_opening(int fd)
{
	_cleanup_close_ int own = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	uint32_t of = (uint32_t)fd;

	if (own < 0 || ioctl(own, WIRE_IOC_CLONE, &of) < 0 || dup3(own, fd, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

int sess_own_opening(struct session *s, int fd)
{
	return needs_own(s) ? own_opening(fd) : 0;
}

/* The answer goes to the opening that INIT came from. */
static int exchange(struct session *s, int fd, int *ret_first)
{
	_cleanup_close_ int first = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int r;

	if (first < 0)
		return -errno;
	/* what the workers wait for is the opening, not its number */
	sess_workers_unwatch(s->farm, fd);
	r = own_opening(fd);
	if (r == 0)
		r = sess_workers_watch(s->farm, fd, s->key);
	if (r == 0)
		*ret_first = TAKE_FD(first);
	return r;
}

ssize_t sess_write_init(struct session *s, int fd, const struct iovec *iov, int count)
{
	_cleanup_close_ int first = -1;
	int r = 0;

	if (!needs_own(s))
		return writev(fd, iov, count);
	r = exchange(s, fd, &first);
	if (r == 0)
		return writev(first, iov, count);
	errno = -r;
	return -1;
}
