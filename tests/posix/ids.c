/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inode numbers as classes. If an object changes its number, or two objects share one, or a number
 * is given to another object, the two sides count differently from there on.
 */
#include "ids.h"

#include <stdlib.h>

struct ids {
	struct seen *table; /* open addressing, a power of two, at most half full */
	size_t size, used;
};

struct ids *ids_new(void)
{
	struct ids *ids = calloc(1, sizeof(*ids));

	if (!ids)
		return NULL;
	ids->size = 1 << 12;
	ids->table = calloc(ids->size, sizeof(*ids->table));
	if (!ids->table) {
		free(ids);
		return NULL;
	}
	return ids;
}

struct ids *ids_free(struct ids *ids)
{
	if (ids)
		free(ids->table);
	free(ids);
	return NULL;
}

static struct seen *find(struct seen *table, size_t size, uint64_t ino, uint64_t life)
{
	size_t at = (size_t)((ino ^ (life << 20)) * 0x9e3779b97f4a7c15u >> 20) & (size - 1);

	while (table[at].ino && (table[at].ino != ino || table[at].life != life))
		at = (at + 1) & (size - 1);
	return &table[at];
}

static bool grow(struct ids *ids)
{
	struct seen *table = calloc(ids->size * 2, sizeof(*table));

	if (!table)
		return false;
	for (size_t i = 0; i < ids->size; i++)
		if (ids->table[i].ino)
			*find(table, ids->size * 2, ids->table[i].ino, ids->table[i].life) =
				ids->table[i];
	free(ids->table);
	ids->table = table;
	ids->size *= 2;
	return true;
}

struct seen *ids_meet(struct ids *ids, uint64_t ino, uint64_t life)
{
	struct seen *seen;

	if (ids->used * 2 >= ids->size && !grow(ids))
		return NULL;
	seen = find(ids->table, ids->size, ino, life);
	if (!seen->ino)
		*seen = (struct seen){.ino = ino, .life = life, .class = (unsigned)++ids->used};
	return seen;
}
