/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a blob local, once for all who ask (single-flight).
 *
 * The first to ask for an oid leads: it looks at the local tiers again, then asks remote tiers,
 *then the source, all without a lock. The others wait on the flight, each with its own deadline and
 *cancellation. A leader that gave up because of its own deadline or cancellation says nothing about
 *the blob, so one of the waiters takes over instead of failing too.
 *
 *	absent ──first──► leading ──result──► done (out of the table; freed by the last who holds
 *it) ▲ join: waiting ──leader gave up──► ask again
 *
 * Threads: any that may block. The table's memory is bounded by the callers: an entry exists while
 *one of them is inside.
 */
#include "base/cancel.h"
#include "base/clock.h"
#include "blob/blob_internal.h"

#include <errno.h>
#include <stdlib.h>

/* How long a call may wait. */
struct blob_need {
	const struct cancel *cancel;
	uint64_t deadline_ns;
};

/* All guarded by flight_lock, but what is const. */
struct flight {
	struct blob_store *bs; /* const */
	struct oid oid;        /* const */
	struct list bucket;    /* in no list once done */
	struct cond changed;
	unsigned holders;
	bool done;
	int result;
};

static struct list *bucket_of(struct blob_store *bs, const struct oid *oid)
{
	return &bs->flight[blob_hash(&bs->hash_key, oid->bytes) % BLOB_FLIGHT_BUCKETS];
}

static struct flight *find_locked(struct blob_store *bs, const struct oid *oid)
{
	list_for_each (it, bucket_of(bs, oid)) {
		struct flight *f = list_entry(it, struct flight, bucket);

		if (oid_equal(&f->oid, oid))
			return f;
	}
	return NULL;
}

/* Join the flight of `oid`, or start one; *ret_leads tells which. */
static int flight_hold(
	struct blob_store *bs, const struct oid *oid, struct flight **ret_flight, bool *ret_leads)
{
	struct flight *f;

	LOCK_GUARD(&bs->flight_lock);
	f = find_locked(bs, oid);
	*ret_leads = !f;
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->bs = bs;
		f->oid = *oid;
		cond_init(&f->changed);
		list_push_back(bucket_of(bs, oid), &f->bucket);
	}
	f->holders++;
	*ret_flight = f;
	return 0;
}

static void flight_put(struct flight *f)
{
	struct blob_store *bs = f->bs;
	bool last;

	lock_acquire(&bs->flight_lock);
	last = --f->holders == 0;
	lock_release(&bs->flight_lock);
	if (last) {
		cond_fini(&f->changed);
		free(f);
	}
}

static void flight_finish(struct flight *f, int result)
{
	LOCK_GUARD(&f->bs->flight_lock);
	f->done = true;
	f->result = result;
	list_remove(&f->bucket);
	cond_broadcast(&f->changed);
}

/* On the cancelling thread: wake the waiters, who look at their own tokens. */
static void flight_wake(void *arg)
{
	struct flight *f = arg;

	LOCK_GUARD(&f->bs->flight_lock);
	cond_broadcast(&f->changed);
}

/* The leader's result; -ECANCELED or -ETIMEDOUT, with *ret_own, are those of the caller itself. */
static int flight_wait(
	struct flight *f, const struct cancel *cancel, uint64_t deadline_ns, bool *ret_own)
{
	int r;

	LOCK_GUARD(&f->bs->flight_lock);
	for (;;) {
		*ret_own = false;
		if (f->done)
			return f->result;
		*ret_own = true;
		r = cancel_check(cancel, deadline_ns);
		if (r < 0)
			return r;
		(void)cond_wait_until(&f->changed, &f->bs->flight_lock, deadline_ns);
	}
}

static int join(struct flight *f, const struct cancel *cancel, uint64_t deadline_ns, bool *ret_own)
{
	/* The token guards itself; const says only that a fetch does not fire it. */
	struct cancel *token = (struct cancel *)cancel;
	int handle = 0, r;

	counter_add(f->bs->joined, 1);
	if (token) {
		handle = cancel_on(token, flight_wake, f);
		*ret_own = true;
		if (handle < 0)
			return handle;
	}
	r = flight_wait(f, cancel, deadline_ns, ret_own);
	if (handle > 0)
		(void)cancel_off(token, handle);
	return r;
}

