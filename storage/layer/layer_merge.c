/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lays sorted changes over a tree. One pass: a frame is open for each directory on the way to the
 * present change, and collects edits; when the changes have left a directory it is built, and is an
 * edit of the one above.
 *
 *	frame src/lib: edits {a.c → ..., gone.c → nothing}     closed at the first change outside
 *	frame src:     edits {lib → the tree that came out}
 *	frame root
 *
 * After the first conflict nothing is built any more: the rest is only looked at, to tell all of
 * them. Trees are stored before the root is told; a part of them may be in the index after a
 * failure, which hurts nobody: they are named by content.
 *
 * Memory: the open frames' edits, and up to PENDING_BYTES of records that are not stored yet.
 */
#include "layer/layer_internal.h"

#include "base/cleanup.h"
#include "base/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PENDING_BYTES (8u << 20)
#define DEPTH_MAX     2048u /* components of a path of 4095 bytes */

/* An edit, and what has to be known of it until its directory is closed. */
struct note {
	struct layer_edit edit;
	struct oid over; /* of a file: the directory that it replaces, which must become empty */
	struct oid base; /* of a directory: what it was, to see that nothing has changed */
	size_t change;   /* for messages: below or at this path */
};

enum frame_kind {
	FRAME_DIR,
	FRAME_GHOST, /* gives way to a file: all in it must go */
	FRAME_DEAD   /* cannot be; told already */
};

struct frame {
	enum frame_kind kind;
	const char *name; /* in a change's path */
	uint8_t name_len;
	size_t path_len; /* of the directory's path, in that change's */
	struct oid base; /* none: empty */
	struct note *notes;
	size_t count, cap;
};

struct merger {
	struct layer *layer;
	struct layer_source *source;
	struct layer_report *report;
	struct frame *frames; /* the root first */
	size_t depth;
	struct tree_record pending[TREE_RECORDS_MAX];
	unsigned pending_count;
	size_t pending_bytes;
	struct layer_entry root; /* what the outermost frame became */
};

/* ---- telling ---- */

static void tell(struct merger *m, const char *path, size_t len, const char *reason)
{
	char text[4096];

	if (m->report->conflicts++ >= LAYER_CONFLICTS_MAX || !m->report->fn)
		return;
	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, path, len);
	text[len] = '\0';
	m->report->fn(m->report->arg, text, reason);
}

static void tell_change(struct merger *m, const struct change *c, const char *reason)
{
	tell(m, layer_path(m->layer, c), c->len, reason);
}

/* ---- storing ---- */

static int flush(struct merger *m)
{
	int r = m->pending_count ? m->source->ops->put(m->source, m->pending, m->pending_count) : 0;

	for (unsigned i = 0; i < m->pending_count; i++)
		free((void *)(uintptr_t)m->pending[i].record);
	m->pending_count = 0;
	m->pending_bytes = 0;
	return r;
}

static int store(struct merger *m, const struct tree_record *record)
{
	m->pending[m->pending_count++] = *record;
	m->pending_bytes += record->len;
	return m->pending_count == TREE_RECORDS_MAX || m->pending_bytes >= PENDING_BYTES ? flush(m)
											 : 0;
}

/* ---- looking ---- */

/* What the base has under the name. */
static int look(struct merger *m, const struct frame *f, const char *name, size_t len,
	struct layer_entry *ret_entry)
{
	struct tree_view view;
	struct tree_entry e;
	uint32_t idx;
	int r;

	*ret_entry = (struct layer_entry){0};
	if (oid_is_none(&f->base))
		return 0;
	r = m->source->ops->tree(m->source, &f->base, &view);
	if (r < 0)
		return r;
	if (tree_view_find(&view, name, len, &idx)) {
		tree_view_entry(&view, idx, &e);
		*ret_entry = (struct layer_entry){
			.mode = e.mode, .size_known = e.size_known, .size = e.size};
		if (e.oid)
			ret_entry->oid = oid_from_bytes(e.oid, view.oid_len);
	}
	tree_view_end(&view);
	return 0;
}

