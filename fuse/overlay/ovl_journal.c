/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a workspace: what a process that takes over, or starts after a kill, has to know
 * and cannot find in the upper. It is a mapped file, so that an append is a memcpy under a short
 * lock (rank OVL_JOURNAL) and survives a kill without a sync. A record that is half written does
 * not check and is the end. Room is made before anything is done; the DONE of an open intent always
 * has room.
 *
 * A journal that has grown to twice what still holds is rewritten beside the appends
 * (ovl_compact.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "overlay/ovl_chores.h"
#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_removed.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"

#define JOURNALED_FLAGS (OVL_ORPHAN | OVL_LINKED | OVL_NODE_XATTR)

static uint64_t local_of(uint64_t id)
{
	return id & OVL_LOCAL_MASK;
}

int ovl_journal_append(struct ovl_ws *ws, const struct ovl_record *rec)
{
	struct ovl_journal *j = ws->journal;
	size_t size = ovl_record_size(rec);
	bool opens = rec->type == OVL_REC_INTENT;
	bool closes = rec->type == OVL_REC_DONE || rec->type == OVL_REC_VOID;
	size_t promised;
	int r;

	LOCK_GUARD(&j->lock);
	promised = j->promised + (opens ? OVL_RECORD_DONE_BYTES : 0);
	if (closes)
		promised -= promised < OVL_RECORD_DONE_BYTES ? promised : OVL_RECORD_DONE_BYTES;
	/* For one rename. Nor can the old file grow meanwhile: its name may be the new one's. */
	while (j->next.base && (j->next_tail + size + promised > j->next.len ||
				       j->tail + size + promised > j->map.len))
		cond_wait(&j->replaced, &j->lock);
	r = ovl_mapfile_grow(&j->map, j->tail + size + promised);
	if (r)
		return r;
	ovl_record_encode(rec, j->map.base + j->tail);
	if (j->next.base) {
		memcpy(j->next.base + j->next_tail, j->map.base + j->tail, size);
		j->next_tail += size;
	}
	j->tail += size;
	j->promised = promised;
	if (j->tail > j->compact_at) {
		j->compact_at = j->tail + j->tail / 2; /* if nobody does it: ask again */
		(void)ovl_chore_ask(ws, OVL_CHORE_COMPACT);
	}
	return 0;
}

int ovl_journal_intent(struct ovl_ws *ws, const struct ovl_intent *intent)
{
	return ovl_journal_append(
		ws, &(struct ovl_record){
			    .type = OVL_REC_INTENT,
			    .op = (uint8_t)intent->op,
			    .unique = intent->unique,
			    .id = local_of(intent->id),
			    .parent = local_of(intent->parent),
			    .new_parent = local_of(intent->new_parent),
			    .ino = intent->backing_ino,
			    .name = intent->name,
			    .name_len = intent->name ? strlen(intent->name) : 0,
			    .new_name = intent->new_name,
			    .new_name_len = intent->new_name ? strlen(intent->new_name) : 0,
		    });
}

void ovl_journal_done(struct ovl_ws *ws, uint64_t unique)
{
	(void)ovl_journal_append(
		ws, &(struct ovl_record){.type = OVL_REC_DONE, .unique = unique}); /* has room */
}

void ovl_journal_void(struct ovl_ws *ws, uint64_t unique)
{
	(void)ovl_journal_append(
		ws, &(struct ovl_record){.type = OVL_REC_VOID, .unique = unique}); /* has room */
}

static int append_node(struct ovl_node *node, const void *removed, size_t removed_len)
{
	struct ovl_shard *shard = ovl_shard_of(node->ws, node->id);
	char name[256];
	struct ovl_record rec = {
		.type = OVL_REC_NODE, .id = local_of(node->id), .mode = node->type, .name = name};
	int r;

	rec.new_name = removed;
	rec.new_name_len = removed_len;
	rec.ino = atomic_load_explicit(&node->upper_ino, memory_order_relaxed);
	rec.flags = atomic_load(&node->flags) & JOURNALED_FLAGS;
	lock_acquire(&shard->lock);
	rec.parent = node->parent ? local_of(node->parent->id) : 0;
	rec.name_len = node->name_len;
	if (node->name_len)
		memcpy(name, node->name, node->name_len);
	lock_release(&shard->lock);
	r = ovl_journal_append(node->ws, &rec);
	if (!r)
		atomic_store(&node->journaled, true);
	return r;
}

int ovl_journal_node(struct ovl_node *node)
{
	return append_node(node, NULL, 0);
}

int ovl_journal_removed(struct ovl_node *dir, const struct stat *attr)
{
	uint8_t bytes[OVL_REMOVED_BYTES];

	ovl_removed_encode(attr, bytes);
	return append_node(dir, bytes, sizeof(bytes));
}

void ovl_journal_drop(struct ovl_ws *ws, uint64_t id)
{
	/* Without room the NODE record stays: a node too many after a takeover, which the next
	 * FORGET or start removes. */
	(void)ovl_journal_append(
		ws, &(struct ovl_record){.type = OVL_REC_DROP, .id = local_of(id)});
}

int ovl_journal_block(struct ovl_ws *ws, const struct ovl_block *block)
{
	return ovl_journal_append(ws, &(struct ovl_record){
					      .type = block->time_ns ? OVL_REC_PART : OVL_REC_BLOCK,
					      .op = !block->part,
					      .first = block->first,
					      .time_ns = block->time_ns,
					      .id = block->base,
					      .parent = local_of(block->dir_id),
					      .count = block->count,
					      .tree = block->tree,
				      });
}

int ovl_journal_run(struct ovl_ws *ws, uint64_t dir_id, uint64_t attempt, const struct ovl_map *map,
	const struct ovl_run *run)
{
	return ovl_journal_append(ws, &(struct ovl_record){
					      .type = OVL_REC_RUN,
					      .id = run->base,
					      .parent = local_of(dir_id),
					      .first = run->at,
					      .count = run->count,
					      .attempt = attempt,
					      .generation = map->generation,
					      .time_ns = map->time_ns,
					      .tree = map->tree,
				      });
}

int ovl_journal_switch(
	struct ovl_ws *ws, uint64_t attempt, const struct oid *root, uint64_t time_ns)
{
	return ovl_journal_append(ws, &(struct ovl_record){
					      .type = OVL_REC_SWITCH,
					      .attempt = attempt,
					      .generation = ws->generation + 1,
					      .time_ns = time_ns,
					      .first_time_ns = clock_from_timespec(&ws->first_time),
					      .tree = *root,
				      });
}

bool ovl_journal_was_done(struct ovl_ws *ws, uint64_t unique)
{
	struct ovl_journal *j = ws->journal;
	struct ovl_record rec;
	size_t at = JOURNAL_HEADER_BYTES, start, size;
	bool done = false;

	/* A walk, because it is asked for the few requests that were sent again after a takeover,
	 * and for nothing else. */
	LOCK_GUARD(&j->lock);
	start = ovl_journal_start(j->map.base);
	for (; at < j->tail; at += size) {
		size = ovl_record_decode(j->map.base + at, j->tail - at, &rec);
		if (!size)
			break;
		if (at >= start && rec.unique == unique &&
			(rec.type == OVL_REC_DONE || rec.type == OVL_REC_VOID ||
				rec.type == OVL_REC_INTENT))
			done = rec.type == OVL_REC_DONE;
	}
	return done;
}

uint64_t ovl_journal_bytes(struct ovl_ws *ws)
{
	LOCK_GUARD(&ws->journal->lock);
	return ws->journal->tail;
}

static struct ovl_journal_head *head_of(const struct ovl_journal *j)
{
	return (struct ovl_journal_head *)(void *)j->map.base;
}

uint64_t ovl_journal_stamp(struct ovl_ws *ws)
{
	LOCK_GUARD(&ws->journal->lock);
	return head_of(ws->journal)->stamp;
}

void ovl_journal_set_stamp(struct ovl_ws *ws, uint64_t stamp)
{
	LOCK_GUARD(&ws->journal->lock);
	head_of(ws->journal)->stamp = stamp;
}

static int restore(void *arg, const struct ovl_record *rec)
{
	struct ovl_ws *ws = arg;
	int r;

	if (rec->type == OVL_REC_RUN || rec->type == OVL_REC_SWITCH)
		r = ovl_maps_restore(ws, rec);
	else
		r = ovl_blocks_restore(
			ws, &(struct ovl_block){
				    .base = rec->id,
				    .count = rec->count,
				    .first = rec->first,
				    .part = rec->type == OVL_REC_PART && !rec->op,
				    .time_ns = rec->time_ns,
				    .tree = rec->tree,
				    .dir_id = ws->serial << OVL_LOCAL_BITS | local_of(rec->parent),
			    });
	/* One that cannot be (a lying file) is left out: its directory gets a new one. */
	return r == -ENOMEM ? r : 0;
}

/* Not a journal of ours. Files are on the disk without it, and inode numbers of the sources begin
 * anew; only a session that goes on needs what it said. */
static int set_aside(struct ovl_ws *ws)
{
	struct ovl_journal *j = ws->journal;

	if (ws->adopt)
		return -EPROTO;
	ovl_mapfile_close(&j->map);
	if (renameat(ws->work_fd, "journal", ws->work_fd, "journal.damaged") < 0)
		return -errno;
	j->set_aside = true;
	return ovl_mapfile_open(&j->map, ws->work_fd, "journal", JOURNAL_RESERVE_BYTES);
}

static int read_left(struct ovl_ws *ws)
{
	struct ovl_journal *j = ws->journal;
	uint64_t magic = 0;
	int r = 0;

	if (j->map.len)
		memcpy(&magic, j->map.base, sizeof(magic));
	if (magic && magic != JOURNAL_MAGIC) /* 0: allocated, and then the machine went down */
		r = set_aside(ws);
	if (r)
		return r;
	j->fresh = j->map.len == 0;
	r = ovl_mapfile_grow(&j->map, JOURNAL_HEADER_BYTES);
	if (r)
		return r;
	magic = JOURNAL_MAGIC;
	memcpy(j->map.base, &magic, sizeof(magic));
	j->left = calloc(1, sizeof(*j->left));
	if (!j->left)
		return -ENOMEM;
	r = ovl_scan_init(j->left, j->map.base, j->map.len, restore, ws);
	j->tail = j->left->end;
	j->compact_at = SIZE_MAX; /* while `left` points into the map */
	return r;
}

int ovl_journal_open(struct ovl_ws *ws)
{
	struct ovl_journal *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	ws->journal = j;
	lock_init(&j->lock, LOCK_RANK_OVL_JOURNAL);
	cond_init(&j->replaced);
	r = ovl_mapfile_open(&j->map, ws->work_fd, "journal", JOURNAL_RESERVE_BYTES);
	if (!r)
		r = read_left(ws);
	if (r)
		ovl_journal_close(ws);
	return r;
}

bool ovl_journal_set_aside(const struct ovl_ws *ws)
{
	return ws->journal->set_aside;
}

static void forget_left(struct ovl_journal *j)
{
	if (j->left)
		ovl_scan_fini(j->left);
	free(j->left);
	j->left = NULL;
}

/* The old file goes on, and says from where on it holds. */
static void restart_in_place_locked(struct ovl_journal *j, bool adopt)
{

	uint32_t next = 0;

	if (j->map.len - j->tail >= sizeof(next))
		memcpy(&next, j->map.base + j->tail, sizeof(next));
	/* What is behind a damaged record must not come to light again. Behind the last sound one
	 * there never was anything. */
	if (next)
		memset(j->map.base + j->tail, 0, j->map.len - j->tail);
	if (!adopt)
		head_of(j)->start =
			j->tail; /* one aligned store: a kill leaves the old or the new state */
	j->compact_at = j->tail + JOURNAL_COMPACT_BYTES;
}

int ovl_journal_restart(struct ovl_ws *ws)
{
	struct ovl_journal *j = ws->journal;

	forget_left(j);
	j->promised = 0;
	if (j->fresh) { /* a new workspace: there is nothing to be left out */
		j->compact_at = JOURNAL_COMPACT_BYTES;
		return 0;
	}
	/* Who takes over goes on with it as it is, and rewrites it when all has come back. */
	if (ws->adopt || ovl_journal_rewrite(ws, true) < 0) {
		LOCK_GUARD(&j->lock);
		restart_in_place_locked(j, ws->adopt);
	}
	return 0;
}

void ovl_journal_close(struct ovl_ws *ws)
{
	struct ovl_journal *j = ws->journal;

	if (!j)
		return;
	forget_left(j);
	ovl_mapfile_close(&j->map);
	cond_fini(&j->replaced);
	lock_fini(&j->lock);
	free(j);
	ws->journal = NULL;
}
