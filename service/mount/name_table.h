/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects by name: an intrusive index over base/hashmap.h, which knows only numbers. The hash is
 * keyed, so callers cannot choose collisions; names that collide all the same are chained. Not
 * thread-safe: the owner locks.
 */
#pragma once
#include <base/hashmap.h>
#include <stdint.h>

struct name_node {
	const char *name; /* the owner's, unchanged while in the table */
	struct name_node *next;
};

struct name_table {
	struct hashmap chains;
	uint64_t key[2];
};

int name_table_init(struct name_table *t);
void name_table_fini(struct name_table *t);
/* -EEXIST, -ENOMEM. */
int name_table_insert(struct name_table *t, struct name_node *node, const char *name);
struct name_node *name_table_find(const struct name_table *t, const char *name); /* NULL: none */
/* A node that is not in the table is left alone. */
void name_table_remove(struct name_table *t, struct name_node *node);
