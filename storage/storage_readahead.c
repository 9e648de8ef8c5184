// SPDX-License-Identifier: Apache-2.0
/*
 * See storage/readahead.h. A run of misses in order makes a crawl:
 *
 *	random ──2 misses, each a little after the last──► crawling ──miss out of order──► random
 *
 * While crawling every miss starts a window, unless one is under way; a miss means that the reader
 * has come to the end of the last one, so the next is twice as large if most of it was read, and
 * smaller if not. A window is a storage_warm() from the entry on, then from the entry after its
 * directory in the one above, and so on up.
 *
 * A large file is asked for once more in the background, with a deadline of its own size: its
 * reader may give up before it has come, and finds it when it tries again.
 *
 * Threads: any may call; windows run on the pool "read-ahead" of the origin's lane, so an origin
 * that hangs holds up only its own. A window holds a reference, so that its workspace can go.
 */
#include "storage_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/pool.h"
#include "storage/readahead.h"
#include "storage/warm.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ORDER_GAP         16 /* files that a crawl may skip, such as those that are local */
#define ORDER_GAP_DIRS    4
#define CRAWL_AFTER       2
#define WINDOW_FIRST      64 /* blobs */
#define WINDOW_MIN        16
#define WINDOW_MAX        2048
#define WINDOW_BYTES_BLOB (64u << 10) /* a window's bytes, for each of its blobs */
#define WINDOW_BYTES_MAX  (64u << 20)
#define WINDOW_LIMIT_NS   (30 * NS_PER_S)
#define LARGE_BYTES       (64u << 20)
#define LARGE_LIMIT_NS    (600 * NS_PER_S)

struct readahead {
	struct storage *st;
	struct origin *origin;
	unsigned tenant;
	struct cancel *cancel;
	struct counter reads;
	struct lock mu; /* LOCK_RANK_LEAF */
	unsigned refs;  /* all below guarded by mu */
	struct readahead_place
		last[READAHEAD_DEPTH]; /* the last miss that began or ended a window */
	unsigned last_count;
	unsigned covered;      /* levels of `last` that a window has passed over, and how far the */
	uint32_t reached;      /* last of them */
	unsigned in_order;     /* misses */
	unsigned window;       /* blobs of the next one */
	uint64_t window_reads; /* `reads` when the last one began */
	bool running;
};

struct window {
	struct readahead *ra; /* a reference */
	uint64_t blobs_left, bytes_left;
	unsigned count;
	struct readahead_place place[READAHEAD_DEPTH];
};

struct readahead *readahead_new(struct storage *st, struct origin *o, unsigned tenant)
{
	struct readahead *ra = calloc(1, sizeof(*ra));

	if (!ra)
		return NULL;
	ra->cancel = cancel_new();
	if (!ra->cancel)
		return free(ra), NULL;
	ra->st = st;
	ra->origin = origin_ref(o);
	ra->tenant = tenant;
	ra->refs = 1;
	ra->window = WINDOW_FIRST;
	lock_init(&ra->mu, LOCK_RANK_LEAF);
	return ra;
}

static void unref(struct readahead *ra)
{
	bool last;

	lock_acquire(&ra->mu);
	last = --ra->refs == 0;
	lock_release(&ra->mu);
	if (!last)
		return;
	cancel_unref(ra->cancel);
	origin_unref(ra->origin);
	lock_fini(&ra->mu);
	free(ra);
}

struct readahead *readahead_free(struct readahead *ra)
{
	if (ra) {
		cancel_fire(ra->cancel);
		unref(ra);
	}
	return NULL;
}

/* ---- a window ---- */

/* True: there is room for more. */
static bool warm_after(
	struct window *win, const struct readahead_place *place, uint32_t *ret_reached)
{
	struct readahead *ra = win->ra;
	const struct warm_plan plan = {
		.origin = ra->origin,
		.tenant = ra->tenant,
		.root = place->dir,
		.first = place->idx + 1,
		.depth = UINT_MAX,
		.contents = true,
		.hurry = true,
		.blobs_max = win->blobs_left,
		.bytes_max = win->bytes_left,
	};
	struct warm_progress done;
	int r = storage_warm(
		ra->st, &plan, ra->cancel, clock_after(&clock_system, WINDOW_LIMIT_NS), &done);

	*ret_reached = done.reached > place->idx ? done.reached : place->idx;
	if (r < 0 || done.stopped || done.blobs >= win->blobs_left || done.bytes >= win->bytes_left)
		return false;
	win->blobs_left -= done.blobs;
	win->bytes_left -= done.bytes;
	return true;
}

static void run_window(void *arg)
{
	struct window *win = arg;
	struct readahead *ra = win->ra;
	unsigned level = 0;
	uint32_t reached = 0;

	while (warm_after(win, &win->place[level], &reached) && level + 1 < win->count)
		level++;
	lock_acquire(&ra->mu);
	ra->running = false;
	ra->covered = level + 1;
	ra->reached = reached;
	lock_release(&ra->mu);
	unref(ra);
	free(win);
}

