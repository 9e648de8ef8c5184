/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See walk.h. In each directory the sides are merged by name; what remains are slots. A name that
 * is a file on one side and a directory on another is two things, with other places in Git's order,
 * so slots are turned into items: the file part, and the directory part behind it.
 *
 * Recursion is bounded by WF_DEPTH_MAX; the frames are small, levels live on the heap.
 */
#include "workflow/walk.h"

#include "workflow/attr.h"

#include <base/buf.h>
#include <base/err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TREE_MAX (256u << 20)

/* A name, and what the sides have there. */
struct slot {
	const char *name;
	size_t len;
	const struct wf_node *lower, *index, *head, *aside; /* NULL: nothing */
	const struct ovl_upper_entry *upper;                /* NULL: the lower shows through */
	bool dirs;                                          /* this is the part of directories */
};

struct slots {
	struct slot *at;
	size_t count, cap;
};

static const struct wf_node nothing;

/* ---- what a slot is ---- */

static bool is_submodule(const struct slot *s)
{
	return s->lower && s->lower->mode == WF_MODE_GITLINK &&
	       (!s->upper || S_ISDIR(s->upper->mode));
}

/* The job's side is a directory. What lies in that of a submodule is not ours. */
static bool work_is_dir(const struct slot *s)
{
	if (is_submodule(s))
		return false;
	return s->upper ? S_ISDIR(s->upper->mode) : s->lower && wf_is_dir(s->lower);
}

/* The job's side if it is no directory. Fifos, sockets and devices are nothing to Git. */
static struct wf_node work_node(const struct slot *s)
{
	struct wf_node n = {0};

	if (work_is_dir(s))
		return n;
	/* it is at whatever commit is staged, as far as anybody can tell from an empty directory;
	 * and an empty directory is nothing */
	if (is_submodule(s))
		return s->index && s->index->mode == WF_MODE_GITLINK ? *s->index : n;
	if (!s->upper)
		return s->lower ? *s->lower : n;
	if (S_ISLNK(s->upper->mode)) {
		n.mode = WF_MODE_LINK;
	} else if (S_ISREG(s->upper->mode)) {
		n.mode = s->upper->mode & 0100 ? WF_MODE_EXEC : WF_MODE_FILE;
		n.size = s->upper->size;
		n.size_known = true;
	}
	return n;
}

static struct wf_node file_of(const struct wf_node *n)
{
	return n && !wf_is_dir(n) ? *n : nothing;
}

static const struct oid *dir_of(const struct wf_node *n)
{
	return n && wf_is_dir(n) ? &n->oid : &nothing.oid;
}

static bool same(const struct wf_node *a, const struct wf_node *b)
{
	return wf_same(a ? a : &nothing, b ? b : &nothing);
}

/* ---- merging ---- */

static int slots_add(struct slots *s, const struct slot *slot)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 32;
		struct slot *at = reallocarray(s->at, cap, sizeof(*at));

		if (!at)
			return -ENOMEM;
		s->at = at;
		s->cap = cap;
	}
	s->at[s->count++] = *slot;
	return 0;
}

/* The job has hidden what lies below. */
static bool is_removed(const struct wf_walk *walk, const struct slot *s)
{
	return walk->removed && s->upper && !s->upper->mode && s->lower && !wf_is_dir(s->lower) &&
	       s->lower->mode != WF_MODE_GITLINK;
}

/* One name of the merge, as up to two items. */
static int add_items(const struct wf_walk *walk, struct slots *out, struct slot *s)
{
	const struct wf_node *sides[] = {s->index, s->head, s->aside};
	bool dir = work_is_dir(s), file = work_node(s).mode || is_removed(walk, s);
	int r = 0;

	for (unsigned i = 0; i < 3; i++) {
		dir |= sides[i] && wf_is_dir(sides[i]);
		file |= sides[i] && !wf_is_dir(sides[i]);
	}
	s->dirs = false;
	if (file)
		r = slots_add(out, s);
	s->dirs = true;
	return r == 0 && dir ? slots_add(out, s) : r;
}

struct cursor {
	const struct wf_dir *dir;
	size_t at;
};

static const struct wf_dirent *peek(const struct cursor *c)
{
	return c->at < c->dir->count ? &c->dir->entries[c->at] : NULL;
}

static void lesser(const char *name, size_t len, struct slot *s)
{
	if (!s->name || wf_git_order(name, len, false, s->name, s->len, false) < 0) {
		s->name = name;
		s->len = len;
	}
}

