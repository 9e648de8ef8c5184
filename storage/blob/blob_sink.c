/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that every arrival goes through: it hashes while it streams, keeps a small blob in a
 * buffer and lets a large one flow into the disk tier, so memory is bounded by the small limit
 * whatever the blob's size. Nothing can be read before the hash was compared in blob_intake_commit.
 * The producer is not trusted: more or fewer bytes than announced, writes before begin, or a second
 * begin are refused, and a refusal sticks even if the producer ignores it.
 *
 * One thread owns an intake.
 */
#include "blob/blob_internal.h"

#include <errno.h>
#include <stdlib.h>

static int fail(struct blob_intake *in, int r)
{
	if (r < 0 && in->error == 0)
		in->error = r;
	return r;
}

static int large_said(struct blob_intake *in, int r)
{
	if (r < 0) {
		blob_disk_said(in->bs, in->size, r);
		in->refused = in->refused || blob_disk_refuses(r);
	}
	return r;
}

static int begin_storing(struct blob_intake *in)
{
	const struct blob_tier *large = blob_large_tier(in->bs);
	int r = in->spill ? -ENOSPC : -EFBIG;

	if (in->size > in->bs->small_max && large && !in->spill) {
		r = large->ops->begin(large->impl, in->oid, in->size, &in->write);
		blob_disk_said(in->bs, in->size, r);
		if (r == 0 || !blob_disk_refuses(r))
			return r;
	}
	in->spill = in->size > in->bs->small_max;
	if (in->spill && in->size > in->bs->spill_max)
		return r;
	in->small = malloc(in->size ? in->size : 1);
	return in->small ? 0 : -ENOMEM;
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
	const struct blob_tier *large = blob_large_tier(in->bs);
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
		r = large_said(in, large->ops->write(large->impl, in->write, data, len));
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

int blob_intake_commit(struct blob_intake *in)
{
	const struct blob_tier *large = blob_large_tier(in->bs);
	int r;

	r = verify(in);
	if (r == 0 && in->small && in->spill) {
		r = in->bs->spill->ops->put(in->bs->spill->impl, in->oid, in->small, in->size);
	} else if (r == 0 && in->small) {
		r = blob_keep_small(in->bs, in->oid, in->small, in->size, in->share);
	} else if (r == 0) {
		r = large_said(in, large->ops->commit(large->impl, in->write));
		in->write = NULL;
		if (r == 0)
			blob_disk_said(in->bs, in->size, 0);
		if (r == 0 && in->share)
			blob_share_large(in->bs, in->oid, in->size);
	}
	if (r == 0)
		counter_add(in->bs->fetched_bytes, in->size);
	blob_intake_abort(in);
	return r;
}

void blob_intake_abort(struct blob_intake *in)
{
	const struct blob_tier *large = blob_large_tier(in->bs);

	if (in->write)
		large->ops->abort(large->impl, in->write);
	in->write = NULL;
	free(in->small);
	in->small = NULL;
	in->digest = digest_free(in->digest);
}
