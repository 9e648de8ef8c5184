/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An origin that misbehaves on order: it wraps a real one and delays, fails, hangs or corrupts its
 * answers by a plan that the test changes at any time (every field is atomic). Calls go through the
 * public functions of the wrapped origin.
 */
#include "storage/origin_impl.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

struct fault {
	struct origin *inner;
	struct origin_fault_plan *plan;
	struct origin_ops ops; /* like the inner's type, with our hooks */
};

/* Waits as the plan says, and answers the error it wants; 0: ask the real one. */
static int fault_before(
	struct fault *f, _Atomic int *error, const struct cancel *cancel, uint64_t deadline_ns)
{
	struct cancel *token = (struct cancel *)cancel; /* to sleep on; it guards itself */
	uint64_t delay_ns = f->plan->delay_ns, until_ns;
	int r;

	f->plan->calls++;
	if (f->plan->hang)
		return cancel_sleep_until(token, deadline_ns);
	if (delay_ns) {
		until_ns = clock_after(&clock_system, delay_ns);
		r = cancel_sleep_until(token, until_ns < deadline_ns ? until_ns : deadline_ns);
		if (r == -ECANCELED || deadline_ns <= until_ns)
			return r;
	}
	return *error;
}

static int fault_resolve(void *impl, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret, struct err *e)
{
	struct fault *f = impl;
	int r = fault_before(f, &f->plan->resolve_error, NULL, deadline_ns);

	if (r < 0)
		return err_set(
			e, r, NULL, "origin %s: this failure was ordered", origin_name(f->inner));
	return origin_resolve(f->inner, revision, deadline_ns, ret, e);
}

static int fault_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fault *f = impl;
	int r = fault_before(f, &f->plan->tree_error, cancel, deadline_ns);

	return r < 0 ? r : origin_read_tree(f->inner, tree, builder, cancel, deadline_ns);
}

/* The plan's blob_error, but never corrupt: nothing is delivered here. */
static int fault_prepare_blobs(void *impl, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fault *f = impl;
	int r = fault_before(f, &f->plan->blob_error, cancel, deadline_ns);

	return r < 0 ? r : origin_prepare_blobs(f->inner, blobs, count, cancel, deadline_ns);
}

/* Passes bytes on, the first one flipped. An empty blob gets a byte that it has not announced. */
struct flipping_sink {
	struct blob_sink sink; /* first: the sink is this */
	struct blob_sink *to;
	bool flipped;
};

static int flip_begin(struct blob_sink *s, uint64_t size)
{
	struct flipping_sink *flip = (struct flipping_sink *)s;
	int r = flip->to->begin(flip->to, size);

	return r == 0 && size == 0 ? flip->to->write(flip->to, "!", 1) : r;
}

static int flip_write(struct blob_sink *s, const void *data, size_t len)
{
	struct flipping_sink *flip = (struct flipping_sink *)s;
	uint8_t first;
	int r;

	if (flip->flipped || len == 0)
		return flip->to->write(flip->to, data, len);
	flip->flipped = true;
	first = *(const uint8_t *)data ^ 1;
	r = flip->to->write(flip->to, &first, 1);
	return r < 0 ? r : flip->to->write(flip->to, (const uint8_t *)data + 1, len - 1);
}

static int fault_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fault *f = impl;
	struct flipping_sink flip = {
		.sink = {.begin = flip_begin, .write = flip_write}, .to = sink};
	struct blob_source inner = origin_blob_source(f->inner);
	int r = fault_before(f, &f->plan->blob_error, cancel, deadline_ns);

	if (r < 0)
		return r;
	return inner.produce(
		inner.arg, blob, f->plan->corrupt ? &flip.sink : sink, cancel, deadline_ns);
}

static void fault_close(void *impl)
{
	struct fault *f = impl;

	(void)origin_unref(f->inner);
	free(f);
}

int origin_wrap_fault(
	struct origin **ret_origin, struct origin *inner, struct origin_fault_plan *plan)
{
	const struct origin_config config = {
		.name = origin_name(inner), .type = "fault", .url = origin_url(inner)};
	struct fault *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = (struct fault){
		.inner = origin_ref(inner),
		.plan = plan,
		.ops =
			{
				.type = "fault",
				.caps = origin_caps(inner),
				.close = fault_close,
				.resolve = fault_resolve,
				.read_tree = fault_read_tree,
				.read_blob = fault_read_blob,
				.prepare_blobs = fault_prepare_blobs,
			},
	};
	r = origin_new(ret_origin, &f->ops, f, &config);
	if (r < 0)
		fault_close(f);
	return r;
}