static bool same(const struct layer_entry *a, const struct layer_entry *b)
{
	return a->mode == b->mode && oid_equal(&a->oid, &b->oid);
}

static bool is_tree(const struct layer_entry *e)
{
	return S_ISDIR(e->mode) && !oid_is_none(&e->oid);
}

/* ---- frames ---- */

static struct frame *top(struct merger *m)
{
	return &m->frames[m->depth - 1];
}

static int push(struct merger *m, const struct frame *f)
{
	if (m->depth == DEPTH_MAX)
		return -ENAMETOOLONG;
	m->frames[m->depth++] = *f;
	return 0;
}

static struct note *last_note(struct frame *f)
{
	return f->count ? &f->notes[f->count - 1] : NULL;
}

static bool is_named(const struct note *n, const char *name, size_t len)
{
	return n && n->edit.name_len == len && memcmp(n->edit.name, name, len) == 0;
}

static int add_note(struct frame *f, const struct note *note)
{
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 8;
		struct note *notes = reallocarray(f->notes, cap, sizeof(*notes));

		if (!notes)
			return -ENOMEM;
		f->notes = notes;
		f->cap = cap;
	}
	f->notes[f->count++] = *note;
	return 0;
}

/* ---- closing ---- */

/* Sizes of the base's files that nobody knows yet, in the order of the entries. */
static int need_sizes(struct merger *m, const struct oid *base, uint64_t **ret_sizes)
{
	_cleanup_free_ struct oid *oids = NULL;
	_cleanup_free_ uint64_t *sizes = NULL;
	struct tree_view view;
	struct tree_entry e;
	uint32_t count = 0;
	int r = m->source->ops->tree(m->source, base, &view);

	if (r < 0)
		return r;
	if (!view.sizes_known) {
		oids = reallocarray(NULL, view.count + 1u, sizeof(*oids));
		for (uint32_t i = 0; oids && i < view.count; i++) {
			tree_view_entry(&view, i, &e);
			if (!e.size_known && !S_ISDIR(e.mode) && e.oid)
				oids[count++] = oid_from_bytes(e.oid, view.oid_len);
		}
		r = oids ? 0 : -ENOMEM;
	}
	tree_view_end(&view);
	if (r < 0 || count == 0)
		return r;
	sizes = reallocarray(NULL, count, sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = m->source->ops->size(m->source, &oids[i], &sizes[i]);
	if (r == 0)
		*ret_sizes = TAKE_PTR(sizes);
	return r;
}

/* The layer_dir of a frame, with its base's view open and its edits to be freed. */
struct opened {
	struct layer_dir dir;
	struct tree_view view;
	struct layer_edit *edits;
	uint64_t *sizes;
	bool viewed;
};

static void opened_end(struct opened *o)
{
	if (o->viewed)
		tree_view_end(&o->view);
	free(o->edits);
	free(o->sizes);
}

static int open_frame(struct merger *m, const struct frame *f, bool with_sizes, struct opened *o)
{
	int r = 0;

	o->dir.oid_len = m->layer->oid_len;
	o->edits = reallocarray(NULL, f->count + 1, sizeof(*o->edits));
	if (!o->edits)
		return -ENOMEM;
	for (size_t i = 0; i < f->count; i++)
		o->edits[i] = f->notes[i].edit;
	o->dir.edits = o->edits;
	o->dir.edit_count = f->count;
	if (oid_is_none(&f->base))
		return 0;
	if (with_sizes)
		r = need_sizes(m, &f->base, &o->sizes);
	if (r == 0)
		r = m->source->ops->tree(m->source, &f->base, &o->view);
	if (r < 0)
		return r;
	o->viewed = true;
	o->dir.base = &o->view;
	o->dir.sizes = o->sizes;
	return 0;
}

/* What the frame's directory has become: nothing if it is empty. */
static int build(struct merger *m, const struct frame *f, bool keep_empty, struct layer_entry *ret)
{
	__attribute__((cleanup(opened_end))) struct opened o = {0};
	struct tree_record record;
	int r;

	*ret = (struct layer_entry){.mode = S_IFDIR | 0755, .oid = f->base};
	if (f->count == 0 && (!oid_is_none(&f->base) || !keep_empty)) {
		if (oid_is_none(&f->base))
			*ret = (struct layer_entry){0};
		return 0; /* nothing has changed */
	}
	r = open_frame(m, f, true, &o);
	if (r < 0)
		return r;
	if (!keep_empty && layer_tree_empty(&o.dir)) {
		*ret = (struct layer_entry){0};
		return 0;
	}
	r = layer_tree_build(&o.dir, &record);
	if (r < 0)
		return r;
	ret->oid = record.tree;
	if (o.viewed) /* before anything that blocks */
		tree_view_end(&o.view);
	o.viewed = false;
	return store(m, &record);
}

static int is_left(struct merger *m, const struct frame *f, bool *ret_left)
{
	__attribute__((cleanup(opened_end))) struct opened o = {0};
	int r = open_frame(m, f, false, &o);

	if (r == 0)
		*ret_left = !layer_tree_empty(&o.dir);
	return r;
}

/* A file in the place of a directory that nobody emptied. */
static void check_replaced(struct merger *m, const struct frame *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!oid_is_none(&f->notes[i].over))
			tell_change(m, &m->layer->changes[f->notes[i].change],
				"is a directory there, with files that the change does not know");
}

