// SPDX-License-Identifier: Apache-2.0
/*
 * See storage/readahead.h. A run of misses in order makes a crawl:
 *
 *	random ──2 misses, each a little after the last──► crawling ──miss out of order──► random
 *
 * While crawling every miss starts a window, unless one is under way; a miss means that the reader
 * has come to the end of the last one, so the next is twice as large if most of it was read, and
 * smaller if not. A window is a storage_warm() from the entry on, then from the entry after its
 * directory in the one above, and so on up. A few of the contents in its second half are marked:
 * when the reader comes to one of them, the next window begins where this one ended.
 *
 * A directory that is missed counts like a content, if contents are read between: it may bring them
 * along (storage_shared.c), so that they are never missed themselves.
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
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ORDER_GAP         16 /* files that a crawl may skip, such as those that are local */
#define ORDER_GAP_DIRS    4
#define CRAWL_AFTER       2
#define WINDOW_FIRST      64 /* blobs */
#define WINDOW_MIN        16
#define WINDOW_MAX        2048
#define WINDOW_BYTES_BLOB (64u << 10) /* a window's bytes, for each of its blobs */
#define WINDOW_BYTES_MAX  (64u << 20)
#define WINDOW_BLOBS_DIR  16u /* a window's blobs, for each directory that it may ask for */
#define WINDOW_LIMIT_NS   (30 * NS_PER_S)
#define MARKS             4u
#define MARKS_WINDOW      8u /* so many would fit into a window: those that stay are its second half */
#define LARGE_BYTES       (64u << 20)
#define LARGE_LIMIT_NS    (600 * NS_PER_S)

struct readahead {
	struct storage *st;
	struct origin *origin;
	unsigned tenant;
	struct cancel *cancel;
	struct counter reads;
	/* Hashes of contents, 0: none. Relaxed: one that is seen late costs a wait. */
	_Atomic uint64_t mark[MARKS];
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
	uint64_t missed_reads; /* … at the last miss */
	struct warm_rest rest; /* where the last one ended */
	bool running;
	bool passed; /* a mark of the one that runs */
};

struct window {
	struct readahead *ra; /* a reference */
	uint64_t blobs_left, bytes_left, dirs_left;
	unsigned marks_every, seen;
	struct warm_rest from, rest; /* begins at; ended at */
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

static void start_window(struct readahead *ra, const struct window *template);

static void note_passed(void *arg, const struct oid *blob)
{
	struct window *win = arg;

	if (++win->seen % win->marks_every == 0)
		atomic_store_explicit(&win->ra->mark[win->seen / win->marks_every % MARKS],
			oid_hash(blob), memory_order_relaxed);
}

/* True: there is room for more. */
static bool warm_after(
	struct window *win, const struct readahead_place *place, uint32_t *ret_reached)
{
	struct readahead *ra = win->ra;
	const struct warm_plan plan = {
		.origin = ra->origin,
		.tenant = ra->tenant,
		.root = place->dir,
		.first = place->idx,
		.depth = UINT_MAX,
		.contents = true,
		.hurry = true,
		.blobs_max = win->blobs_left,
		.bytes_max = win->bytes_left,
		.directories_max = win->dirs_left,
		.ret_rest = &win->rest,
		.passed = note_passed,
		.arg = win,
	};
	struct warm_progress done;
	int r = storage_warm(
		ra->st, &plan, ra->cancel, clock_after(&clock_system, WINDOW_LIMIT_NS), &done);