/* Remote tiers never fail a fetch: whatever they say, the source can still answer. */
static int fetch_from_tiers(struct blob_store *bs, const struct oid *oid,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];
		struct blob_intake in;

		if (!t->ops->load)
			continue;
		blob_intake_init(&in, bs, oid);
		if (t->ops->load(t->impl, oid, &in.sink, cancel, deadline_ns) == 0) {
			if (blob_intake_commit(&in) == 0)
				return 0;
			if (t->ops->drop)
				t->ops->drop(t->impl, oid);
		} else {
			blob_intake_abort(&in);
		}
	}
	return -EAGAIN;
}

/* *ret_refused: the disk took it at first, and then did not. */
static int fetch_once(struct blob_store *bs, const struct oid *oid,
	const struct blob_source *source, const struct blob_need *need, bool *ret_refused)
{
	struct blob_intake in;
	int r;

	counter_add(bs->fetches, 1);
	blob_intake_init(&in, bs, oid);
	in.share = true;
	in.no_disk = *ret_refused;
	r = source->produce(source->arg, oid, &in.sink, need->cancel, need->deadline_ns);
	if (r == 0) {
		r = blob_intake_commit(&in);
	} else {
		if (in.error)
			r = in.error; /* it stopped because of us: full disk, no memory */
		blob_intake_abort(&in);
	}
	*ret_refused = in.refused;
	return r;
}

static int fetch_from_source(struct blob_store *bs, const struct oid *oid,
	const struct blob_source *source, const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct blob_need need = {cancel, deadline_ns};
	bool refused = false;
	int r = fetch_once(bs, oid, source, &need, &refused);

	return refused ? fetch_once(bs, oid, source, &need, &refused) : r;
}

/* The tier that knows who else is fetching, if there is one. */
static const struct blob_tier *claiming_tier(const struct blob_store *bs)
{
	for (unsigned i = 0; i < bs->tier_count; i++)
		if (bs->tier[i].ops->claim)
			return &bs->tier[i];
	return NULL;
}

/* The source, asked by one of all processes that share a tier. */
static int fetch_for_all(struct blob_store *bs, const struct oid *oid,
	const struct blob_source *source, const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct blob_tier *t = source->cheap || source->here ? NULL : claiming_tier(bs);
	void *claim = NULL;
	int r = 0;

	/* what was stored may be gone or wrong when we look: not for ever */
	for (unsigned attempt = 0; t && attempt < 3; attempt++) {
		r = t->ops->claim(t->impl, oid, cancel, deadline_ns, &claim);
		if (r <= 0)
			break;
		r = fetch_from_tiers(bs, oid, cancel, deadline_ns);
		if (r != -EAGAIN)
			return r;
		r = 0;
	}
	if (r == 0)
		r = fetch_from_source(bs, oid, source, cancel, deadline_ns);
	if (claim)
		t->ops->release(t->impl, claim);
	return r;
}

static int lead(struct blob_store *bs, const struct oid *oid, const struct blob_source *source,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	int r;

	r = blob_settle(bs, oid, cancel, deadline_ns);
	if (r == -EAGAIN)
		r = cancel_check(cancel, deadline_ns);
	else
		return r;
	if (r == 0)
		r = source->here ? -EAGAIN : fetch_from_tiers(bs, oid, cancel, deadline_ns);
	if (r == -EAGAIN)
		r = fetch_for_all(bs, oid, source, cancel, deadline_ns);
	if (r < 0)
		counter_add(bs->failed, 1);
	return r;
}

int blob_fetch(struct blob_store *bs, const struct oid *oid, const struct blob_source *source,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	enum digest_kind kind;
	int r;

	r = digest_kind_of(oid, &kind);
	while (r == 0) {
		struct flight *f;
		bool leads, own = true;

		r = flight_hold(bs, oid, &f, &leads);
		if (r < 0)
			break;
		if (leads) {
			r = lead(bs, oid, source, cancel, deadline_ns);
			flight_finish(f, r);
		} else {
			r = join(f, cancel, deadline_ns, &own);
		}
		flight_put(f);
		if (own || (r != -ECANCELED && r != -ETIMEDOUT))
			break;
		r = cancel_check(cancel, deadline_ns); /* the leader gave up for its own reasons */
	}
	return r;
}

int blob_put(struct blob_store *bs, const struct oid *oid, const void *data, size_t len)
{
	struct blob_intake in;
	int r;

	if (blob_is_local(bs, oid))
		return 0;
	blob_intake_init(&in, bs, oid);
	in.share = in.whole = true;
	r = in.sink.begin(&in.sink, len);
	if (r == 0)
		r = in.sink.write(&in.sink, data, len);
	if (r == 0)
		return blob_intake_commit(&in);
	blob_intake_abort(&in);
	return r;
}

