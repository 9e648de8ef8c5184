/* SPDX-License-Identifier: Apache-2.0 */
/* See change_list.h. By the verb that opened the workspace; making the list takes a turn. */
#include "workflow/change_list.h"

#include "mount/mounts_internal.h"
#include "workflow/commits.h"
#include "workflow/walk.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define MAGIC     "coppice-list 1\n"
#define LIST_MAX  (16u << 20)
#define TREE_MAX  (256u << 20)
#define LINKS_MAX (64u << 20)
#define KEPT_NAME 32 /* of mount_kept.h */

/* ---- the file ---- */

void wf_list_fini(struct wf_list *l)
{
	free(l->same);
	*l = (struct wf_list){.same = NULL};
}

static int by_first(const void *a, const void *b)
{
	const struct oid *x = a, *y = b;

	return memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

static int add_same(struct wf_list *l, size_t *cap, const struct oid *ours, const struct oid *gits)
{
	if (l->same_count == *cap) {
		size_t more = *cap ? 2 * *cap : 16;
		struct oid(*same)[2];

		if (l->same_count >= WF_LIST_SAME_MAX)
			return -EFBIG;
		same = reallocarray(l->same, more, sizeof(*same));
		if (!same)
			return -ENOMEM;
		l->same = same;
		*cap = more;
	}
	l->same[l->same_count][0] = *ours;
	l->same[l->same_count++][1] = *gits;
	return 0;
}

/* "<key> <id>" or "<key> -"; with two ids for "same". */
static int take_line(struct wf_list *l, char *line, unsigned number, size_t *cap)
{
	static const char *const keys[] = {"shown", "base", "index"};
	struct oid *slots[] = {&l->shown, &l->base, &l->index}, pair[2];
	char *value = strchr(line, ' '), *second;

	if (!value)
		return -EBADMSG;
	*value++ = '\0';
	if (number < 3) {
		if (strcmp(line, keys[number]) != 0)
			return -EBADMSG;
		if (strcmp(value, "-") == 0)
			return 0;
		return oid_parse(value, slots[number]) == 0 ? 0 : -EBADMSG;
	}
	second = strchr(value, ' ');
	if (strcmp(line, "same") != 0 || !second)
		return -EBADMSG;
	*second++ = '\0';
	if (oid_parse(value, &pair[0]) < 0 || oid_parse(second, &pair[1]) < 0)
		return -EBADMSG;
	return add_same(l, cap, &pair[0], &pair[1]);
}

int wf_list_decode(const char *text, size_t len, struct wf_list *ret_list)
{
	_cleanup_free_ char *copy = strndup(text, len);
	struct wf_list l = {.same = NULL};
	unsigned number = 0;
	size_t cap = 0;
	char *line, *rest;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	if (strlen(copy) != len || strncmp(copy, MAGIC, strlen(MAGIC)) != 0)
		return -EBADMSG;
	for (line = strtok_r(copy + strlen(MAGIC), "\n", &rest); line && r == 0;
		line = strtok_r(NULL, "\n", &rest))
		r = take_line(&l, line, number++, &cap);
	if (r == 0 && number < 3)
		r = -EBADMSG;
	if (r < 0) {
		wf_list_fini(&l);
		return r;
	}
	if (l.same_count)
		qsort(l.same, l.same_count, sizeof(*l.same), by_first);
	*ret_list = l;
	return 0;
}

int wf_list_read(int dirfd, struct wf_list *ret_list)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(dirfd, "list", LIST_MAX, &text, &len);

	return r < 0 ? r : wf_list_decode(text, len, ret_list);
}

static void put_oid(struct buf *b, const char *key, const struct oid *oid)
{
	char hex[OID_HEX_MAX];

	(void)buf_printf(b, "%s %s\n", key, oid_is_none(oid) ? "-" : oid_hex(oid, hex));
}

static int write_list(int dirfd, const struct wf_list *l)
{
	char ours[OID_HEX_MAX], gits[OID_HEX_MAX];
	struct buf b;
	int r;

	buf_init(&b, LIST_MAX);
	(void)buf_puts(&b, MAGIC); /* the buffer remembers a failure */
	put_oid(&b, "shown", &l->shown);
	put_oid(&b, "base", &l->base);
	put_oid(&b, "index", &l->index);
	for (size_t i = 0; i < l->same_count; i++)
		(void)buf_printf(&b, "same %s %s\n", oid_hex(&l->same[i][0], ours),
			oid_hex(&l->same[i][1], gits));
	r = buf_error(&b);
	if (r == 0)
		r = io_write_file(dirfd, "list", b.data, b.len, 0600, true);
	buf_fini(&b);
	return r;
}

