/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that every arrival goes through: it hashes while it streams, keeps a small blob in a
 * buffer and lets a large one flow into the disk tier, so memory is bounded by the small limit
 * whatever the blob's size. What the disk does not take is kept in memory as a whole (tier spill),
 * or flows past a window of it (tier window). Nothing can be read before the hash was compared in
 * blob_intake_commit. The producer is not trusted: more or fewer bytes than announced, writes
 * before begin, or a second begin are refused, and a refusal sticks even if the producer ignores
 * it.
 *
 * One thread owns an intake.
 */
#include "blob/blob_internal.h"
#include "blob/blob_window.h"

#include <errno.h>
#include <stdlib.h>

static int fail(struct blob_intake *in, int r)
{
	if (r < 0 && in->error == 0)
		in->error = r;
	return r;
}

/* What the tier said that the blob flows into. */
static int large_said(struct blob_intake *in, int r)
{
	if (r < 0 && in->to == blob_large_tier(in->bs)) {
		blob_disk_said(in->bs, in->size, r);
		in->refused = in->refused || blob_disk_refuses(r);
	}
	return r;
}

static int begin_flowing(struct blob_intake *in, const struct blob_tier *to)
{
	in->to = to;
	return to->ops->begin(to->impl, in->oid, in->size, &in->write);
}

/* A large one that the disk does not take. */
static int begin_without_disk(struct blob_intake *in)
{
	if (in->size > in->bs->spill_max)
		return in->whole ? -ENOSPC : begin_flowing(in, in->bs->window);
	in->spill = true;
	in->small = malloc(in->size);
	return in->small ? 0 : -ENOMEM;
}

static int begin_storing(struct blob_intake *in)
{
	const struct blob_tier *disk = blob_large_tier(in->bs);
	int r = -ENOSPC;

	if (in->size <= in->bs->small_max) {
		in->small = malloc(in->size ? in->size : 1);
		return in->small ? 0 : -ENOMEM;
	}
	if (disk && !in->no_disk && !blob_window_refused(in->bs->window, in->oid)) {
		r = begin_flowing(in, disk);
		blob_disk_said(in->bs, in->size, r);
	}
	return r < 0 && blob_disk_refuses(r) ? begin_without_disk(in) : r;
}

static int sink_begin(struct blob_sink *s, uint64_t size)
{
	struct blob_intake *in = (struct blob_intake *)s;
	enum digest_kind kind;
	int r;

	if (in->error)
		return in->error;
	if (in->begun)
		return fail(in, -EBADMSG);
	in->begun = true;
	in->size = size;
	r = digest_kind_of(in->oid, &kind);
	if (r == 0)
		r = digest_new_object(&in->digest, kind, OBJECT_BLOB, size);
	if (r == 0)
		r = begin_storing(in);
	return fail(in, r);
}

static int sink_write(struct blob_sink *s, const void *data, size_t len)
{
	struct blob_intake *in = (struct blob_intake *)s;
	int r;

	if (in->error)
		return in->error;
	if (!in->begun || len > in->size - in->done)
		return fail(in, -EBADMSG);
	if (len == 0)
		return 0;
	r = digest_update(in->digest, data, len);
	if (r == 0 && in->small)
		memcpy(in->small + in->done, data, len);
	else if (r == 0)
		r = large_said(in, in->to->ops->write(in->to->impl, in->write, data, len));
	in->done += len;
	return fail(in, r);
}

void blob_intake_init(struct blob_intake *in, struct blob_store *bs, const struct oid *oid)
{
	*in = (struct blob_intake){
		.sink = {.begin = sink_begin, .write = sink_write},
		.bs = bs,
		.oid = oid,
	};
}

static int verify(struct blob_intake *in)
{
	int r = in->error;

	if (r == 0)
		r = in->begun && in->done == in->size ? digest_matches(in->digest, in->oid)
						      : -EBADMSG;
	if (r == -EBADMSG)
		counter_add(in->bs->verify_failures, 1);
	return r;
}

/* It has flown into the disk, or past a window. */
static int commit_large(struct blob_intake *in)
{
	struct blob_store *bs = in->bs;
	bool disk = in->to == blob_large_tier(bs);
	int r = large_said(in, in->to->ops->commit(in->to->impl, in->write));

	in->write = NULL;
	if (r < 0 || !disk)
		return r;
	blob_disk_said(bs, in->size, 0);
	bs->window->ops->drop(bs->window->impl, in->oid);
	if (in->share)
		blob_share_large(bs, in->oid, in->size);
	return 0;
}

int blob_intake_commit(struct blob_intake *in)
{
	int r;

	r = verify(in);
	if (r == 0 && in->small && in->spill) {
		r = in->bs->spill->ops->put(in->bs->spill->impl, in->oid, in->small, in->size);
	} else if (r == 0 && in->small) {
		r = blob_keep_small(in->bs, in->oid, in->small, in->size, in->share);
	} else if (r == 0) {
		r = commit_large(in);
	}
	if (r == 0)
		counter_add(in->bs->fetched_bytes, in->size);
	blob_intake_abort(in);
	return r;
}

void blob_intake_abort(struct blob_intake *in)
{
	if (in->write)
		in->to->ops->abort(in->to->impl, in->write);
	in->write = NULL;
	free(in->small);
	in->small = NULL;
	in->digest = digest_free(in->digest);
}