static const struct wf_node *take(struct cursor *c, const struct slot *s)
{
	const struct wf_dirent *d = peek(c);

	if (!d || d->len != s->len || memcmp(d->name, s->name, s->len) != 0)
		return NULL;
	c->at++;
	return &d->node;
}

/* The next name of all sides; false at the end. */
static bool next_name(struct cursor sides[4], const struct ovl_upper_dir *upper, size_t *upper_at,
	struct slot *ret_slot)
{
	const struct ovl_upper_entry *u =
		*upper_at < upper->count ? &upper->entries[*upper_at] : NULL;
	struct slot s = {0};

	for (unsigned i = 0; i < 4; i++)
		if (peek(&sides[i]))
			lesser(peek(&sides[i])->name, peek(&sides[i])->len, &s);
	if (u)
		lesser(u->name, u->name_len, &s);
	if (!s.name)
		return false;
	s.lower = take(&sides[0], &s);
	s.index = take(&sides[1], &s);
	s.head = take(&sides[2], &s);
	s.aside = take(&sides[3], &s);
	if (u && u->name_len == s.len && memcmp(u->name, s.name, s.len) == 0) {
		s.upper = u;
		(*upper_at)++;
	}
	*ret_slot = s;
	return true;
}

static bool is_dot_git(const struct slot *s)
{
	return s->len == 4 && memcmp(s->name, ".git", 4) == 0;
}

static int by_git_order(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return wf_git_order(x->name, x->len, x->dirs, y->name, y->len, y->dirs);
}

/* Names of the directory's items in Git's order. With `all`, also where nothing differs. */
static int merge(const struct wf_walk *walk, const struct wf_level *l, bool all, struct slots *out)
{
	struct cursor sides[4] = {{&l->lower, 0}, {&l->index, 0}, {&l->head, 0}, {&l->aside, 0}};
	size_t upper_at = 0;
	struct slot s;
	int r = 0;

	while (r == 0 && next_name(sides, &l->upper, &upper_at, &s)) {
		bool differs = s.upper || !same(s.lower, s.index) || !same(s.index, s.head) ||
			       (walk->with_aside && !same(s.head, s.aside));

		if ((differs || all) && !is_dot_git(&s))
			r = add_items(walk, out, &s);
	}
	if (r == 0 && out->count)
		qsort(out->at, out->count, sizeof(*out->at), by_git_order);
	return r;
}

/* ---- levels ---- */

static void level_free(struct wf_walk *walk, struct wf_level *l)
{
	if (!l)
		return;
	if (walk->leave)
		walk->leave(walk->arg, l);
	(void)wf_attr_free(l->attrs.file);
	(void)wf_attr_free(l->head_attrs.file);
	ovl_upper_close(&l->upper);
	/* sides that are the same tree share it */
	if (l->aside.memory != l->head.memory && l->aside.memory != l->lower.memory)
		wf_dir_fini(&l->aside);
	if (l->head.memory != l->index.memory && l->head.memory != l->lower.memory)
		wf_dir_fini(&l->head);
	if (l->index.memory != l->lower.memory)
		wf_dir_fini(&l->index);
	wf_dir_fini(&l->lower);
	free(l);
}

/* The sides of one directory. */
struct sides {
	struct ovl_upper_dir upper; /* fd -1: none */
	struct oid lower, index, head, aside;
};

static bool same_oid(const struct oid *a, const struct oid *b)
{
	return a->len == b->len && (a->len == 0 || oid_equal(a, b));
}

static int load_dir(const struct wf_walk *walk, const struct oid *tree, struct wf_dir *ret_dir)
{
	return walk->merged ? wf_load_merged(walk->w, tree, ret_dir)
			    : wf_load_dir(walk->w, tree, ret_dir);
}

static int load_level(struct wf_walk *walk, const struct sides *s, struct wf_level *l)
{
	int r = load_dir(walk, &s->lower, &l->lower);

	l->tracked = !oid_is_none(&s->index);
	l->lower_tree = s->lower;
	l->index_tree = s->index;
	l->head_tree = s->head;
	l->aside_tree = s->aside;
	l->excluded = -1;
	if (r == 0 && same_oid(&s->index, &s->lower))
		l->index = l->lower; /* shared; see level_free */
	else if (r == 0)
		r = load_dir(walk, &s->index, &l->index);
	if (r == 0 && same_oid(&s->head, &s->index))
		l->head = l->index;
	else if (r == 0 && same_oid(&s->head, &s->lower))
		l->head = l->lower;
	else if (r == 0)
		r = load_dir(walk, &s->head, &l->head);
	if (r < 0 || !walk->with_aside)
		return r;
	if (same_oid(&s->aside, &s->head))
		l->aside = l->head;
	else if (same_oid(&s->aside, &s->lower))
		l->aside = l->lower;
	else
		r = load_dir(walk, &s->aside, &l->aside);
	return r;
}