/* Of those that are too large for one value, so many of one call: they come one after the other. */
#define SHARED_LARGE_MAX 8u

struct shared_load {
	struct blob_store *bs;
	const struct oid *oids;
	const struct blob_tier *tier;
	unsigned large[SHARED_LARGE_MAX], large_count;
};

/* One of many that a remote tier has: through the same intake as everything that arrives. */
static void take_shared(void *arg, unsigned idx, const void *data, size_t len)
{
	struct shared_load *load = arg;
	const struct oid *oid = &load->oids[idx];
	struct blob_intake in;

	if (!data) {
		if (load->large_count < SHARED_LARGE_MAX)
			load->large[load->large_count++] = idx;
		return;
	}
	blob_intake_init(&in, load->bs, oid);
	if (in.sink.begin(&in.sink, len) < 0 || in.sink.write(&in.sink, data, len) < 0)
		blob_intake_abort(&in);
	else if (blob_intake_commit(&in) == -EBADMSG && load->tier->ops->drop)
		load->tier->ops->drop(load->tier->impl, oid);
}

/* One that a remote tier has, if nobody fetches it now. What is not had says nothing to those who
 * join meanwhile: one of them asks the source. */
static void load_alone(struct blob_store *bs, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	struct flight *f;
	bool leads;
	int r;

	if (flight_hold(bs, oid, &f, &leads) < 0)
		return; /* no memory: it is missing as before */
	if (leads) {
		r = blob_settle(bs, oid, cancel, deadline_ns);
		if (r == -EAGAIN)
			r = fetch_from_tiers(bs, oid, cancel, deadline_ns);
		flight_finish(f, r == 0 ? 0 : -ECANCELED);
	}
	flight_put(f);
}

static unsigned count_local(struct blob_store *bs, const struct oid *oids, unsigned count)
{
	unsigned local = 0;

	for (unsigned i = 0; i < count; i++)
		local += blob_is_local(bs, &oids[i]) ? 1 : 0;
	return local;
}

unsigned blob_fetch_shared(struct blob_store *bs, const struct oid *oids, unsigned count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct oid *missing = reallocarray(NULL, count ? count : 1, sizeof(*missing));
	unsigned n = 0;

	for (unsigned i = 0; missing && i < count; i++)
		if (!blob_is_local(bs, &oids[i]))
			missing[n++] = oids[i];
	for (unsigned i = 0; missing && n && i < bs->tier_count; i++) {
		struct shared_load load = {.bs = bs, .oids = missing, .tier = &bs->tier[i]};

		if (load.tier->ops->load_many)
			load.tier->ops->load_many(load.tier->impl, missing, n, take_shared, &load,
				cancel, deadline_ns);
		for (unsigned k = 0; k < load.large_count; k++)
			load_alone(bs, &missing[load.large[k]], cancel, deadline_ns);
	}
	free(missing);
	return count_local(bs, oids, count);
}

struct blob_claims {
	unsigned count;
	void *claim[];
};

static bool has_any(const struct blob_claims *claims)
{
	for (unsigned i = 0; claims && i < claims->count; i++)
		if (claims->claim[i])
			return true;
	return false;
}

void blob_claim_many(struct blob_store *bs, const struct oid *oids, unsigned count, bool *ret_ours,
	struct blob_claims **ret_claims)
{
	const struct blob_tier *t = claiming_tier(bs);
	struct blob_claims *claims = NULL;

	for (unsigned i = 0; i < count; i++)
		ret_ours[i] = true;
	if (t && t->ops->claim_many)
		claims = calloc(1, sizeof(*claims) + count * sizeof(claims->claim[0]));
	if (claims) {
		claims->count = count;
		t->ops->claim_many(t->impl, oids, count, claims->claim, ret_ours);
	}
	*ret_claims = has_any(claims) ? claims : blob_claims_release(bs, claims);
}

struct blob_claims *blob_claims_release(struct blob_store *bs, struct blob_claims *claims)
{
	const struct blob_tier *t = claiming_tier(bs);

	for (unsigned i = 0; claims && i < claims->count; i++)
		if (claims->claim[i])
			t->ops->release(t->impl, claims->claim[i]);
	free(claims);
	return NULL;
}
