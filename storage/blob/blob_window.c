// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_window.h.
 *
 *	read ── not in the window: its offset is noted, -EAGAIN ──► fetch ──► begin, write …, commit
 *	  ▲                                                                       │
 *	  └────── the window is where the first of the noted offsets is ◄─────────┘
 *
 * Reading a file of n windows from its beginning to its end streams it n times: slow, but with
 * bounded memory and nothing shown that was not verified. What is noted is the smallest offset that
 * somebody waits for, so every fetch serves one reader at least.
 *
 * Threads: any; no call blocks or does I/O. A write belongs to one thread, and a slot to one write.
 */
#include "blob/blob_window.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS       3u
#define WINDOW_MIN  (2u << 20) /* two of the largest reads */
#define REFUSED_NS  (5 * NS_PER_S)
#define NOT_WANTED  UINT64_MAX
#define READ_AT_END ((ssize_t)0)

/* All guarded by mu; but the data of a slot that is being written belongs to the write. */
struct slot {
	struct oid oid; /* none: free */
	uint64_t size;
	uint64_t wanted;  /* the first offset that somebody waits for */
	uint64_t used_ns; /* read, or written */
	uint64_t refused_ns;
	bool writing, complete;
	uint64_t offset, done; /* done: bytes of the blob that have come */
	size_t len;
	uint8_t *data;
};

struct windows {
	struct lock mu; /* LOCK_RANK_BLOB_TIER */
	uint64_t window_bytes;
	struct slot slot[SLOTS];
	struct blob_counters counters;
};

static struct slot *find_locked(struct windows *w, const struct oid *oid)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (oid_equal(&w->slot[i].oid, oid))
			return &w->slot[i];
	return NULL;
}

static bool covers(const struct slot *s, uint64_t offset)
{
	return s->complete && offset >= s->offset && offset - s->offset < s->len;
}

static ssize_t read_locked(struct slot *s, void *buf, size_t len, uint64_t offset)
{
	if (offset >= s->size)
		return READ_AT_END;
	if (len > s->size - offset)
		len = (size_t)(s->size - offset);
	if (len == 0)
		return 0;
	if (!covers(s, offset) || !covers(s, offset + len - 1)) {
		if (offset < s->wanted)
			s->wanted = offset;
		return -EAGAIN;
	}
	memcpy(buf, s->data + (offset - s->offset), len);
	return (ssize_t)len;
}

static ssize_t window_read(void *impl, const struct oid *oid, void *buf, size_t len,
	uint64_t offset, struct blob_hit *ret_hit)
{
	struct windows *w = impl;
	struct slot *s;
	ssize_t n;

	LOCK_GUARD(&w->mu);
	s = find_locked(w, oid);
	if (!s)
		return -EAGAIN; /* the usual case: no miss of this tier */
	s->used_ns = clock_mono_ns(&clock_system);
	n = read_locked(s, buf, len, offset);
	counter_add(n < 0 ? w->counters.misses : w->counters.hits, 1);
	*ret_hit = (struct blob_hit){.size = s->size};
	return n;
}

/* Is there all that somebody waits for? */
static int window_settle(
	void *impl, const struct oid *oid, const struct cancel *cancel, uint64_t deadline_ns)
{
	struct windows *w = impl;
	const struct slot *s;

	(void)cancel;
	(void)deadline_ns;
	LOCK_GUARD(&w->mu);
	s = find_locked(w, oid);
	return s && s->wanted != NOT_WANTED && covers(s, s->wanted) ? 0 : -EAGAIN;
}

static void free_slot_locked(struct slot *s)
{
	free(s->data);
	*s = (struct slot){.wanted = NOT_WANTED};
}

/* The blob's own slot, else a free one, else the one that was not used for longest. */
static struct slot *slot_for_locked(struct windows *w, const struct oid *oid)
{
	struct slot *oldest = NULL, *s = find_locked(w, oid);

	if (s)
		return s->writing ? NULL : s;
	for (unsigned i = 0; i < SLOTS; i++) {
		s = &w->slot[i];
		if (!s->writing && (!oldest || s->used_ns < oldest->used_ns))
			oldest = s;
	}
	if (oldest && oldest->data)
		counter_add(w->counters.evictions, 1);
	if (oldest)
		free_slot_locked(oldest);
	return oldest;
}

