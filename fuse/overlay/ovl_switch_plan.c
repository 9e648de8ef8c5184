/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a switch changes: a walk from the root down, over directories that were ever entered and
 * whose trees differ, each old and new tree side by side. Of others the kernel knows at most the
 * attributes.
 *
 * What the upper has under a name hides the difference there, but for a merged directory, which is
 * walked on. Calls are kept out; names and marks are read under the directories' locks because of
 * forgets.
 */
#include "overlay/ovl_switch.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A sub-directory that may be walked, noted while the trees are being read. */
struct below {
	uint64_t id;
	bool upper; /* the upper has one there: is it merged with the lower's? */
	bool dead;
	struct oid old_tree, new_tree;
	size_t name_at, name_len;
};

struct walk {
	struct sw *sw;
	struct sw_dir *d;
	struct tree_view old_view, new_view;
	bool has_old, has_new, loaded;
	struct below *below;
	size_t below_count, below_cap;
	char *names;
	size_t names_len, names_cap;
};

/* One side of a name. */
struct side {
	bool exists;
	uint64_t id; /* local; 0: it has none */
	struct tree_entry e;
	struct oid oid;
};

int ovl_sw_grow(void **array, size_t count, size_t *cap, size_t size)
{
	size_t more = *cap ? 2 * *cap : 16;
	void *grown;

	if (count < *cap)
		return 0;
	grown = reallocarray(*array, more, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*cap = more;
	return 0;
}

int ovl_sw_notice(struct sw *sw, uint64_t parent, uint64_t child, const char *name, size_t len)
{
	struct ovl_switched *out = sw->out;
	char *copy = name ? strndup(name, len) : NULL;
	int r = name && !copy ? -ENOMEM : 0;

	if (r == 0)
		r = ovl_sw_grow((void **)&out->notices, out->notice_count, &sw->notice_cap,
			sizeof(*out->notices));
	if (r < 0)
		free(copy);
	else
		out->notices[out->notice_count++] = (struct ovl_notice){parent, child, copy};
	return r;
}

int ovl_sw_note_missing(struct sw *sw, const struct oid *tree)
{
	struct ovl_switched *out = sw->out;
	int r = ovl_sw_grow((void **)&out->missing, out->missing_count, &sw->missing_cap,
		sizeof(*out->missing));

	if (r == 0)
		out->missing[out->missing_count++] = *tree;
	return r;
}

static uint64_t full_id(const struct sw *sw, uint64_t local)
{
	return sw->ws->serial << OVL_LOCAL_BITS | local;
}

static bool is_known(const struct sw *sw, uint64_t id)
{
	return ovl_refs_get(sw->ws, ovl_local(id)) > 0;
}

static bool was_entered(const struct sw *sw, uint64_t id)
{
	struct ovl_block block;

	return ovl_map_newest(sw->ws, id) || ovl_block_newest(sw->ws, id, &block);
}

/* ---- the queue ---- */

static char *push_dir(struct sw *sw, const struct sw_dir *init, size_t path_len)
{
	struct sw_dir *d = malloc(sizeof(*d) + path_len + 1);

	if (!d)
		return NULL;
	*d = *init;
	d->known = is_known(sw, d->id);
	*sw->end = d;
	sw->end = &d->next;
	return d->path;
}

static int queue_below(struct walk *w, const struct below *b, struct ovl_node *node)
{
	const struct sw_dir init = {.id = b->id,
		.node = node,
		.old_tree = b->old_tree,
		.new_tree = b->new_tree,
		.dead = b->dead};
	size_t parent_len = strlen(w->d->path), slash = parent_len ? 1 : 0;
	char *path = push_dir(w->sw, &init, parent_len + slash + b->name_len);

	if (!path)
		return -ENOMEM;
	memcpy(path, w->d->path, parent_len);
	if (slash)
		path[parent_len] = '/';
	memcpy(path + parent_len + slash, w->names + b->name_at, b->name_len + 1);
	return 0;
}

/* ---- what ids the entries had ---- */

static void find_ids(struct walk *w)
{
	struct sw_dir *d = w->d;
	const struct oid *tree = w->sw->recall ? &d->new_tree : &d->old_tree;
	uint32_t count = w->sw->recall ? w->new_view.count : w->old_view.count;
	struct ovl_block block;

	d->old_count = w->has_old ? w->old_view.count : 0;
	if (w->loaded) {
		d->has_ids = true;
		d->old_map = d->node->dir->map;
		d->old_base = d->node->dir->block_base;
		return;
	}
	d->old_map = ovl_map_of(w->sw->ws, d->id, tree);
	if (d->old_map) {
		d->has_ids = d->old_map->count == count;
	} else if (ovl_block_newest(w->sw->ws, d->id, &block)) {
		d->has_ids = oid_equal(&block.tree, tree) && block.count == count;
		d->old_base = block.base;
	}
}

static uint64_t old_id(const struct sw_dir *d, uint32_t idx)
{
	return d->old_map ? ovl_map_id(d->old_map, idx) : d->old_base + idx;
}

static struct side side_of(const struct tree_view *view, uint32_t idx)
{
	struct side s = {.exists = true};

	tree_view_entry(view, idx, &s.e);
	if (s.e.oid)
		s.oid = oid_from_bytes(s.e.oid, view->oid_len);
	return s;
}

static bool is_dir(const struct side *s)
{
	return s->exists && S_ISDIR(s->e.mode);
}

static bool is_same(const struct side *a, const struct side *b)
{
	return a->e.mode == b->e.mode && oid_equal(&a->oid, &b->oid);
}

/* ---- one name that differs ---- */

static int note_below(struct walk *w, const struct below *init, const struct tree_entry *e)
{
	int r = ovl_sw_grow((void **)&w->below, w->below_count, &w->below_cap, sizeof(*w->below));

	while (r == 0 && w->names_cap - w->names_len <= e->name_len)
		r = ovl_sw_grow((void **)&w->names, w->names_cap, &w->names_cap, 1);
	if (r < 0)
		return r;
	w->below[w->below_count] = *init;
	w->below[w->below_count].name_at = w->names_len;
	w->below[w->below_count++].name_len = e->name_len;
	memcpy(w->names + w->names_len, e->name, e->name_len);
	w->names[w->names_len + e->name_len] = '\0';
	w->names_len += e->name_len + 1u;
	return 0;
}

/* A lower file that has a node, perhaps because it is open: it has no name from now on. */
static int note_gone(struct sw *sw, uint64_t id)
{
	struct ovl_node *n = ovl_table_pin(sw->ws, id);
	int r;

	if (!n)
		return 0;
	r = n->dir || ovl_has(n, OVL_UPPER) ? 1
					    : ovl_sw_grow((void **)&sw->gone, sw->gone_count,
						      &sw->gone_cap, sizeof(struct ovl_node *));
	if (r == 0)
		sw->gone[sw->gone_count++] = n;
	else
		ovl_unpin_raw(n);
	return r > 0 ? 0 : r;
}

/* The lower's entry was seen, and is not any more, or is another object. */
static int lose(struct walk *w, const struct side *was)
{
	uint64_t id = full_id(w->sw, was->id);
	struct below b = {.id = id, .dead = true, .old_tree = was->oid};
	int r = 0;

	if (w->d->known && is_known(w->sw, id))
		r = ovl_sw_notice(w->sw, w->d->id, id, was->e.name, was->e.name_len);
	if (r < 0)
		return r;
	return is_dir(was) ? note_below(w, &b, &was->e) : note_gone(w->sw, id);
}

static int differ_visibly(struct walk *w, const struct side *was, const struct side *is)
{
	struct sw_dir *d = w->d;
	struct below b = {.id = full_id(w->sw, was->id)};
	const struct tree_entry *e;

	if (is_dir(was) && is_dir(is)) { /* the same directory */
		b.old_tree = was->oid;
		b.new_tree = is->oid;
		return note_below(w, &b, &was->e);
	}
	d->changed = true;
	if (was->exists && !w->sw->recall)
		return lose(w, was);
	if (!d->known)
		return 0;
	e = was->exists ? &was->e : &is->e;
	return ovl_sw_notice(w->sw, d->id, 0, e->name, e->name_len);
}

static int note_drop(struct sw_dir *d, const char *name, size_t len)
{
	char *drops = realloc(d->drops, d->drops_len + len + 1);

	if (!drops)
		return -ENOMEM;
	d->drops = drops;
	memcpy(drops + d->drops_len, name, len);
	drops[d->drops_len + len] = '\0';
	d->drops_len += len + 1;
	return 0;
}

/* Is what the upper has there to go? */
static int ask_drop(struct walk *w, const struct ovl_child *c)
{
	const struct ovl_switch_config *config = w->sw->config;
	struct sw_dir *d = w->d;
	uint64_t child = c->node && is_known(w->sw, c->node->id) ? c->node->id : 0;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!config->drop)
		return 0;
	if (asprintf(&path, "%s%s%s", d->path, *d->path ? "/" : "", c->name) < 0)
		return -ENOMEM;
	if (!config->drop(config->arg, path))
		return 0;
	d->changed = true;
	r = note_drop(d, c->name, c->name_len);
	if (r == 0 && d->known)
		r = ovl_sw_notice(w->sw, d->id, child, c->name, c->name_len);
	return r;
}

