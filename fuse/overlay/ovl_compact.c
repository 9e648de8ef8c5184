/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which records of a journal still hold, and a new journal of just those: the blocks, the latest
 * NODE of what was not dropped, the intents without an end, what switches have made, and the last
 * DONEs (a request may be sent again after a takeover).
 *
 *	1  what was there at the beginning never changes: it is read, and what holds of it written
 *	   to journal.new, without the lock
 *	2  what came since is copied as it is; the last piece under the lock, and from then on each
 *	   append goes to both
 *	3  rename over the old one; whichever has the name at a kill is whole
 *	4  appends go to the new one alone
 *
 * Nobody waits for 1 and 2, and for 3 only who finds the room full that 2 has left for it. The
 * records are enough, so no lock but the journal's is needed. One thread at a time: the opening
 *one, then `ovl-chore`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"

#define NEW_NAME   "journal.new"
#define ROOM_BYTES ((size_t)256 << 10) /* for what is appended during 2 and 3 */

static int replace(struct hashmap *m, uint64_t key, const void *record)
{
	(void)hashmap_remove(m, key);
	return hashmap_insert(m, key, (void *)(uintptr_t)record);
}

/* Attempts are large numbers; 0 has been known to hold before. */
#define HELD ((void *)UINTPTR_MAX)

static int note_run(struct ovl_scan *s, const struct ovl_record *rec)
{
	if (!rec->attempt)
		return replace(&s->runs, rec->parent, HELD);
	if (rec->attempt != s->attempt) { /* the one before did not come to its end */
		hashmap_fini(&s->pending);
		hashmap_init(&s->pending);
		s->attempt = rec->attempt;
	}
	return replace(&s->pending, rec->parent, (void *)(uintptr_t)rec->attempt);
}

static int note_switch(struct ovl_scan *s, const struct ovl_record *rec, const void *bytes)
{
	int r = 0;

	s->last_switch = bytes;
	if (rec->attempt != s->attempt)
		return 0;
	for (struct hashmap_cursor it = {0}; !r && hashmap_next(&s->pending, &it);)
		r = replace(&s->runs, it.key, it.value);
	hashmap_fini(&s->pending);
	hashmap_init(&s->pending);
	s->attempt = 0;
	return r;
}

static int note(struct ovl_scan *s, const struct ovl_record *rec, const void *bytes)
{
	switch (rec->type) {
	case OVL_REC_NODE:
		ovl_index_set(&s->nodes, rec->id, s->end);
		return 0;
	case OVL_REC_DROP:
		ovl_index_set(&s->nodes, rec->id, 0);
		return 0;
	case OVL_REC_INTENT:
		return replace(&s->intents, rec->unique, bytes);
	case OVL_REC_DONE:
		s->done_count++;
		(void)hashmap_remove(&s->intents, rec->unique);
		return 0;
	case OVL_REC_VOID:
		(void)hashmap_remove(&s->intents, rec->unique);
		return 0;
	case OVL_REC_BLOCK:
	case OVL_REC_PART:
		return 0;
	case OVL_REC_RUN:
		return note_run(s, rec);
	case OVL_REC_SWITCH:
		return note_switch(s, rec, bytes);
	}
	return 0;
}

/* Of interest to every later process, not only to one that takes over. */
static bool is_for_good(enum ovl_record_type type)
{
	return type == OVL_REC_BLOCK || type == OVL_REC_PART || type == OVL_REC_RUN ||
	       type == OVL_REC_SWITCH;
}

size_t ovl_journal_start(const uint8_t *base)
{
	struct ovl_journal_head head;

	memcpy(&head, base, sizeof(head));
	return head.start;
}

int ovl_scan_init(
	struct ovl_scan *s, const uint8_t *base, size_t len, ovl_record_visit fn, void *arg)
{
	size_t start = ovl_journal_start(base), size;
	struct ovl_record rec;
	int r;

	*s = (struct ovl_scan){.end = JOURNAL_HEADER_BYTES};
	hashmap_init(&s->intents);
	hashmap_init(&s->runs);
	hashmap_init(&s->pending);
	r = ovl_index_init(&s->nodes);
	while (!r && s->end < len) {
		bool for_good;

		size = ovl_record_decode(base + s->end, len - s->end, &rec);
		if (!size)
			break;
		for_good = is_for_good(rec.type);
		if (s->end >= start || for_good)
			r = note(s, &rec, base + s->end);
		if (!r && for_good && fn)
			r = fn(arg, &rec);
		s->end += size;
	}
	return r;
}

void ovl_scan_fini(struct ovl_scan *s)
{
	ovl_index_fini(&s->nodes);
	hashmap_fini(&s->intents);
	hashmap_fini(&s->runs);
	hashmap_fini(&s->pending);
}

/* Of the last switch that its directory took part in. */
static bool run_holds(const struct ovl_scan *s, const struct ovl_record *rec)
{
	const void *attempt = hashmap_find(&s->runs, rec->parent);

	return attempt && attempt == (rec->attempt ? (void *)(uintptr_t)rec->attempt : HELD);
}

/* A rewriting: the old journal as far as it was written at the beginning, and the new one. */
struct rewriting {
	const uint8_t *base;
	size_t start;
	struct ovl_scan scan;
	bool blocks_only;
	uint64_t done_seen; /* DONEs passed */
	struct ovl_mapfile out;
	size_t tail; /* of out */
};

