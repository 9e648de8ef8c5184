/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at each request before libfuse decodes it, for what libfuse does not pass on: the unique
 * number, set-id killing of WRITE and SETATTR, the INIT request as it came. And one repair:
 * libfuse 3.14 does not know TMPFILE, whose request and reply are laid out exactly as CREATE's, so
 * it is passed on as CREATE and told apart again by a mark.
 *
 * Also counts requests by opcode. Threads: workers, each with its own buffer.
 */
#include "session/session_internal.h"
#include "session/wire.h"

#include <string.h>

/* `len` bytes at `offset` of the request, if it is that long. */
static bool read_at(const char *buf, size_t buf_len, size_t offset, void *ret, size_t len)
{
	if (buf_len < offset + len)
		return false;
	memcpy(ret, buf + offset, len);
	return true;
}

static bool asks_to_kill_suid(const struct wire_in_header *h, const char *buf, size_t len)
{
	uint32_t flags;

	if (h->opcode == WIRE_WRITE)
		return read_at(buf, len, sizeof(*h) + offsetof(struct wire_write_in, write_flags),
			       &flags, sizeof(flags)) &&
		       (flags & WIRE_WRITE_KILL_SUIDGID);
	if (h->opcode == WIRE_SETATTR)
		return read_at(buf, len, sizeof(*h) + offsetof(struct wire_setattr_in, valid),
			       &flags, sizeof(flags)) &&
		       (flags & WIRE_FATTR_KILL_SUIDGID);
	return false;
}

bool sess_raw_inspect(struct session *s, struct sess_raw *raw, char *buf, size_t len)
{
	uint32_t slot, create = WIRE_CREATE;
	struct wire_in_header h;

	if (!read_at(buf, len, 0, &h, sizeof(h)))
		return false;
	*raw = (struct sess_raw){
		.unique = h.unique & ~WIRE_UNIQUE_RESEND,
		.opcode = h.opcode,
		.pid = h.pid,
		.resent = h.unique & WIRE_UNIQUE_RESEND,
		.kill_suid = asks_to_kill_suid(&h, buf, len),
		.tmpfile = h.opcode == WIRE_TMPFILE,
	};
	slot = h.opcode < SESS_OPCODES ? h.opcode : SESS_OPCODES - 1;
	sess_count(&s->requests[slot], 1);
	counter_add(s->farm->m.requests[slot], 1);
	if (raw->tmpfile)
		memcpy(buf + offsetof(struct wire_in_header, opcode), &create, sizeof(create));
	if (h.opcode == WIRE_INIT) {
		int r = sess_init_save_request(s, buf, len);

		if (r < 0)
			sess_started(s, r);
		return r == 0;
	}
	return true;
}
