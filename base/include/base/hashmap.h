/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash map from 64-bit keys to pointers: open addressing with linear probing, backward-shift
 *deletion (no tombstones), between one eighth and seven tenths full. The hash is seeded per map, so
 *that whoever chooses keys cannot choose collisions.
 *
 *	for (struct hashmap_cursor it = {0}; hashmap_next(&map, &it);)
 *		use(it.key, it.value);
 *
 * Not thread-safe: the caller locks. Growing moves every entry, in one go, under that lock (about
 *10 ms per million).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap_slot {
	uint64_t key;
	void *value; /* NULL: empty */
};

struct hashmap {
	struct hashmap_slot *slots; /* NULL until the first insert */
	size_t cap;                 /* 0 or a power of two */
	size_t count;
	uint64_t seed;
};

struct hashmap_cursor {
	size_t index; /* 0 to start */
	uint64_t key;
	void *value;
};

void hashmap_init(struct hashmap *m);
/* Frees the table, not the values. */
void hashmap_fini(struct hashmap *m);
/* Add. -EEXIST (unchanged) if the key is there, -EINVAL for a NULL value, -ENOMEM. */
int hashmap_insert(struct hashmap *m, uint64_t key, void *value);
/* Room for `more` further inserts, which then cannot fail for memory until something is removed.
 * -ENOMEM. */
int hashmap_reserve(struct hashmap *m, size_t more);
/* NULL if it is not there. */
void *hashmap_find(const struct hashmap *m, uint64_t key);
/* Take out and return; NULL if it is not there. Never fails: without memory to shrink the table
 * stays as large as it is. */
void *hashmap_remove(struct hashmap *m, uint64_t key);
size_t hashmap_count(const struct hashmap *m);
/* Step to the next entry, in no order; false at the end. The map must not change meanwhile. */
bool hashmap_next(const struct hashmap *m, struct hashmap_cursor *it);
