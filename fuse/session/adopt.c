/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on with the connection of a process that was killed. The keeper has its descriptor, the
 * state directory what was agreed. libfuse must learn the agreement too, so the saved INIT is given
 * to it once more; its answer has to be the same as then, and is not sent.
 *
 *	adopt: descriptor ─► INIT again ─► (the service brings the workspaces back) ─► serve:
 *RESEND, workers
 *
 * Requests that the dead process had read come again with the resend bit; those that it had not
 * read are still queued. Until sess_serve nobody reads. Threads: the one that opens the service.
 */
#include "session/mountinfo.h"
#include "session/notify.h"
#include "session/session_internal.h"
#include "session/slots.h"
#include "session/wire.h"

#include <base/clock.h>
#include <base/err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names no request: the kernel counts from 1. Not that of the first INIT, which may be in use
 * again. */
#define UNIQUE_AGAIN (1ull << 62)

/* As attach in session.c, but nobody is woken by it. */
static int hold(struct session *s, int fd)
{
	int r = sess_own_opening(s, fd);

	if (r == 0)
		r = fuse_session_custom_io(s->se, &sess_custom_io, fd);
	if (r < 0) {
		(void)close(fd); /* the keeper has it too */
		return r;
	}
	s->attached = true;
	r = slots_claim(s->farm->slots, s, &s->key);
	s->has_slot = r == 0;
	return r;
}

static void answer_init_again(struct session *s)
{
	struct wire_in_header h;
	struct fuse_buf buf = {.mem = s->init_request, .size = s->init_len};

	memcpy(&h, s->init_request, sizeof(h));
	h.unique = UNIQUE_AGAIN;
	memcpy(s->init_request, &h, sizeof(h));
	/* relaxed: the reply is written by this thread */
	atomic_store_explicit(&s->init_unique, UNIQUE_AGAIN, memory_order_relaxed);
	fuse_session_process_buf(s->se, &buf);
}

int sess_adopt(struct session *s, struct err *e)
{
	struct sess_mounter *m = s->farm->mounter;
	unsigned major, minor;
	int fd, r = sess_init_load(s);

	if (r == 0)
		r = mountinfo_device(s->mountpoint, &major, &minor);
	if (r == 0)
		r = m->adopt(m, s->tenant, s->mountpoint, &fd);
	if (r < 0)
		return err_wrap(e, r, "adopt %s", s->mountpoint);
	s->mounted = true;
	r = hold(s, fd);
	if (r < 0)
		return err_wrap(e, r, "adopt %s", s->mountpoint);
	answer_init_again(s);
	free(s->agreed);
	s->agreed = NULL;
	s->adopted = true;
	return 0; /* whether the answer was the same is waited for as for any INIT */
}

bool sess_adopted(struct session *s)
{
	return s->adopted;
}

/* A removed file whose FORGET went with the dead process would be kept for ever. What the kernel
 * still has of it is certain: names of it are gone, so no request that is sent again can bring it
 * back (one for a file without a name makes another). */
static void find_lost(struct session *s, uint64_t *ids, size_t count)
{
	if (count)
		notify_ask(s->farm->notify, s, ids, count);
	else
		free(ids);
}

int sess_serve(struct session *s)
{
	const struct wire_out_header resend = {.len = sizeof(resend), .error = WIRE_NOTIFY_RESEND};
	int fd = fuse_session_fd(s->se), r = 0;
	uint64_t *orphans = NULL;
	size_t orphan_count = 0;

	if (!s->adopted)
		return 0;
	s->adopted = false;
	(void)ovl_orphans(s->overlay, &orphans, &orphan_count); /* the next to take over asks too */
	if (s->resends && write(fd, &resend, sizeof(resend)) != (ssize_t)sizeof(resend))
		r = -errno;
	if (r == 0)
		r = sess_workers_watch(s->farm, fd, s->key);
	if (r < 0)
		sess_abandon(s);
	find_lost(s, orphans, orphan_count);
	return r;
}

void sess_abandon(struct session *s)
{
	(void)sess_mount_abort(s); /* closing it does the same */
	sess_ended(s);
}

int sess_settle(struct sess_farm *farm)
{
	return farm->mounter->settle ? farm->mounter->settle(farm->mounter) : 0;
}
