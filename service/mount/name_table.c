/* SPDX-License-Identifier: Apache-2.0 */
/* See name_table.h. */
#include "name_table.h"

#include <base/io.h>
#include <errno.h>
#include <string.h>

int name_table_init(struct name_table *t)
{
	*t = (struct name_table){0};
	hashmap_init(&t->chains);
	return io_random(t->key, sizeof(t->key));
}

void name_table_fini(struct name_table *t)
{
	hashmap_fini(&t->chains);
}

static uint64_t hash_of(const struct name_table *t, const char *name)
{
	return io_hash(name, strlen(name), t->key);
}

struct name_node *name_table_find(const struct name_table *t, const char *name)
{
	struct name_node *node = hashmap_find(&t->chains, hash_of(t, name));

	while (node && strcmp(node->name, name) != 0)
		node = node->next;
	return node;
}

int name_table_insert(struct name_table *t, struct name_node *node, const char *name)
{
	uint64_t hash = hash_of(t, name);
	struct name_node *first = hashmap_find(&t->chains, hash);

	if (name_table_find(t, name))
		return -EEXIST;
	node->name = name;
	if (first) { /* behind the first, which the map points to */
		node->next = first->next;
		first->next = node;
		return 0;
	}
	node->next = NULL;
	return hashmap_insert(&t->chains, hash, node);
}

void name_table_remove(struct name_table *t, struct name_node *node)
{
	struct name_node *first, **link;
	uint64_t hash;

	if (!node->name)
		return;
	hash = hash_of(t, node->name);
	first = hashmap_find(&t->chains, hash);
	if (first == node) {
		(void)hashmap_remove(&t->chains, hash);
		if (node->next) /* cannot fail: its slot has just become free */
			(void)hashmap_insert(&t->chains, hash, node->next);
		*node = (struct name_node){0};
		return;
	}
	for (link = &first; *link; link = &(*link)->next) {
		if (*link != node)
			continue;
		*link = node->next;
		*node = (struct name_node){0};
		return;
	}
}