static int window_begin(void *impl, const struct oid *oid, uint64_t size, void **ret_write)
{
	struct windows *w = impl;
	struct slot *s;

	LOCK_GUARD(&w->mu);
	s = slot_for_locked(w, oid);
	if (!s)
		return -ENOSPC; /* all are being written */
	free(s->data);          /* first: the budget is that of the slots */
	s->complete = false;
	s->offset = s->wanted < size ? s->wanted : 0;
	s->len = size - s->offset < w->window_bytes ? (size_t)(size - s->offset)
						    : (size_t)w->window_bytes;
	s->data = malloc(s->len ? s->len : 1);
	if (!s->data) {
		free_slot_locked(s);
		return -ENOMEM;
	}
	s->oid = *oid;
	s->size = size;
	s->done = 0;
	s->writing = true;
	s->used_ns = s->refused_ns = clock_mono_ns(&clock_system);
	*ret_write = s;
	return 0;
}

static int window_write(void *impl, void *write, const void *data, size_t len)
{
	struct slot *s = write;
	const uint8_t *p = data;
	uint64_t at = s->done, end = s->offset + s->len;

	(void)impl;
	s->done += len;
	if (s->done <= s->offset || at >= end)
		return 0;
	if (at < s->offset) {
		p += s->offset - at;
		at = s->offset;
	}
	memcpy(s->data + (at - s->offset), p, (size_t)((s->done < end ? s->done : end) - at));
	return 0;
}

static int window_commit(void *impl, void *write)
{
	struct windows *w = impl;
	struct slot *s = write;

	LOCK_GUARD(&w->mu);
	s->writing = false;
	s->complete = true;
	if (s->wanted != NOT_WANTED && covers(s, s->wanted))
		s->wanted = NOT_WANTED;
	s->used_ns = s->refused_ns = clock_mono_ns(&clock_system);
	return 0;
}

static void window_abort(void *impl, void *write)
{
	struct windows *w = impl;

	struct slot *s = write;

	LOCK_GUARD(&w->mu);
	free(s->data);
	s->data = NULL;
	s->writing = false; /* what is noted stays */
}

static void window_drop(void *impl, const struct oid *oid)
{
	struct windows *w = impl;
	struct slot *s;

	LOCK_GUARD(&w->mu);
	s = find_locked(w, oid);
	if (s && !s->writing)
		free_slot_locked(s);
}

static void window_stats(void *impl, struct blob_tier_stats *ret_stats)
{
	struct windows *w = impl;

	blob_counters_get(&w->counters, ret_stats);
	ret_stats->budget_bytes = SLOTS * w->window_bytes;
	LOCK_GUARD(&w->mu);
	for (unsigned i = 0; i < SLOTS; i++) {
		ret_stats->blobs += w->slot[i].data ? 1 : 0;
		ret_stats->bytes += w->slot[i].data ? w->slot[i].len : 0;
	}
}

static void window_close(void *impl)
{
	struct windows *w = impl;

	for (unsigned i = 0; i < SLOTS; i++)
		free(w->slot[i].data);
	lock_fini(&w->mu);
	free(w);
}

static const struct blob_tier_ops ops = {
	.name = "window",
	.close = window_close,
	.read = window_read,
	.settle = window_settle,
	.begin = window_begin,
	.write = window_write,
	.commit = window_commit,
	.abort = window_abort,
	.drop = window_drop,
	.stats = window_stats,
};

int blob_window_new(struct blob_tier *ret_tier, uint64_t window_bytes, struct metrics *metrics)
{
	struct windows *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	lock_init(&w->mu, LOCK_RANK_BLOB_TIER);
	w->window_bytes = window_bytes > WINDOW_MIN ? window_bytes : WINDOW_MIN;
	for (unsigned i = 0; i < SLOTS; i++)
		w->slot[i].wanted = NOT_WANTED;
	blob_counters_init(&w->counters, metrics, ops.name);
	*ret_tier = (struct blob_tier){.ops = &ops, .impl = w};
	return 0;
}

bool blob_window_refused(const struct blob_tier *tier, const struct oid *oid)
{
	struct windows *w = tier->impl;
	const struct slot *s;

	LOCK_GUARD(&w->mu);
	s = find_locked(w, oid);
	return s && clock_mono_ns(&clock_system) - s->refused_ns < REFUSED_NS;
}
