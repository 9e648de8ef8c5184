// SPDX-License-Identifier: Apache-2.0
/*
 * See tree_git.h. Git sorts a directory as if its name ended in a slash, so its order is not the
 * record's: the entries' numbers are sorted. Pure.
 */
#include "tree/tree_git.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "tree/tree_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A character of a name in Git's order; what follows a directory's name is a slash. */
static unsigned char at(const struct tree_entry *e, size_t i)
{
	if (i < e->name_len)
		return (unsigned char)e->name[i];
	return i == e->name_len && S_ISDIR(e->mode) ? '/' : '\0';
}

static int by_git(const void *a, const void *b, void *arg)
{
	const struct tree_view *view = arg;
	struct tree_entry x, y;
	size_t common;
	int order;

	tree_view_entry(view, *(const uint32_t *)a, &x);
	tree_view_entry(view, *(const uint32_t *)b, &y);
	common = x.name_len < y.name_len ? x.name_len : y.name_len;
	order = memcmp(x.name, y.name, common);
	return order ? order : at(&x, common) - at(&y, common);
}

static const char *git_mode(uint32_t mode)
{
	if (S_ISDIR(mode))
		return "40000";
	if (S_ISLNK(mode))
		return "120000";
	return mode & S_IXUSR ? "100755" : "100644";
}

static int add_entry(struct buf *out, const struct tree_view *view, uint32_t idx)
{
	struct tree_entry e;

	tree_view_entry(view, idx, &e);
	if (!e.oid)
		return -EBADMSG;
	(void)buf_puts(out, git_mode(e.mode)); /* buf_error tells at the end */
	(void)buf_putc(out, ' ');
	(void)buf_append(out, e.name, e.name_len);
	(void)buf_putc(out, '\0');
	(void)buf_append(out, e.oid, view->oid_len);
	return 0;
}

int tree_git_matches(const struct tree_view *view, const struct oid *tree)
{
	_cleanup_free_ uint32_t *order =
		reallocarray(NULL, view->count ? view->count : 1, sizeof(*order));
	struct buf object;
	int r = 0;

	if (!order)
		return -ENOMEM;
	if (view->oid_len != tree->len)
		return -EBADMSG;
	for (uint32_t i = 0; i < view->count; i++)
		order[i] = i;
	if (view->count > 1)
		qsort_r(order, view->count, sizeof(*order), by_git, (void *)view);
	buf_init(&object, TREE_RECORD_MAX);
	for (uint32_t i = 0; r == 0 && i < view->count; i++)
		r = add_entry(&object, view, order[i]);
	if (r == 0)
		r = buf_error(&object);
	if (r == 0)
		r = digest_verify(tree, OBJECT_TREE, object.data, object.len);
	buf_fini(&object);
	return r;
}
