/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of changes: filled in any order, sorted once. It comes from patches and archives of
 * strangers, so everything about it is checked here and bounded; what it means is known only when
 * it is merged.
 */
#include "layer/layer_internal.h"

#include "base/path.h"
#include "tree/tree_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct layer *layer_new(uint8_t oid_len)
{
	struct layer *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->oid_len = oid_len;
	buf_init(&l->paths, LAYER_PATHS_MAX);
	return l;
}

struct layer *layer_free(struct layer *l)
{
	if (!l)
		return NULL;
	buf_fini(&l->paths);
	free(l->changes);
	free(l);
	return NULL;
}

size_t layer_count(const struct layer *l)
{
	return l->count;
}

static bool entry_ok(const struct layer *l, const struct layer_entry *e)
{
	if (e->mode == 0)
		return oid_is_none(&e->oid);
	return tree_codec_class(e->mode, !oid_is_none(&e->oid)) >= 0 &&
	       (oid_is_none(&e->oid) || e->oid.len == l->oid_len);
}

/* As in a tree from an origin: nobody smuggles a repository into the sources (raw_tree.c). */
static bool path_ok(const char *path)
{
	const char *rest = path, *name;
	size_t len;

	if (!*path || !path_relative_ok(path))
		return false;
	while (path_next(&rest, &name, &len))
		if (!path_name_ok(name, len) || (len == 4 && memcmp(name, ".git", 4) == 0))
			return false;
	return true;
}

static int grow(struct layer *l)
{
	size_t cap = l->cap ? 2 * l->cap : 64;
	struct change *changes;

	if (l->count < l->cap)
		return 0;
	if (l->count >= LAYER_CHANGES_MAX)
		return -E2BIG;
	changes = reallocarray(l->changes, cap, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	l->changes = changes;
	l->cap = cap;
	return 0;
}

int layer_add(struct layer *l, const struct layer_change *change)
{
	size_t len = strlen(change->path), at = l->paths.len;
	int r;

	if (!path_ok(change->path) || !entry_ok(l, &change->put) ||
		(change->expects && !entry_ok(l, &change->old)))
		return -EINVAL;
	r = grow(l);
	if (r < 0)
		return r;
	r = buf_append(&l->paths, change->path, len + 1);
	if (r < 0)
		return r == -EMSGSIZE ? -E2BIG : r;
	l->changes[l->count++] = (struct change){.path = at,
		.len = (uint32_t)len,
		.expects = change->expects,
		.replaces = change->replaces,
		.put = change->put,
		.old = change->old};
	l->sorted = false;
	return 0;
}

/* '/' before all other bytes. */
static int compare_paths(const char *a, const char *b)
{
	uint8_t x, y;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	x = (uint8_t)*a;
	y = (uint8_t)*b;
	if (!x || !y)
		return (x != 0) - (y != 0);
	if (x == '/' || y == '/')
		return x == '/' ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int by_path(const void *a, const void *b, void *paths)
{
	const struct change *x = a, *y = b;
	const char *heap = paths;

	return compare_paths(heap + x->path, heap + y->path);
}

int layer_sort(struct layer *l)
{
	if (l->sorted || l->count < 2)
		return 0;
	qsort_r(l->changes, l->count, sizeof(*l->changes), by_path, l->paths.data);
	for (size_t i = 1; i < l->count; i++)
		if (by_path(&l->changes[i - 1], &l->changes[i], l->paths.data) == 0)
			return -EINVAL;
	l->sorted = true;
	return 0;
}