/* The directory above learns what has become of this one. */
static int note_result(struct merger *m, const struct frame *f, const struct layer_entry *now)
{
	struct frame *above = top(m);
	struct note *n = last_note(above);
	struct note fresh = {.edit = {f->name, f->name_len, *now}};

	if (is_named(n, f->name, f->name_len)) {
		n->edit.entry = *now;
		return 0;
	}
	if (now->mode ? oid_equal(&now->oid, &f->base) : oid_is_none(&f->base))
		return 0; /* as it was */
	return add_note(above, &fresh);
}

static int close_frame(struct merger *m)
{
	struct frame f = m->frames[--m->depth];
	struct layer_entry now = {0};
	bool left = false, root = m->depth == 0;
	int r = 0;

	check_replaced(m, &f);
	if (f.kind == FRAME_DIR && m->report->conflicts == 0)
		r = build(m, &f, root, &now);
	else if (f.kind != FRAME_DEAD)
		r = is_left(m, &f, &left);
	if (left)
		now = (struct layer_entry){.mode = S_IFDIR | 0755, .oid = f.base};
	if (r == 0 && root)
		m->root = now;
	else if (r == 0 && f.kind == FRAME_DIR)
		r = note_result(m, &f, &now);
	else if (r == 0 && f.kind == FRAME_GHOST && !left) /* the file may have the name */
		last_note(top(m))->over = (struct oid){0};
	free(f.notes);
	return r;
}

/* ---- changes ---- */

/* A step down to a directory that the next change is in. */
static int enter(struct merger *m, const struct change *c, const char *name, size_t len)
{
	struct frame *above = top(m);
	struct note *n = last_note(above);
	struct frame f = {.name = name,
		.name_len = (uint8_t)len,
		.path_len = (size_t)(name - layer_path(m->layer, c)) + len};
	struct layer_entry there = {0};
	int r = 0;

	if (above->kind == FRAME_DEAD) {
		f.kind = FRAME_DEAD;
		return push(m, &f);
	}
	if (is_named(n, name, len)) {
		if (is_tree(&n->edit.entry)) {
			f.base = n->edit.entry.oid;
		} else if (n->edit.entry.mode) {
			f.kind = oid_is_none(&n->over) ? FRAME_DEAD : FRAME_GHOST;
			f.base = n->over;
		}
		if (f.kind == FRAME_DEAD)
			tell_change(m, c, "is below a file of the same change");
		return push(m, &f);
	}
	r = look(m, above, name, len, &there);
	if (r == 0 && there.mode && !is_tree(&there)) {
		tell_change(m, c, "is below something that is not a directory");
		f.kind = FRAME_DEAD;
	}
	f.base = there.oid;
	return r < 0 ? r : push(m, &f);
}