const struct oid *wf_list_find(const struct wf_list *l, const struct oid *tree)
{
	const struct oid *found =
		l->same_count ? bsearch(tree, l->same, l->same_count, sizeof(*l->same), by_first)
			      : NULL;

	return found ? found + 1 : tree;
}

/* ---- commits of submodules ---- */

struct link {
	char *path;
	struct oid commit;
};

struct making {
	struct wf *w;
	struct wf_list *list;
	size_t cap; /* of list->same */
	struct link *links;
	size_t link_count, link_cap;
	char path[WF_PATH_MAX + 1];
};

static int add_link(struct making *m, const char *path, const struct oid *commit)
{
	char *copy;

	if (m->link_count == m->link_cap) {
		size_t cap = m->link_cap ? 2 * m->link_cap : 16;
		struct link *links = reallocarray(m->links, cap, sizeof(*links));

		if (!links)
			return -ENOMEM;
		m->links = links;
		m->link_cap = cap;
	}
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	m->links[m->link_count++] = (struct link){copy, *commit};
	return 0;
}

static const struct oid *find_link(const struct making *m, const char *path)
{
	for (size_t i = 0; i < m->link_count; i++)
		if (strcmp(m->links[i].path, path) == 0)
			return &m->links[i].commit;
	return NULL;
}

static bool has_links_below(const struct making *m, const char *path, size_t len)
{
	for (size_t i = 0; i < m->link_count; i++)
		if (strncmp(m->links[i].path, path, len) == 0 &&
			(len == 0 || m->links[i].path[len] == '/'))
			return true;
	return false;
}

/* What a patch set: "<id> <path>\0" each. */
static int links_of_patch(struct making *m)
{
	const struct mount_use *use = m->w->use;
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *text = NULL;
	struct oid commit;
	size_t len;
	int r;

	if (asprintf(&name, "%s/%s/cl/%.*s/gitlinks", m->w->call->mounts->workspaces_dir,
		    use->mount_id, KEPT_NAME, use->change_name) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	r = io_read_file(AT_FDCWD, name, LINKS_MAX, &text, &len);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *at = text; r == 0 && at < text + len; at += strlen(at) + 1) {
		char *path = strchr(at, ' ');

		if (!path)
			return -EBADMSG;
		*path++ = '\0';
		r = oid_parse(at, &commit) == 0 ? add_link(m, path, &commit) : -EBADMSG;
		at = path;
	}
	return r;
}

static int visit_link(void *arg, struct wf_item *item)
{
	struct making *m = arg;

	if (item->index.mode != WF_MODE_GITLINK || wf_same(&item->head, &item->index))
		return 0;
	return add_link(m, item->path, &item->index.oid);
}

static int tree_of_commit(struct wf *w, const struct oid *commit, struct oid *ret_tree)
{
	struct tree_commit known;
	int r = tree_commit_get(storage_tree_index(w->storage), commit, &known);

	return r < 0 ? r : wf_subtree(w, &known.root, ret_tree);
}

/* What is between two commits. */
static int links_of_commits(struct making *m)
{
	const struct mount_use *use = m->w->use;
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = m->w, .visit = visit_link, .arg = m};
	r = tree_of_commit(m->w, &use->change_from, &walk->head);
	if (r == 0)
		r = tree_of_commit(m->w, &use->change_to, &walk->index);
	if (r == 0)
		r = wf_walk(walk, NULL);
	free(walk);
	return r == -ENOENT ? -EIO : r; /* they were resolved when the mount was made */
}

static int find_links(struct making *m)
{
	switch (m->w->use->change_kind) {
	case MOUNT_CHANGE_RANGE:
	case MOUNT_CHANGE_REF:
		return links_of_commits(m);
	case MOUNT_CHANGE_PATCH:
	case MOUNT_CHANGE_TAR:
		return links_of_patch(m);
	default:
		return 0; /* a monorepo has no submodules */
	}
}

/* ---- the tree that is shown, as Git has it ---- */

static int in_git_order(const void *a, const void *b)
{
	const struct wf_dirent *x = a, *y = b;

	return wf_git_order(
		x->name, x->len, wf_is_dir(&x->node), y->name, y->len, wf_is_dir(&y->node));
}