static void start_window(struct readahead *ra, const struct window *template)
{
	struct window *win = malloc(sizeof(*win));

	if (win) {
		*win = *template;
		if (pool_submit(lane_readahead(ra->st, ra->origin), run_window, win, false) == 0)
			return;
		free(win);
	}
	lock_acquire(&ra->mu);
	ra->running = false; /* it is only a help */
	lock_release(&ra->mu);
	unref(ra);
}

/* ---- misses ---- */

/* Which level of `last` is a directory of `places`, and where in it. The deepest one. */
static bool common_locked(const struct readahead *ra, const struct readahead_place *places,
	unsigned count, unsigned *ret_level, unsigned *ret_at)
{
	for (unsigned level = 0; level < ra->last_count; level++)
		for (unsigned at = 0; at < count; at++)
			if (oid_equal(&ra->last[level].dir, &places[at].dir)) {
				*ret_level = level;
				*ret_at = at;
				return true;
			}
	return false;
}

/* Does it come soon after the last one, or after what the last window has covered? */
static bool in_order_locked(
	const struct readahead *ra, const struct readahead_place *places, unsigned count)
{
	unsigned level, at;
	uint32_t last, idx, gap;

	if (!ra->last_count)
		return true;
	if (!common_locked(ra, places, count, &level, &at))
		return false;
	last = ra->last[level].idx;
	idx = places[at].idx;
	gap = at ? ORDER_GAP_DIRS : ORDER_GAP;
	if (level < ra->covered)
		return idx >= last &&
		       (level + 1 < ra->covered || idx <= ra->reached || idx - ra->reached <= gap);
	if (idx < last || idx - last > gap)
		return false;
	while (at--) /* another directory: at its beginning */
		if (places[at].idx > ORDER_GAP)
			return false;
	return true;
}

static bool same_locked(const struct readahead *ra, const struct readahead_place *place)
{
	return ra->last_count && ra->last[0].idx == place->idx &&
	       oid_equal(&ra->last[0].dir, &place->dir);
}

/* True: a window is to be started. */
static bool note_miss_locked(
	struct readahead *ra, const struct readahead_place *places, unsigned count)
{
	if (ra->running || same_locked(ra, &places[0]))
		return false;
	if (!in_order_locked(ra, places, count)) {
		ra->in_order = 0;
		ra->window = WINDOW_FIRST;
	} else if (++ra->in_order == CRAWL_AFTER) {
		counter_add(ra->st->crawls, 1);
	}
	memcpy(ra->last, places, count * sizeof(*places));
	ra->last_count = count;
	ra->covered = 0;
	return ra->in_order >= CRAWL_AFTER;
}

void readahead_read(struct readahead *ra)
{
	counter_add(&ra->reads, 1);
}

/* Twice as large as the last, if most of that was read since; a quarter, if not. */
static void size_window_locked(struct readahead *ra)
{
	uint64_t reads = counter_get(&ra->reads), since = reads - ra->window_reads;

	if (ra->in_order > CRAWL_AFTER) {
		if (since >= ra->window / 2 && ra->window < WINDOW_MAX)
			ra->window *= 2;
		else if (since < ra->window / 2 && ra->window > WINDOW_MIN)
			ra->window /= 4;
	}
	ra->window_reads = reads;
}

static void begin_window_locked(struct readahead *ra, struct window *win)
{
	size_window_locked(ra);
	ra->running = true;
	ra->refs++;
	win->blobs_left = ra->window;
	win->bytes_left = (uint64_t)ra->window * WINDOW_BYTES_BLOB;
	if (win->bytes_left > WINDOW_BYTES_MAX)
		win->bytes_left = WINDOW_BYTES_MAX;
}

static void nothing(void *arg, int result)
{
	(void)arg;
	(void)result; /* the reader's own request tells the reader */
}

static void ask_for_large(struct readahead *ra, const struct readahead_place *place)
{
	const struct storage_ask ask = {.origin = ra->origin,
		.tenant = ra->tenant,
		.background = true,
		.deadline_ns = clock_after(&clock_system, LARGE_LIMIT_NS),
		.fn = nothing};
	bool lfs = origin_caps(ra->origin) & ORIGIN_CAP_LFS;
	struct oid blob, key = storage_tree_key(&place->dir, lfs);
	struct tree_entry entry = {0};
	struct tree_view view;

	if (tree_view_begin(ra->st->index, &key, &view) < 0)
		return;
	if (place->idx < view.count)
		tree_view_entry(&view, place->idx, &entry);
	if (entry.oid)
		blob = oid_from_bytes(entry.oid, view.oid_len);
	if (entry.oid)
		blob = storage_blob_key(ra->st, &blob, lfs);
	tree_view_end(&view);
	if (entry.oid && entry.size_known && entry.size >= LARGE_BYTES)
		(void)storage_ask(ra->st, STORAGE_BLOB, &blob, &ask);
}

void readahead_missed(struct readahead *ra, const struct readahead_place *places, unsigned count)
{
	struct window win = {.ra = ra, .count = count};
	bool start;

	ask_for_large(ra, &places[0]);
	memcpy(win.place, places, count * sizeof(*places));
	lock_acquire(&ra->mu);
	start = note_miss_locked(ra, places, count);
	if (start)
		begin_window_locked(ra, &win);
	lock_release(&ra->mu);
	if (start)
		start_window(ra, &win);
}
