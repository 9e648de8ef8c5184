/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which records of a journal still hold, and a new journal of just those: the blocks, the latest
 * NODE of what was not dropped, the intents without an end, what switches have made, and the last
 * DONEs (a request may be sent again after a takeover). The new file is complete before it takes
 * the place of the old one by rename. It is written from the records alone, so that no lock but the
 * journal's is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_state.h"

#define NEW_NAME "journal.new"

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
		return replace(&s->nodes, rec->id, bytes);
	case OVL_REC_DROP:
		(void)hashmap_remove(&s->nodes, rec->id);
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

int ovl_scan_init(struct ovl_scan *s, const uint8_t *base, size_t len)
{
	size_t start = ovl_journal_start(base), size;
	struct ovl_record rec;
	int r = 0;

	*s = (struct ovl_scan){.end = JOURNAL_HEADER_BYTES};
	hashmap_init(&s->nodes);
	hashmap_init(&s->intents);
	hashmap_init(&s->runs);
	hashmap_init(&s->pending);
	while (!r && s->end < len) {
		size = ovl_record_decode(base + s->end, len - s->end, &rec);
		if (!size)
			break;
		if (s->end >= start || is_for_good(rec.type))
			r = note(s, &rec, base + s->end);
		s->end += size;
	}
	return r;
}

void ovl_scan_fini(struct ovl_scan *s)
{
	hashmap_fini(&s->nodes);
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

/* Whether the record at `bytes` still holds. `done_seen` counts the DONEs passed. */
static bool holds(const struct ovl_scan *s, const struct ovl_record *rec, const void *bytes,
	uint64_t *done_seen)
{
	switch (rec->type) {
	case OVL_REC_BLOCK:
	case OVL_REC_PART:
		return true;
	case OVL_REC_RUN:
		return run_holds(s, rec) || (rec->attempt && rec->attempt == s->attempt);
	case OVL_REC_SWITCH:
		return s->last_switch == bytes;
	case OVL_REC_NODE:
		return hashmap_find(&s->nodes, rec->id) == bytes;
	case OVL_REC_INTENT:
		return hashmap_find(&s->intents, rec->unique) == bytes;
	case OVL_REC_DONE:
		return s->done_count - (*done_seen)++ <= JOURNAL_DONE_KEPT;
	case OVL_REC_DROP:
	case OVL_REC_VOID:
		return false;
	}
	return false;
}

/* A run that holds does so without the SWITCH from now on: it may be of an older one. */
static void copy_record(const struct ovl_scan *s, struct ovl_record *rec, const uint8_t *bytes,
	size_t size, uint8_t *out)
{
	if (rec->type == OVL_REC_RUN && run_holds(s, rec)) {
		rec->attempt = 0;
		ovl_record_encode(rec, out);
	} else {
		memcpy(out, bytes, size);
	}
}

/* Copies what holds to `out` (NULL: only measures). Returns the bytes. */
static size_t copy_live(
	const struct ovl_journal *j, const struct ovl_scan *s, bool blocks_only, uint8_t *out)
{
	size_t start = ovl_journal_start(j->map.base), live = 0, size;
	struct ovl_record rec;
	uint64_t done_seen = 0;

	for (size_t at = JOURNAL_HEADER_BYTES; at < s->end; at += size) {
		size = ovl_record_decode(j->map.base + at, s->end - at, &rec);
		if (((blocks_only || at < start) && !is_for_good(rec.type)) ||
			!holds(s, &rec, j->map.base + at, &done_seen))
			continue;
		if (out)
			copy_record(s, &rec, j->map.base + at, size, out + live);
		live += size;
	}
	return live;
}

static int write_new(
	struct ovl_ws *ws, const struct ovl_scan *s, bool blocks_only, struct ovl_mapfile *m)
{
	struct ovl_journal *j = ws->journal;
	size_t live = JOURNAL_HEADER_BYTES + copy_live(j, s, blocks_only, NULL);
	int r = ovl_mapfile_open(m, ws->work_fd, NEW_NAME, JOURNAL_RESERVE_BYTES);

	if (r)
		return r;
	r = ovl_mapfile_clear(m); /* of a process that was killed in this place */
	if (!r)
		r = ovl_mapfile_grow(m, live + j->promised);
	if (!r) {
		memcpy(m->base, &(struct ovl_journal_head){.magic = JOURNAL_MAGIC},
			sizeof(struct ovl_journal_head));
		(void)copy_live(j, s, blocks_only, m->base + JOURNAL_HEADER_BYTES);
		if (renameat(ws->work_fd, NEW_NAME, ws->work_fd, "journal") < 0)
			r = -errno;
	}
	if (r) {
		ovl_mapfile_close(m);
		(void)unlinkat(
			ws->work_fd, NEW_NAME, 0); /* cleared by the next attempt otherwise */
		return r;
	}
	ovl_mapfile_close(&j->map);
	ovl_mapfile_renamed(m, "journal");
	j->map = *m;
	j->tail = live;
	j->compact_at = 2 * live + JOURNAL_COMPACT_BYTES;
	return 0;
}

int ovl_journal_rewrite_locked(struct ovl_ws *ws, bool blocks_only)
{
	struct ovl_mapfile m;
	struct ovl_scan s;
	int r = ovl_scan_init(&s, ws->journal->map.base, ws->journal->tail);

	if (!r)
		r = write_new(ws, &s, blocks_only, &m);
	ovl_scan_fini(&s);
	return r;
}