static int write_dir(struct making *m, struct wf_dir *dir, struct oid *ret_tree)
{
	struct buf tree;
	int r = 0;

	buf_init(&tree, TREE_MAX);
	qsort(dir->entries, dir->count, sizeof(*dir->entries), in_git_order);
	for (size_t i = 0; r == 0 && i < dir->count; i++)
		r = wf_tree_append(
			&tree, dir->entries[i].name, dir->entries[i].len, &dir->entries[i].node);
	if (r == 0)
		r = wf_odb_write(m->w, WF_TREE, tree.data ? tree.data : "", tree.len, ret_tree);
	buf_fini(&tree);
	return r;
}

static int convert(
	struct making *m, const struct oid *shown, const struct oid *base, struct oid *ret_tree);

/* One entry of a directory at m->path; `there` is what the base has of that name, or NULL. */
static int convert_entry(struct making *m, struct wf_dirent *entry, const struct wf_dirent *there)
{
	static const struct oid none;
	size_t len = strlen(m->path);
	const struct oid *link;
	int r = 0;

	if (entry->node.mode != WF_MODE_DIR && entry->node.mode != WF_MODE_GITLINK)
		return 0;
	if (len + entry->len + 2 > sizeof(m->path))
		return -ENAMETOOLONG;
	(void)snprintf(m->path + len, sizeof(m->path) - len, "%s%.*s", len ? "/" : "",
		(int)entry->len, entry->name);
	if (entry->node.mode == WF_MODE_DIR) {
		r = convert(m, &entry->node.oid,
			there && wf_is_dir(&there->node) ? &there->node.oid : &none,
			&entry->node.oid);
	} else {
		link = find_link(m, m->path);
		if (!link && there && there->node.mode == WF_MODE_GITLINK)
			link = &there->node.oid;
		if (link)
			entry->node.oid = *link;
		else
			r = err_set(m->w->e, -EIO, "",
				"nobody knows the commit of the submodule %.256s", m->path);
	}
	m->path[len] = '\0';
	return r;
}

static int convert(
	struct making *m, const struct oid *shown, const struct oid *base, struct oid *ret_tree)
{
	struct oid ours = *shown;
	struct wf_dir dir, old;
	int r;

	if (oid_equal(&ours, base) && !has_links_below(m, m->path, strlen(m->path))) {
		*ret_tree = ours;
		return 0;
	}
	r = wf_load_merged(m->w, &ours, &dir);
	if (r < 0)
		return r;
	r = wf_load_dir(m->w, base, &old);
	if (r < 0) {
		wf_dir_fini(&dir);
		return r;
	}
	for (size_t i = 0; r == 0 && i < dir.count; i++)
		r = convert_entry(m, &dir.entries[i],
			wf_dir_find(&old, dir.entries[i].name, dir.entries[i].len));
	if (r == 0)
		r = write_dir(m, &dir, ret_tree);
	if (r == 0 && !oid_equal(&ours, ret_tree))
		r = add_same(m->list, &m->cap, &ours, ret_tree);
	wf_dir_fini(&dir);
	wf_dir_fini(&old);
	return r;
}

static int make(struct wf *w, struct wf_list *list)
{
	struct making *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->w = w;
	m->list = list;
	*list = (struct wf_list){.shown = w->use->root};
	r = tree_of_commit(w, &w->use->commit, &list->base);
	if (r == 0)
		r = find_links(m);
	if (r == 0)
		r = convert(m, &list->shown, &list->base, &list->index);
	if (r == 0 && list->same_count)
		qsort(list->same, list->same_count, sizeof(*list->same), by_first);
	if (r == 0)
		r = write_list(w->dirfd, list);
	for (size_t i = 0; i < m->link_count; i++)
		free(m->links[i].path);
	free(m->links);
	free(m);
	return r;
}

int wf_list_open(struct wf *w, bool may_make)
{
	struct wf_list list;
	int r = w->dirfd < 0 ? -ENOENT : wf_list_read(w->dirfd, &list);

	if (r == 0 && !oid_equal(&list.shown, &w->use->root)) {
		wf_list_fini(&list); /* of the change list before */
		r = -ENOENT;
	}
	if (r == -ENOENT || r == -EBADMSG) {
		if (!may_make)
			return -EAGAIN;
		r = make(w, &list);
		if (r < 0)
			wf_list_fini(&list);
	}
	if (r == 0)
		w->list = list;
	return r;
}

int wf_list_own(struct wf *w, const struct oid *blob)
{
	struct oid written;
	char *data;
	size_t len;
	int r;

	if (wf_odb_has(w, blob))
		return 0;
	r = wf_blob_read(w, blob, WF_OBJECT_MAX, &data, &len);
	if (r < 0)
		return r;
	r = wf_odb_write(w, WF_BLOB, data, len, &written);
	free(data);
	return r;
}