static int differ(struct walk *w, const struct side *was, const struct side *is)
{
	const struct tree_entry *e = was->exists ? &was->e : &is->e;
	const struct ovl_child *c =
		w->loaded ? ovl_names_find(&w->d->node->dir->names, e->name, e->name_len) : NULL;
	struct below b = {.upper = true};

	w->sw->out->entries++;
	if (!c)
		return differ_visibly(w, was, is);
	if (c->type != DT_DIR)
		return ask_drop(w, c);
	if (is_dir(was))
		b.old_tree = was->oid;
	if (is_dir(is))
		b.new_tree = is->oid;
	b.id = c->node ? c->node->id : was->id ? full_id(w->sw, was->id) : 0;
	return b.id ? note_below(w, &b, e) : 0;
}

/* ---- both trees side by side ---- */

static int order_of(const struct tree_entry *a, const struct tree_entry *b)
{
	size_t common = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(a->name, b->name, common);

	return order ? order : (int)a->name_len - (int)b->name_len;
}

static int compare_entries(struct walk *w)
{
	static const struct side nothing = {.exists = false};
	struct sw_dir *d = w->d;
	uint32_t i = 0, j = 0;
	int r = 0;

	while (r == 0 && (i < d->old_count || j < d->count)) {
		struct side was = i < d->old_count ? side_of(&w->old_view, i) : nothing;
		struct side is = j < d->count ? side_of(&w->new_view, j) : nothing;
		int order = !was.exists ? 1 : !is.exists ? -1 : order_of(&was.e, &is.e);
		bool stays;

		if (was.exists && order <= 0)
			i++;
		else
			was = nothing;
		if (is.exists && order >= 0)
			j++;
		else
			is = nothing;
		if (was.exists && !w->sw->recall)
			was.id = old_id(d, i - 1);
		else if (was.exists && is.exists)
			was.id = old_id(d, j - 1);
		stays = order == 0 && (is_same(&was, &is) || (is_dir(&was) && is_dir(&is)));
		if (is.exists)
			d->ids[j - 1] = stays ? was.id : 0;
		d->fresh += is.exists && !stays;
		if (order != 0 || !is_same(&was, &is))
			r = differ(w, &was, &is);
	}
	return r;
}

