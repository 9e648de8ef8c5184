/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tier of the blob store implements. Callers of the store use blob.h; blob.c walks the tiers
 * around these hooks.
 *
 * A tier is local or remote. A local one (memory, disk) answers `read` and `has` at once and never
 * waits for a network; a remote one (Redis) has `load` instead, which streams into a sink like a
 * source does and is asked on fetch threads only, before the source. A hook that a tier does not
 * have is NULL.
 *
 * The contract that all share:
 *  - What a tier is given by put or commit has been verified by the store: it keeps bytes, it need
 * not hash them.
 *  - What a tier gives back is either exactly what it was given, or an error: it checks what it
 * keeps where that can rot, and drops what is damaged before it answers -EIO. What comes from
 * `load` is verified by the store again.
 *  - Losing a blob at any time is allowed unless it is pinned; -EAGAIN says "not here". Never
 * -ENOENT: a tier does not know what exists.
 *  - Storing what is there already is success and changes nothing.
 *  - Any thread may call any hook at any time, the same oid included. A write (begin … commit or
 * abort) belongs to one thread.
 *  - The budget holds at all times; a tier makes room itself, or answers -ENOSPC.
 */
#pragma once
#include "storage/blob.h"

struct cancel;

struct blob_hit {
	uint64_t size; /* of the whole blob */
	bool again;    /* read before since it came in: worth a place in a faster tier */
};

typedef void (*blob_loaded)(
	void *arg, unsigned idx, const void *data, size_t len); /* oids[idx]; not verified */

struct blob_tier_ops {
	const char *name; /* "memory", "disk"; a label of metrics */
	/* Tiers with threads: end them. Nothing is counted, and no other tier is used, after. */
	void (*stop)(void *impl);
	void (*close)(void *impl);

	/* Local tiers. read: bytes of `buf` filled (short only at the end of the blob), -EAGAIN,
	 * -EIO (dropped). No allocation. */
	ssize_t (*read)(void *impl, const struct oid *oid, void *buf, size_t len, uint64_t offset,
		struct blob_hit *ret_hit);
	bool (*has)(void *impl,
		const struct oid *oid); /* `read` would succeed; counts no hit or miss */
	/* What is there but not proven yet (after a crash) is proven now; may block on the disk. 0:
	 * `read` will succeed; -EAGAIN. */
	int (*settle)(void *impl, const struct oid *oid, const struct cancel *cancel,
		uint64_t deadline_ns);
	/* See blob_pin(); the tier owns pin->handle. */
	int (*pin)(void *impl, const struct oid *oid, struct blob_pin *ret_pin);
	void (*unpin)(void *impl, struct blob_pin *pin);

	/* Remote tiers. One call of the sink's begin and its writes, then 0; or -EAGAIN, or any
	 * failure: the store goes on without. */
	int (*load)(void *impl, const struct oid *oid, struct blob_sink *sink,
		const struct cancel *cancel, uint64_t deadline_ns);
	/* Many at once: `fn` for each that is there, with all its bytes, in any order, on this
	 * thread; or without (`data` NULL) if it is too large for one value: `load` has it. */
	void (*load_many)(void *impl, const struct oid *oids, unsigned count, blob_loaded fn,
		void *arg, const struct cancel *cancel, uint64_t deadline_ns);
	/* The tier was asked and does not have it: is it for us to ask the source? One process of
	 * all that share the tier is told yes at a time. 0: yes, and `release` must follow, if
	 * *ret_claim is not NULL; 1: no, someone has stored it meanwhile, load again. Waits for
	 * another process' fetch for a bounded time. -ECANCELED, -ETIMEDOUT. */
	int (*claim)(void *impl, const struct oid *oid, const struct cancel *cancel,
		uint64_t deadline_ns, void **ret_claim);
	/* The same for many at once, without waiting: ret_ours[i] is false if another process
	 * fetches oids[i] now, or has stored it. `release` must follow for each ret_claims[i] that
	 * is not NULL. */
	void (*claim_many)(void *impl, const struct oid *oids, unsigned count, void **ret_claims,
		bool *ret_ours);
	/* The fetch is over; what it brought was given to put or share before. Never waits. */
	void (*release)(void *impl, void *claim);
	/* A large blob came from a source and is local now: the tier may read it from the store at
	 * its leisure. Never waits. A small one is given to `put`, which a remote tier copies and
	 * queues. */
	void (*share)(void *impl, struct blob_store *bs, const struct oid *oid, uint64_t size);

	/* Storing a blob that is whole in memory. -ENOSPC, -EFBIG (more than the tier takes). */
	int (*put)(void *impl, const struct oid *oid, const void *data, size_t len);
	/* Storing in pieces, for large ones. Nobody can read it before commit returns 0. commit and
	 * abort both end the write. */
	int (*begin)(void *impl, const struct oid *oid, uint64_t size, void **ret_write);
	int (*write)(void *impl, void *write, const void *data, size_t len);
	int (*commit)(void *impl, void *write);
	void (*abort)(void *impl, void *write);

	/* Forget a blob: it was found to be wrong. What holds it pinned keeps its bytes. */
	void (*drop)(void *impl, const struct oid *oid);
	/* Make room for `want_bytes`, coldest first, pins respected. Bytes freed through ret. */
	int (*evict)(void *impl, uint64_t want_bytes, uint64_t *ret_freed);
	void (*stats)(void *impl, struct blob_tier_stats *ret_stats); /* all but the name */
};

struct blob_tier {
	const struct blob_tier_ops *ops;
	void *impl; /* owned by the store once added */
};

/* Add a tier behind those that are there, in the order of asking; before any other thread uses the
 * store. -ENOSPC: too many. */
int blob_store_add_tier(struct blob_store *bs, const struct blob_tier *tier);
