/* SPDX-License-Identifier: Apache-2.0 */
/* See ovl_map.h. */
#include "overlay/ovl_map.h"

#include "overlay/ovl_journal_codec.h"
#include "overlay/ovl_state.h"

#include <base/clock.h>
#include <errno.h>
#include <stdlib.h>

struct ovl_maps {
	struct hashmap by_dir;  /* directory's id → its newest map, owned */
	struct hashmap pending; /* the same, of a switch whose end was not seen yet */
	uint64_t attempt;       /* which switch the pending ones belong to */
};

struct ovl_map *ovl_map_new(const struct oid *tree)
{
	struct ovl_map *map = calloc(1, sizeof(*map));

	if (map)
		map->tree = *tree;
	return map;
}

struct ovl_map *ovl_map_free(struct ovl_map *map)
{
	while (map) {
		struct ovl_map *older = map->older;

		free(map->runs);
		free(map);
		map = older;
	}
	return NULL;
}

static int push_run(struct ovl_map *map, const struct ovl_run *run)
{
	if (map->run_count == map->run_cap) {
		uint32_t cap = map->run_cap ? 2 * map->run_cap : 4;
		struct ovl_run *runs = reallocarray(map->runs, cap, sizeof(*runs));

		if (!runs)
			return -ENOMEM;
		map->runs = runs;
		map->run_cap = cap;
	}
	map->runs[map->run_count++] = *run;
	map->count += run->count;
	return 0;
}

int ovl_map_add(struct ovl_map *map, uint64_t local)
{
	struct ovl_run *last = map->run_count ? &map->runs[map->run_count - 1] : NULL;

	if (!last || last->base + last->count != local)
		return push_run(map, &(struct ovl_run){map->count, 1, local});
	last->count++;
	map->count++;
	return 0;
}

uint64_t ovl_map_id(const struct ovl_map *map, uint32_t idx)
{
	uint32_t lo = 0, hi = map->run_count;

	while (hi - lo > 1) { /* the run of idx is in [lo, hi) */
		uint32_t mid = lo + (hi - lo) / 2;

		if (map->runs[mid].at <= idx)
			lo = mid;
		else
			hi = mid;
	}
	return map->runs[lo].base + (idx - map->runs[lo].at);
}

int ovl_maps_open(struct ovl_ws *ws)
{
	ws->maps = calloc(1, sizeof(*ws->maps));
	if (!ws->maps)
		return -ENOMEM;
	hashmap_init(&ws->maps->by_dir);
	hashmap_init(&ws->maps->pending);
	return 0;
}

static void free_all(struct hashmap *m)
{
	for (struct hashmap_cursor it = {0}; hashmap_next(m, &it);)
		(void)ovl_map_free(it.value); /* returns NULL always */
	hashmap_fini(m);
}

void ovl_maps_close(struct ovl_ws *ws)
{
	if (!ws->maps)
		return;
	free_all(&ws->maps->by_dir);
	free_all(&ws->maps->pending);
	free(ws->maps);
	ws->maps = NULL;
}

struct ovl_map *ovl_map_newest(const struct ovl_ws *ws, uint64_t dir_id)
{
	return hashmap_find(&ws->maps->by_dir, dir_id);
}

const struct ovl_map *ovl_map_of(const struct ovl_ws *ws, uint64_t dir_id, const struct oid *tree)
{
	const struct ovl_map *map = ovl_map_newest(ws, dir_id);

	return map && oid_equal(&map->tree, tree) ? map : NULL;
}

static void forget_oldest(struct ovl_map *map)
{
	for (unsigned kept = 0; map; map = map->older)
		if (++kept > OVL_MAPS_KEPT)
			map->older = ovl_map_free(map->older);
}

int ovl_map_put(struct ovl_ws *ws, uint64_t dir_id, struct ovl_map *map, bool keep)
{
	struct ovl_map *before = hashmap_remove(&ws->maps->by_dir, dir_id);
	int r = hashmap_insert(&ws->maps->by_dir, dir_id, map);

	if (r < 0) { /* in the room that the old one has left, if there was one */
		if (before)
			(void)hashmap_insert(&ws->maps->by_dir, dir_id, before);
		return r;
	}
	if (map->older) /* the directory's first one: made for this */
		return 0;
	if (keep)
		map->older = before;
	else
		(void)ovl_map_free(before); /* returns NULL always */
	forget_oldest(map);
	return 0;
}

int ovl_maps_reserve(struct ovl_ws *ws, size_t more)
{
	return hashmap_reserve(&ws->maps->by_dir, more);
}

/* ---- from the journal ---- */

static int restore_run(struct ovl_ws *ws, struct hashmap *into, const struct ovl_record *rec)
{
	uint64_t dir = ws->serial << OVL_LOCAL_BITS | (rec->parent & OVL_LOCAL_MASK);
	struct ovl_map *map = hashmap_find(into, dir);
	int r;

	if (!rec->count || !ovl_ids_known(ws, rec->id) ||
		!ovl_ids_known(ws, rec->id + rec->count - 1))
		return 0;
	if (rec->first == 0) {
		(void)ovl_map_free(hashmap_remove(into, dir)); /* returns NULL always */
		map = ovl_map_new(&rec->tree);
		r = map ? hashmap_insert(into, dir, map) : -ENOMEM;
		if (r < 0) {
			(void)ovl_map_free(map); /* as above */
			return r;
		}
		map->time_ns = rec->time_ns;
		map->generation = rec->generation;
	}
	if (!map || map->count != rec->first || !oid_equal(&map->tree, &rec->tree))
		return 0;
	return push_run(map, &(struct ovl_run){rec->first, rec->count, rec->id});
}

static int restore_switch(struct ovl_ws *ws, const struct ovl_record *rec)
{
	struct ovl_maps *m = ws->maps;
	struct hashmap_cursor it = {0};
	int r = 0;

	while (r == 0 && rec->attempt == m->attempt && hashmap_next(&m->pending, &it)) {
		(void)hashmap_remove(&m->pending, it.key);
		r = ovl_map_put(ws, it.key, it.value, false);
		if (r < 0)
			(void)ovl_map_free(it.value); /* returns NULL always */
		it = (struct hashmap_cursor){0};
	}
	ws->generation = rec->generation;
	ws->switched_to = rec->tree;
	ws->lower_time = clock_timespec(rec->time_ns);
	ws->first_time = clock_timespec(rec->first_time_ns);
	return r;
}

int ovl_maps_restore(struct ovl_ws *ws, const struct ovl_record *rec)
{
	struct ovl_maps *m = ws->maps;

	if (rec->type == OVL_REC_SWITCH)
		return restore_switch(ws, rec);
	if (!rec->attempt) /* known to hold: see ovl_compact.c */
		return restore_run(ws, &m->by_dir, rec);
	if (rec->attempt != m->attempt) { /* the one before did not come to its end */
		free_all(&m->pending);
		hashmap_init(&m->pending);
		m->attempt = rec->attempt;
	}
	return restore_run(ws, &m->pending, rec);
}