/* ---- building ---- */

static int build_tree(
	struct wf_walk *walk, const struct sides *s, struct buf *tree, struct oid *ret_tree)
{
	struct oid oid = {0};
	int r = buf_error(tree);

	if (r == 0 && tree->len) {
		/* What is staged already needs no second copy. */
		r = digest_object(DIGEST_SHA1, OBJECT_TREE, tree->data, tree->len, &oid);
		if (r == 0 && !same_oid(&oid, &s->index) && !same_oid(&oid, &s->lower) &&
			!same_oid(&oid, &s->head))
			r = wf_odb_write(walk->w, WF_TREE, tree->data, tree->len, &oid);
	}
	if (r == 0)
		*ret_tree = oid;
	return r;
}

/* ---- walking ---- */

static int walk_dir(struct wf_walk *walk, struct wf_level *up, struct sides *s, unsigned depth,
	struct oid *ret_tree);

static int visit_file(
	struct wf_walk *walk, struct wf_level *l, const struct slot *s, struct wf_node *ret)
{
	struct wf_item item = {
		.path = walk->path,
		.path_len = l->path_len + s->len,
		.name_at = l->path_len,
		.level = l,
		.head = file_of(s->head),
		.index = file_of(s->index),
		.work = walk->with_work    ? work_node(s)
			: walk->with_lower ? file_of(s->lower)
					   : nothing,
		.aside = file_of(s->aside),
		.upper = s->upper && !is_submodule(s) && !S_ISDIR(s->upper->mode) ? s->upper : NULL,
	};
	int r;

	item.result = item.index;
	if (!item.work.mode)
		item.upper = NULL;
	if (!is_removed(walk, s) && wf_same(&item.head, &item.index) &&
		(!walk->with_aside || wf_same(&item.head, &item.aside)) &&
		(!(walk->with_work || walk->with_lower) ||
			(!item.upper && wf_same(&item.index, &item.work)))) {
		*ret = item.result;
		return 0;
	}
	r = walk->visit(walk->arg, &item);
	*ret = item.result;
	return r;
}

static int visit_dir(struct wf_walk *walk, struct wf_level *l, const struct slot *s, unsigned depth,
	struct wf_node *ret)
{
	struct sides below = {.upper = OVL_UPPER_DIR_NONE,
		.index = *dir_of(s->index),
		.head = *dir_of(s->head),
		.aside = *dir_of(s->aside)};
	bool deep = walk->with_work && s->upper && work_is_dir(s);
	int r = 0;

	if (walk->with_work && work_is_dir(s) && !s->upper)
		below.lower = *dir_of(s->lower);
	else if (!walk->with_work)
		below.lower = walk->with_lower ? *dir_of(s->lower) : below.index;
	if (!deep && same_oid(&below.lower, &below.index) && same_oid(&below.index, &below.head) &&
		(!walk->with_aside || same_oid(&below.head, &below.aside))) {
		*ret = s->index ? *s->index : nothing;
		return 0;
	}
	if (deep) {
		const struct oid *lower = dir_of(s->lower);

		r = ovl_upper_enter(
			&l->upper, s->name, oid_is_none(lower) ? NULL : lower, &below.upper);
		if (r == -ENOENT || r == -ENOTDIR)
			r = 0; /* gone meanwhile: nothing is there */
		below.lower = below.upper.has_lower ? below.upper.lower : nothing.oid;
	}
	if (r == 0)
		r = walk_dir(walk, l, &below, depth + 1, &ret->oid);
	ret->mode = oid_is_none(&ret->oid) ? 0 : WF_MODE_DIR;
	return r;
}

static int visit_slot(struct wf_walk *walk, struct wf_level *l, const struct slot *s,
	unsigned depth, struct wf_node *ret)
{
	int r;

	if (l->path_len + s->len + 1 > WF_PATH_MAX || depth >= WF_DEPTH_MAX)
		return err_set(walk->w->e, -ENAMETOOLONG, "PATH_TOO_LONG",
			"a path is longer than %d bytes or deeper than %d directories: %.200s...",
			WF_PATH_MAX - 1, WF_DEPTH_MAX, walk->path);
	memcpy(walk->path + l->path_len, s->name, s->len);
	walk->path[l->path_len + s->len] = '\0';
	r = s->dirs ? visit_dir(walk, l, s, depth, ret) : visit_file(walk, l, s, ret);
	walk->path[l->path_len] = '\0';
	return r;
}

