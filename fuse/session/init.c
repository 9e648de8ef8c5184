/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is agreed with the kernel when a connection starts, and how it is remembered. The values are
 * frozen for the life of the connection, which outlives the process: a successor must give the same
 * answers to the same request. So the request as it came and the reply as it went are kept in
 * <state_dir>/init, written completely before the kernel sees the reply.
 *
 *	init:	8 bytes "coppINIT", u32 version, u32 length of the request, u32 of the reply,
 *		the request with its header, the reply without
 *
 * Why these flags: reference measurements in docs/threads.md. Off on purpose: writeback cache,
 * splice, locks (the kernel keeps them), POSIX ACLs, automatic data invalidation and automatic
 * readdirplus.
 *
 * Threads: the one worker that handles INIT.
 */
#include "session/session_internal.h"
#include "session/wire.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <string.h>

#define INIT_FILE    "init"
#define INIT_MAGIC   "coppINIT"
#define INIT_VERSION SESS_STATE_FORMAT
#define INIT_MAX     4096u

struct init_header {
	char magic[8];
	uint32_t version, request_len, reply_len;
};

void sess_op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
				FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS |
				FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_NO_OPEN_SUPPORT |
				FUSE_CAP_NO_OPENDIR_SUPPORT;

	(void)userdata;
	conn->want = wanted & conn->capable;
	conn->max_write = SESS_MAX_WRITE;
	conn->max_readahead = SESS_MAX_WRITE;
	conn->max_background = SESS_MAX_BACKGROUND;
	conn->congestion_threshold = SESS_CONGESTION;
	conn->time_gran = 1;
}

int sess_init_save_request(struct session *s, const void *request, size_t len)
{
	struct wire_in_header h;

	if (s->init_request || len < sizeof(h) || len > INIT_MAX)
		return -EPROTO;
	memcpy(&h, request, sizeof(h));
	s->init_request = malloc(len);
	if (!s->init_request)
		return -ENOMEM;
	memcpy(s->init_request, request, len);
	s->init_len = (uint32_t)len;
	sess_note_kernel(s);
	/* relaxed: the reply is written by the same thread */
	atomic_store_explicit(&s->init_unique, h.unique, memory_order_relaxed);
	return 0;
}

void sess_init_forget(struct session *s)
{
	free(s->init_request);
	s->init_request = NULL;
	s->init_len = 0;
}

/* Flags that libfuse 3.14 does not answer with, though it was asked to or does not know them; only
 * what the kernel offers. */
static void add_flags(const struct session *s, struct wire_init_out *out)
{
	const uint32_t wanted = WIRE_INIT_PARALLEL_DIROPS | WIRE_INIT_HANDLE_KILLPRIV_V2 |
				WIRE_INIT_MAX_PAGES | WIRE_INIT_BIG_WRITES;
	struct wire_init_in in = {0};
	size_t have = s->init_len - sizeof(struct wire_in_header);

	memcpy(&in, s->init_request + sizeof(struct wire_in_header),
		have < sizeof(in) ? have : sizeof(in));
	out->flags |= wanted & in.flags;
	if (out->flags & WIRE_INIT_MAX_PAGES)
		out->max_pages = SESS_MAX_WRITE / 4096u;
}

static int save(struct session *s, const struct wire_init_out *out, uint32_t reply_len)
{
	const struct init_header h = {
		.magic = INIT_MAGIC,
		.version = INIT_VERSION,
		.request_len = s->init_len,
		.reply_len = reply_len,
	};
	char file[sizeof(h) + INIT_MAX + sizeof(*out)];
	size_t len = sizeof(h);

	memcpy(file, &h, sizeof(h));
	memcpy(file + len, s->init_request, s->init_len);
	len += s->init_len;
	memcpy(file + len, out, reply_len);
	len += reply_len;
	/* Not synced: a crash of the machine ends the connection too. */
	return io_write_file(s->state_fd, INIT_FILE, file, len, 0600, false);
}

static int split(struct session *s, const char *file, size_t len)
{
	struct init_header h;

	if (len < sizeof(h))
		return -EPROTO;
	memcpy(&h, file, sizeof(h));
	if (memcmp(h.magic, INIT_MAGIC, sizeof(h.magic)) != 0 || h.version != INIT_VERSION ||
		h.request_len > INIT_MAX || h.reply_len > sizeof(struct wire_init_out) ||
		h.request_len < sizeof(struct wire_in_header) + sizeof(struct wire_init_in) ||
		len != sizeof(h) + h.request_len + h.reply_len)
		return -EPROTO;
	s->agreed = malloc(h.reply_len ? h.reply_len : 1);
	if (!s->agreed)
		return -ENOMEM;
	memcpy(s->agreed, file + sizeof(h) + h.request_len, h.reply_len);
	s->agreed_len = h.reply_len;
	return sess_init_save_request(s, file + sizeof(h), h.request_len);
}

int sess_init_load(struct session *s)
{
	_cleanup_free_ char *file = NULL;
	size_t len;
	int r = io_read_file(s->state_fd, INIT_FILE,
		sizeof(struct init_header) + INIT_MAX + sizeof(struct wire_init_out), &file, &len);

	if (r == 0)
		r = split(s, file, len);
	return r;
}

int sess_init_compare(struct session *s, const void *init_out, size_t len)
{
	struct wire_init_out out = {0};

	if (len != s->agreed_len || len > sizeof(out))
		return -EPROTO;
	memcpy(&out, init_out, len);
	add_flags(s, &out);
	return memcmp(&out, s->agreed, len) == 0 ? 0 : -EPROTO;
}

int sess_init_finish(struct session *s, void *init_out, size_t len)
{
	struct wire_init_out out = {0};
	int r;

	if (len > sizeof(out) ||
		len < offsetof(struct wire_init_out, max_pages) + sizeof(out.max_pages))
		return -EPROTO;
	memcpy(&out, init_out, len);
	add_flags(s, &out);
	r = save(s, &out, (uint32_t)len);
	if (r < 0)
		return r;
	memcpy(init_out, &out, len);
	return 0;
}