/* All that the kernel knows below goes. */
static int lose_entries(struct walk *w)
{
	struct sw_dir *d = w->d;
	int r = 0;

	for (uint32_t i = 0; r == 0 && d->has_ids && i < d->old_count; i++) {
		struct side was = side_of(&w->old_view, i);

		was.id = old_id(d, i);
		r = lose(w, &was);
	}
	return r;
}

static int walk_entries(struct walk *w)
{
	struct sw_dir *d = w->d;

	find_ids(w);
	if (d->dead)
		return lose_entries(w);
	if (!d->has_ids)
		return 0; /* nobody has seen an entry of it */
	d->count = w->has_new ? w->new_view.count : 0;
	d->ids = d->count ? calloc(d->count, sizeof(*d->ids)) : NULL;
	if (d->count && !d->ids)
		return -ENOMEM;
	return compare_entries(w);
}

/* ---- the directories below ---- */

/* Does the upper's directory show what its parent's lower has under its name? */
static int is_merged(struct ovl_node *n, bool *ret_merged)
{
	struct oid tree;
	bool redirected = false, opaque = false;
	int fd, r = ovl_fd_get(n, &fd);

	if (r < 0)
		return r;
	r = ovl_redirect_get(fd, "", &tree, &redirected);
	if (r == 0)
		r = ovl_opaque_get(fd, "", &opaque);
	ovl_fd_put(n);
	*ret_merged = !redirected && !opaque;
	return r;
}

