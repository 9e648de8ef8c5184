/* SPDX-License-Identifier: Apache-2.0 */
/* The instance, its nodes, and what tests make and see of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_internal.h"

#include <fuse/switch.h>

#include <stdlib.h>
#include <string.h>

/* Nothing is ever switched. */
void ovl_enter(struct overlay *o)
{
	(void)o;
}

void ovl_leave(struct overlay *o)
{
	(void)o;
}

int ovl_orphans(struct overlay *o, uint64_t **ret_ids, size_t *ret_count)
{
	(void)o;
	*ret_ids = NULL;
	*ret_count = 0;
	return 0;
}

struct node *mini_node(struct overlay *o, uint64_t id)
{
	return id >= 1 && id <= o->count ? &o->node[id - 1] : NULL;
}

uint64_t mini_add(struct overlay *o, uint64_t parent, const char *name, mode_t mode)
{
	struct node *n;
	size_t len = strlen(name);

	if (o->count == NODES_MAX || len >= sizeof(n->name))
		return 0;
	n = &o->node[o->count++];
	n->parent = parent;
	memcpy(n->name, name, len + 1);
	n->attr = (struct stat){.st_ino = o->count,
		.st_mode = mode,
		.st_nlink = S_ISDIR(mode) ? 2 : 1,
		.st_blksize = 4096,
		.st_mtim = {.tv_sec = 1}};
	return o->count;
}

uint64_t mini_find(struct overlay *o, uint64_t parent, const char *name)
{
	for (uint64_t id = 1; id <= o->count; id++)
		if (o->node[id - 1].parent == parent && strcmp(o->node[id - 1].name, name) == 0)
			return id;
	return 0;
}

void mini_fill(struct overlay *o, uint64_t id, struct ovl_entry *ret_entry)
{
	struct node *n = &o->node[id - 1]; /* the caller found it */

	atomic_fetch_add(&n->lookups, 1);
	ret_entry->id = id;
	ret_entry->attr = n->attr;
}

struct overlay *mini_overlay_new(void)
{
	struct overlay *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	rwlock_init(&o->lock, LOCK_RANK_OVL);
	lock_init(&o->fetch_lock, LOCK_RANK_STORAGE);
	cond_init(&o->wake);
	assert_int_equal(mini_add(o, 0, "", S_IFDIR | 0755), OVL_ROOT_ID);
	assert_int_equal(mini_add(o, OVL_ROOT_ID, "ws", S_IFDIR | 0777), 2);
	assert_int_equal(pthread_create(&o->thread, NULL, mini_fetch_main, o), 0);
	return o;
}

struct overlay *mini_overlay_free(struct overlay *o)
{
	if (!o)
		return NULL;
	lock_acquire(&o->fetch_lock);
	o->stop = true;
	cond_signal(&o->wake);
	lock_release(&o->fetch_lock);
	assert_int_equal(pthread_join(o->thread, NULL), 0);
	for (uint64_t i = 0; i < o->count; i++)
		free(o->node[i].data);
	cond_fini(&o->wake);
	lock_fini(&o->fetch_lock);
	rwlock_fini(&o->lock);
	free(o);
	return NULL;
}

void mini_overlay_add(struct overlay *o, const char *name, const char *content)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = mini_node(o, mini_add(o, 2, name, S_IFREG | 0666));

	assert_non_null(n);
	n->data = strdup(content);
	assert_non_null(n->data);
	n->attr.st_size = (off_t)strlen(content);
}

void mini_overlay_add_dir(struct overlay *o, const char *name)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = mini_node(o, mini_add(o, 2, name, S_IFDIR | 0755));

	assert_non_null(n);
	n->attr.st_nlink = 1;
}

uint64_t mini_overlay_lookups(struct overlay *o)
{
	uint64_t sum = 0;

	RWLOCK_READ_GUARD(&o->lock);
	for (uint64_t i = 1; i < o->count; i++)
		sum += atomic_load(&o->node[i].lookups);
	return sum;
}

const struct mini_seen *mini_overlay_seen(struct overlay *o)
{
	return &o->seen;
}