	*ret_reached = done.reached > place->idx ? done.reached : place->idx;
	if (r < 0 || done.stopped || done.blobs_asked >= win->blobs_left ||
		done.bytes_asked >= win->bytes_left || done.directories_asked >= win->dirs_left)
		return false;
	win->blobs_left -= done.blobs_asked;
	win->bytes_left -= done.bytes_asked;
	win->dirs_left -= done.directories_asked;
	return true;
}

/* Behind what is left of the last directory, that of the ones above it. */
static void add_rest(struct window *win, unsigned level)
{
	while (++level < win->from.count && win->rest.count < READAHEAD_DEPTH)
		win->rest.place[win->rest.count++] = win->from.place[level];
}

/* Twice as large as the last, if most of that was read since; a quarter, if not. */
static void size_window_locked(struct readahead *ra, bool goes_on)
{
	uint64_t reads = counter_get(&ra->reads), since = reads - ra->window_reads;

	if (goes_on || ra->in_order > CRAWL_AFTER) {
		if (goes_on || since >= ra->window / 2)
			ra->window = ra->window < WINDOW_MAX ? 2 * ra->window : WINDOW_MAX;
		else if (ra->window > WINDOW_MIN)
			ra->window /= 4;
	}
	ra->window_reads = reads;
}

static void begin_window_locked(struct readahead *ra, struct window *win, bool goes_on)
{
	size_window_locked(ra, goes_on);
	for (unsigned i = 0; i < MARKS; i++)
		atomic_store_explicit(&ra->mark[i], 0, memory_order_relaxed);
	ra->rest.count = 0;
	ra->running = true;
	ra->passed = false;
	ra->refs++;
	win->blobs_left = ra->window;
	win->bytes_left = (uint64_t)ra->window * WINDOW_BYTES_BLOB;
	if (win->bytes_left > WINDOW_BYTES_MAX)
		win->bytes_left = WINDOW_BYTES_MAX;
	win->dirs_left = ra->window / WINDOW_BLOBS_DIR;
	win->marks_every = ra->window / MARKS_WINDOW;
}

/* The next window, from where the last one ended. True: it is to be started. */
static bool go_on_locked(struct readahead *ra, struct window *win)
{
	if (ra->running || !ra->rest.count)
		return false;
	win->from = ra->rest;
	memcpy(ra->last, ra->rest.place, ra->rest.count * sizeof(ra->last[0]));
	ra->last_count = ra->rest.count;
	ra->covered = 0;
	begin_window_locked(ra, win, true);
	return true;
}

static void run_window(void *arg)
{
	struct window *win = arg, next = {.ra = win->ra};
	struct readahead *ra = win->ra;
	unsigned level = 0;
	uint32_t reached = 0;
	bool more;

	while (warm_after(win, &win->from.place[level], &reached) && level + 1 < win->from.count)
		level++;
	add_rest(win, level);
	lock_acquire(&ra->mu);
	ra->running = false;
	ra->covered = level + 1;
	ra->reached = reached;
	ra->rest = win->rest;
	more = ra->passed && go_on_locked(ra, &next);
	lock_release(&ra->mu);
	if (more)
		start_window(ra, &next);
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

static void passed_mark(struct readahead *ra)
{
	struct window win = {.ra = ra};
	bool start;

	lock_acquire(&ra->mu);
	ra->passed = true;
	start = go_on_locked(ra, &win);
	lock_release(&ra->mu);
	if (start)
		start_window(ra, &win);
}

void readahead_read(struct readahead *ra, const struct oid *blob)
{
	uint64_t name = oid_hash(blob);

	counter_add(&ra->reads, 1);
	for (unsigned i = 0; i < MARKS; i++)
		if (atomic_load_explicit(&ra->mark[i], memory_order_relaxed) == name && name)
			passed_mark(ra);
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

/* Something in what was missed last: it says nothing about the order. */
static bool descends_locked(
	const struct readahead *ra, const struct readahead_place *places, unsigned count)
{
	unsigned level, at;

	return ra->last_count && common_locked(ra, places, count, &level, &at) && level == 0 &&
	       at > 0 && places[at].idx == ra->last[0].idx;
}

/* True: a window is to be started. */
static bool note_miss_locked(
	struct readahead *ra, const struct readahead_place *places, unsigned count, bool directory)
{
	uint64_t reads = counter_get(&ra->reads);
	bool unread = reads == ra->missed_reads;

	if (ra->running || same_locked(ra, &places[0]) || (directory && unread))
		return false;
	ra->missed_reads = reads;
	if (directory && descends_locked(ra, places, count)) {
		/* remembered below */
	} else if (!in_order_locked(ra, places, count)) {
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

static void nothing(void *arg, int result)
{
	(void)arg;
	(void)result; /* the reader's own request tells the reader */
}

/* What is missed: a directory, or a content; none if it is not known. */
struct missed {
	bool directory;
	struct oid blob;
	uint64_t size;
};

static struct missed look_up(struct readahead *ra, const struct readahead_place *place)
{
	bool lfs = origin_caps(ra->origin) & ORIGIN_CAP_LFS;
	struct oid key = storage_tree_key(&place->dir, lfs);
	struct missed missed = {.directory = false};
	struct tree_entry entry = {0};
	struct tree_view view;

	if (tree_view_begin(ra->st->index, &key, &view) < 0)
		return missed;
	if (place->idx < view.count)
		tree_view_entry(&view, place->idx, &entry);
	missed.directory = S_ISDIR(entry.mode);
	if (entry.oid && !missed.directory)
		missed.blob = oid_from_bytes(entry.oid, view.oid_len);
	if (entry.size_known)
		missed.size = entry.size;
	tree_view_end(&view);
	if (!oid_is_none(&missed.blob))
		missed.blob = storage_blob_key(ra->st, &missed.blob, lfs);
	return missed;
}

static void ask_for_large(struct readahead *ra, const struct missed *missed)
{
	const struct storage_ask ask = {.origin = ra->origin,
		.tenant = ra->tenant,
		.background = true,
		.deadline_ns = clock_after(&clock_system, LARGE_LIMIT_NS),
		.fn = nothing};

	if (!oid_is_none(&missed->blob) && missed->size >= LARGE_BYTES)
		(void)storage_ask(ra->st, STORAGE_BLOB, &missed->blob, &ask);
}

void readahead_missed(struct readahead *ra, const struct readahead_place *places, unsigned count)
{
	struct missed missed = look_up(ra, &places[0]);
	struct window win = {.ra = ra, .from.count = count};
	bool start;

	ask_for_large(ra, &missed);
	for (unsigned i = 0; i < count; i++)
		win.from.place[i] = (struct readahead_place){places[i].dir, places[i].idx + 1};
	lock_acquire(&ra->mu);
	start = note_miss_locked(ra, places, count, missed.directory);
	if (start)
		begin_window_locked(ra, &win, false);
	lock_release(&ra->mu);
	if (start)
		start_window(ra, &win);
}