static int take_below(struct walk *w, const struct below *b)
{
	struct ovl_node *n = ovl_table_pin(w->sw->ws, b->id);
	bool merged = true;
	int r = 0;

	if (oid_equal(&b->old_tree, &b->new_tree) && !b->dead) {
		r = 0; /* a directory's mode is not shown */
	} else if (n && !n->dir) {
		r = 0; /* another object had this id first */
	} else {
		if (n && b->upper)
			r = is_merged(n, &merged);
		if (r == 0 && merged && (n || was_entered(w->sw, b->id))) {
			r = queue_below(w, b, n);
			if (r == 0)
				return 0;
		} else if (r == 0 && merged && !b->dead && is_known(w->sw, b->id)) {
			r = ovl_sw_notice(w->sw, b->id, 0, NULL, 0); /* its links, perhaps */
		}
	}
	if (n)
		ovl_unpin_raw(n);
	return r;
}

/* ---- one directory ---- */

static int open_view(struct walk *w, const struct oid *tree, struct tree_view *view, bool *ret_open)
{
	struct lower *lower = w->sw->ws->lower;
	int r;

	*ret_open = false;
	if (oid_is_none(tree))
		return 0;
	r = lower->ops->tree(lower, tree, view);
	if (r == -EAGAIN)
		return ovl_sw_note_missing(w->sw, tree);
	*ret_open = r == 0;
	return r;
}

/* One that a killed process had entered: its names count. */
static int load(struct walk *w)
{
	struct sw_dir *d = w->d;
	struct ovl_req rq = {0};
	int r = 0;

	if (!d->node || d->dead)
		return 0;
	if (!atomic_load(&d->node->dir->names_loaded) && was_entered(w->sw, d->id))
		r = ovl_dir_load(d->node, &rq);
	if (r == -EAGAIN)
		r = ovl_sw_note_missing(w->sw, &rq.need.oid);
	ovl_need_drop(&rq.need);
	w->loaded = atomic_load(&d->node->dir->names_loaded);
	return r;
}

static int walk_dir(struct walk *w)
{
	struct sw_dir *d = w->d;
	size_t missing = w->sw->out->missing_count;
	int r = load(w);

	if (r < 0 || w->sw->out->missing_count > missing)
		return r;
	r = open_view(w, &d->old_tree, &w->old_view, &w->has_old);
	if (r == 0)
		r = open_view(w, &d->new_tree, &w->new_view, &w->has_new);
	if (r == 0 && w->sw->out->missing_count == missing) {
		if (w->loaded)
			lock_acquire(&d->node->dir->lock);
		r = walk_entries(w);
		if (w->loaded)
			lock_release(&d->node->dir->lock);
	}
	if (w->has_old)
		tree_view_end(&w->old_view);
	if (w->has_new)
		tree_view_end(&w->new_view);
	for (size_t i = 0; r == 0 && i < w->below_count; i++)
		r = take_below(w, &w->below[i]);
	if (r == 0 && d->known && !d->dead)
		r = ovl_sw_notice(w->sw, d->id, 0, NULL, 0);
	w->sw->out->directories++;
	return r;
}

int ovl_sw_plan(struct sw *sw)
{
	struct ovl_ws *ws = sw->ws;
	const struct sw_dir root = {.id = ovl_ws_root_id(ws),
		.node = ws->root,
		.old_tree = sw->recall ? *sw->recall : ws->root_tree,
		.new_tree = *sw->config->root};
	char *path = push_dir(sw, &root, 0);
	int r = path ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	*path = '\0';
	ovl_pin_raw(ws->root);
	for (struct sw_dir *d = sw->first; r == 0 && d; d = d->next) {
		struct walk w = {.sw = sw, .d = d};

		r = walk_dir(&w);
		free(w.below);
		free(w.names);
	}
	return r == 0 && sw->out->missing_count ? -EAGAIN : r;
}