/* Whether the record at `at` still holds. */
static bool holds(struct rewriting *w, const struct ovl_record *rec, size_t at)
{
	const struct ovl_scan *s = &w->scan;

	if ((w->blocks_only || at < w->start) && !is_for_good(rec->type))
		return false;
	switch (rec->type) {
	case OVL_REC_BLOCK:
	case OVL_REC_PART:
		return true;
	case OVL_REC_RUN:
		return run_holds(s, rec) || (rec->attempt && rec->attempt == s->attempt);
	case OVL_REC_SWITCH:
		return s->last_switch == w->base + at;
	case OVL_REC_NODE:
		return ovl_index_get(&s->nodes, rec->id) == at;
	case OVL_REC_INTENT:
		return hashmap_find(&s->intents, rec->unique) == w->base + at;
	case OVL_REC_DONE:
		return s->done_count - w->done_seen++ <= JOURNAL_DONE_KEPT;
	case OVL_REC_DROP:
	case OVL_REC_VOID:
		return false;
	}
	return false;
}

/* A run that holds does so without the SWITCH from now on: it may be of an older one. */
static int copy_record(struct rewriting *w, struct ovl_record *rec, size_t at, size_t size)
{
	int r = ovl_mapfile_grow(&w->out, w->tail + size);

	if (r)
		return r;
	if (rec->type == OVL_REC_RUN && run_holds(&w->scan, rec)) {
		rec->attempt = 0;
		ovl_record_encode(rec, w->out.base + w->tail);
	} else {
		memcpy(w->out.base + w->tail, w->base + at, size);
	}
	if (rec->type == OVL_REC_NODE) /* its last one: nobody asks for where it was any more */
		ovl_index_set(&w->scan.nodes, rec->id, w->tail);
	w->tail += size;
	return 0;
}

static int copy_what_holds(struct rewriting *w)
{
	struct ovl_record rec;
	size_t size;
	int r = 0;

	for (size_t at = JOURNAL_HEADER_BYTES; !r && at < w->scan.end; at += size) {
		size = ovl_record_decode(w->base + at, w->scan.end - at, &rec);
		if (holds(w, &rec, at))
			r = copy_record(w, &rec, at, size);
	}
	return r;
}

static int begin(struct ovl_ws *ws, struct rewriting *w)
{
	struct ovl_journal *j = ws->journal;
	size_t len;
	int r;

	lock_acquire(&j->lock);
	w->base = j->map.base; /* stays, as nobody else rewrites */
	len = j->tail;
	lock_release(&j->lock);
	w->start = ovl_journal_start(w->base);
	r = ovl_scan_init(&w->scan, w->base, len, NULL, NULL);
	if (!r)
		r = ovl_mapfile_open(&w->out, ws->work_fd, NEW_NAME, JOURNAL_RESERVE_BYTES);
	if (!r)
		r = ovl_mapfile_clear(&w->out); /* of a process that was killed in this place */
	if (!r)
		r = ovl_mapfile_grow(&w->out, JOURNAL_HEADER_BYTES);
	if (r)
		return r;
	memcpy(w->out.base,
		&(struct ovl_journal_head){.magic = JOURNAL_MAGIC, .stamp = ovl_journal_stamp(ws)},
		sizeof(struct ovl_journal_head));
	w->tail = JOURNAL_HEADER_BYTES;
	return copy_what_holds(w);
}

/* Copies what was appended since `*at`. True once appends go to both. */
static bool follow_locked(struct ovl_journal *j, struct rewriting *w, size_t *at)
{
	size_t more = j->tail - *at;

	if (w->tail + more + j->promised + ROOM_BYTES / 2 > w->out.len)
		return false;
	memcpy(w->out.base + w->tail, j->map.base + *at, more);
	w->tail += more;
	*at = j->tail;
	j->next = w->out;
	j->next_tail = w->tail;
	return true;
}

static int follow(struct ovl_journal *j, struct rewriting *w)
{
	size_t at = w->scan.end, need;
	int r = 0;

	/* Each round makes room for what came during the one before. */
	for (bool both = false; !r && !both;) {
		lock_acquire(&j->lock);
		both = follow_locked(j, w, &at);
		need = w->tail + (j->tail - at) + j->promised + ROOM_BYTES;
		lock_release(&j->lock);
		if (!both)
			r = ovl_mapfile_grow(&w->out, need);
	}
	return r;
}

/* The names, and what appends go to. Returns what is to be closed in *w. */
static int replace_journal(struct ovl_ws *ws, struct rewriting *w)
{
	struct ovl_journal *j = ws->journal;
	int r = renameat(ws->work_fd, NEW_NAME, ws->work_fd, "journal") < 0 ? -errno : 0;

	LOCK_GUARD(&j->lock);
	if (!r) {
		ovl_left_moved_locked(ws, &w->scan.nodes);
		w->out = j->map;
		j->map = j->next;
		ovl_mapfile_renamed(&j->map, "journal");
		j->tail = j->next_tail;
		j->compact_at = 2 * j->tail + JOURNAL_COMPACT_BYTES;
	}
	j->next = (struct ovl_mapfile){0};
	cond_broadcast(&j->replaced);
	return r;
}

int ovl_journal_rewrite(struct ovl_ws *ws, bool blocks_only)
{
	struct rewriting w = {.blocks_only = blocks_only};
	int r = begin(ws, &w);

	ovl_crash_point(ws, "compact:copied");
	if (!r)
		r = follow(ws->journal, &w);
	ovl_crash_point(ws, "compact:both");
	if (!r)
		r = replace_journal(ws, &w);
	ovl_crash_point(ws, "compact:renamed");
	if (r)
		(void)unlinkat(
			ws->work_fd, NEW_NAME, 0); /* cleared by the next attempt otherwise */
	ovl_mapfile_close(&w.out);
	ovl_scan_fini(&w.scan);
	return r;
}

void ovl_journal_compact(struct ovl_ws *ws)
{
	if (ovl_journal_rewrite(ws, false) == 0) /* on failure it is asked for again */
		atomic_fetch_add_explicit(
			&ws->overlay->compactions, 1, memory_order_relaxed); /* a statistic */
}