/* NULL: it fits. */
static const char *misfit(const struct change *c, const struct layer_entry *there)
{
	if (!c->expects || same(there, &c->old) || same(there, &c->put))
		return NULL;
	if (!c->old.mode && is_tree(there) && !is_tree(&c->put))
		return NULL; /* in the place of a directory, which must become empty */
	if (!there->mode)
		return "is not there";
	return c->old.mode ? "was changed" : "is there already";
}

static int apply(struct merger *m, const struct change *c, const char *name, size_t len)
{
	struct note n = {
		.edit = {name, (uint8_t)len, c->put}, .change = (size_t)(c - m->layer->changes)};
	struct frame *f = top(m);
	struct layer_entry there;
	const char *reason;
	int r;

	if (f->kind == FRAME_DEAD)
		return 0;
	r = look(m, f, name, len, &there);
	if (r < 0)
		return r;
	reason = misfit(c, &there);
	if (!reason && f->kind == FRAME_GHOST && c->put.mode)
		reason = "is below a file of the same change";
	if (reason) {
		tell_change(m, c, reason);
		return 0;
	}
	if (same(&there, &c->put))
		return 0;
	if (c->put.mode && !S_ISDIR(c->put.mode) && !c->put.size_known) {
		r = m->source->ops->size(m->source, &c->put.oid, &n.edit.entry.size);
		n.edit.entry.size_known = r == 0;
	}
	if (c->put.mode && !is_tree(&c->put) && is_tree(&there) && !c->replaces)
		n.over = there.oid;
	return r < 0 ? r : add_note(f, &n);
}

/* Is the open directory of frame `i` one that the path goes through? */
static bool goes_through(const struct merger *m, size_t i, const char *path, size_t len)
{
	const struct frame *f = &m->frames[i];

	return len > f->path_len && path[f->path_len] == '/' &&
	       memcmp(f->name + f->name_len - f->path_len, path, f->path_len) == 0;
}

static int change(struct merger *m, const struct change *c)
{
	const char *path = layer_path(m->layer, c), *rest, *name = path;
	size_t len = 0;
	int r = 0;

	while (r == 0 && m->depth > 1 && !goes_through(m, m->depth - 1, path, c->len))
		r = close_frame(m);
	rest = path + top(m)->path_len + (m->depth > 1 ? 1 : 0);
	while (r == 0 && path_next(&rest, &name, &len)) {
		if (!*rest)
			return apply(m, c, name, len);
		r = enter(m, c, name, len);
	}
	return r;
}

int layer_merge(struct layer *l, struct layer_source *source, const struct oid *base,
	struct layer_report *report, struct oid *ret_root)
{
	struct merger m = {.layer = l, .source = source, .report = report};
	int r = layer_sort(l), stored;

	report->conflicts = 0;
	if (r < 0)
		return r;
	m.frames = calloc(DEPTH_MAX, sizeof(*m.frames));
	if (!m.frames)
		return -ENOMEM;
	r = push(&m, &(struct frame){.base = *base});
	for (size_t i = 0; i < l->count && r == 0; i++)
		r = change(&m, &l->changes[i]);
	while (m.depth > 0 && r == 0)
		r = close_frame(&m);
	while (m.depth > 0)
		free(m.frames[--m.depth].notes);
	stored = flush(&m);
	free(m.frames);
	if (r == 0 && report->conflicts > 0)
		r = -ESTALE;
	if (r == 0)
		r = stored;
	if (r == 0)
		*ret_root = m.root.oid;
	return r;
}
