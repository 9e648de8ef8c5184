/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks through which libfuse reads and writes the descriptor. They exist to count, to see
 * which replies the kernel no longer wanted (libfuse hides that), and to complete the INIT reply
 * before it leaves.
 *
 * A reply must never be written straight from a mapped file: see thread.c. Threads: workers,
 * answerers, notify threads.
 */
#include "session/session_internal.h"
#include "session/wire.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

/* libfuse asks for as much as its own buffers have, which is more than a worker's: it does not look
 * at the size that it is given. A batch of FORGETs takes whatever is allowed. */
static ssize_t read_request(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len < SESS_REQUEST_BYTES ? len : SESS_REQUEST_BYTES);
}

static void count_reply(struct session *s, int32_t error)
{
	uint32_t code = error < 0 ? (uint32_t)-error : 0;

	sess_count(&s->replies, 1);
	if (code)
		sess_count(&s->errors[code < SESS_ERRNOS ? code : 0], 1);
}

/* The reply to INIT passes: complete it and keep it. False: it must not be sent. */
static bool finish_init(
	struct session *s, const struct wire_out_header *h, const struct iovec *iov, int count)
{
	int r = h->error ? h->error : -EPROTO;

	if (!h->error && count > 1)
		r = s->agreed ? sess_init_compare(s, iov[1].iov_base, iov[1].iov_len)
			      : sess_init_finish(s, iov[1].iov_base, iov[1].iov_len);
	if (r < 0)
		sess_started(s, r);
	return r == 0;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct wire_out_header *h = iov[0].iov_base;
	struct session *s = userdata;
	/* relaxed: only the thread that handles INIT writes it, and its reply has that unique */
	bool init = h->unique &&
		    h->unique == atomic_load_explicit(&s->init_unique, memory_order_relaxed);
	ssize_t n;

	if (init && !finish_init(s, h, iov, count)) {
		errno = EPROTO;
		return -1;
	}
	/* The kernel has the answer of the process that was killed. */
	if (init)
		n = s->agreed ? (ssize_t)h->len : sess_write_init(s, fd, iov, count);
	else
		n = writev(fd, iov, count);
	if (init) {
		atomic_store_explicit(&s->init_unique, 0, memory_order_relaxed); /* as above */
		sess_started(s, n < 0 ? -errno : 0);
	}
	if (h->unique == 0)
		return n; /* a notification */
	count_reply(s, h->error);
	if (n < 0) {
		sess_count(&s->reply_lost, 1);
		counter_add(s->farm->m.replies_lost, 1);
		/* The connection is gone; its reader is told so. ENOENT is what libfuse takes
		 * without complaint. */
		if (errno == ENODEV || errno == ENOTCONN || errno == ECONNABORTED)
			errno = ENOENT;
	}
	return n;
}

const struct fuse_custom_io sess_custom_io = {.read = read_request, .writev = write_reply};