/* The directory of the same name; what lies between them in Git's order begins with it too. */
static size_t dir_of_name(const struct slots *slots, size_t at)
{
	const struct slot *s = &slots->at[at];

	for (size_t i = at + 1; i < slots->count; i++) {
		const struct slot *other = &slots->at[i];

		if (other->len < s->len || memcmp(other->name, s->name, s->len) != 0)
			break;
		if (other->len == s->len)
			return i;
	}
	return slots->count;
}

/* A file and what lies in a directory of its name cannot both be there: the one that is new takes
 * the other's place, also if only it was meant. */
static void settle(const struct slots *slots, struct wf_node *results)
{
	for (size_t i = 0; i < slots->count; i++) {
		const struct wf_node was = file_of(slots->at[i].index);
		size_t dir;

		if (slots->at[i].dirs || !results[i].mode)
			continue;
		dir = dir_of_name(slots, i);
		if (dir < slots->count && results[dir].mode)
			results[wf_same(&results[i], &was) ? i : dir].mode = 0;
	}
}

static int append_all(const struct slots *slots, struct wf_node *results, struct buf *tree)
{
	int r = 0;

	settle(slots, results);
	for (size_t i = 0; r == 0 && i < slots->count; i++)
		if (results[i].mode)
			r = wf_tree_append(tree, slots->at[i].name, slots->at[i].len, &results[i]);
	return r;
}

static int walk_slots(struct wf_walk *walk, struct wf_level *l, unsigned depth, struct buf *tree)
{
	struct slots slots = {0};
	struct wf_node *results = NULL;
	int r = wf_check(walk->w);

	if (r == 0)
		r = merge(walk, l, tree != NULL, &slots);
	if (r == 0 && tree && slots.count) {
		results = calloc(slots.count, sizeof(*results));
		r = results ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < slots.count; i++) {
		struct wf_node alone = {0};

		r = visit_slot(walk, l, &slots.at[i], depth, results ? &results[i] : &alone);
		if (walk->skip_len && l->path_len >= walk->skip_len)
			break;
		walk->skip_len = 0;
	}
	if (r == 0 && results)
		r = append_all(&slots, results, tree);
	free(results);
	free(slots.at);
	return r;
}

/* Takes s->upper. */
static int walk_dir(struct wf_walk *walk, struct wf_level *up, struct sides *s, unsigned depth,
	struct oid *ret_tree)
{
	struct wf_level *l = calloc(1, sizeof(*l));
	struct buf tree;
	int r;

	if (!l) {
		ovl_upper_close(&s->upper);
		return -ENOMEM;
	}
	l->up = up;
	l->upper = s->upper;
	l->path_len = strlen(walk->path);
	if (up) {
		walk->path[l->path_len++] = '/';
		walk->path[l->path_len] = '\0';
	}
	buf_init(&tree, TREE_MAX);
	r = load_level(walk, s, l);
	if (r == 0 && walk->enter && !walk->enter(walk->arg, walk->path, l->path_len, l)) {
		*ret_tree = s->index;
	} else if (r == 0) {
		r = walk_slots(walk, l, depth, walk->build ? &tree : NULL);
		if (r == 0 && walk->build)
			r = build_tree(walk, s, &tree, ret_tree);
	}
	buf_fini(&tree);
	level_free(walk, l);
	return r;
}

int wf_walk(struct wf_walk *walk, struct oid *ret_tree)
{
	struct sides s = {.upper = OVL_UPPER_DIR_NONE,
		.lower = walk->lower,
		.index = walk->index,
		.head = walk->head,
		.aside = walk->aside};
	struct oid tree = {0};
	int r = 0;

	walk->path[0] = '\0';
	walk->skip_len = 0;
	if (walk->with_work) {
		r = ovl_upper_root(walk->w->ws, &s.upper);
		s.lower = s.upper.has_lower ? s.upper.lower : nothing.oid;
	} else if (!walk->with_lower) {
		s.lower = s.index;
	}
	if (r == 0)
		r = walk_dir(walk, NULL, &s, 0, &tree);
	if (r == 0 && ret_tree)
		*ret_tree = tree;
	return r;
}
