/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One directory: its entries and the edits, both sorted by name, merged into a packed directory and
 * into the bytes that Git would hash, whose order is another one (a directory is sorted as if its
 * name ended in '/'). Pure, but for memory.
 */
#include "layer/layer_internal.h"

#include "base/cleanup.h"
#include "tree/tree_codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct merge {
	const struct layer_dir *dir;
	uint32_t base_at;
	size_t edit_at, size_at;
};

static uint32_t base_count(const struct merge *m)
{
	return m->dir->base ? m->dir->base->count : 0;
}

static struct tree_builder_entry from_base(struct merge *m, const struct tree_entry *e)
{
	struct tree_builder_entry b = {.name = e->name,
		.name_len = e->name_len,
		.mode = e->mode,
		.size_known = e->size_known,
		.size = e->size};

	if (e->oid)
		b.oid = oid_from_bytes(e->oid, m->dir->oid_len);
	if (!b.size_known && !S_ISDIR(b.mode) && m->dir->sizes) {
		b.size_known = true;
		b.size = m->dir->sizes[m->size_at];
	}
	m->size_at += !e->size_known && !S_ISDIR(e->mode);
	return b;
}

static struct tree_builder_entry from_edit(const struct layer_edit *edit)
{
	return (struct tree_builder_entry){.name = edit->name,
		.name_len = edit->name_len,
		.mode = edit->entry.mode,
		.oid = edit->entry.oid,
		.size_known = edit->entry.size_known,
		.size = edit->entry.size};
}

/* The next entry that remains; false at the end. */
static bool next(struct merge *m, struct tree_builder_entry *ret_entry)
{
	while (m->base_at < base_count(m) || m->edit_at < m->dir->edit_count) {
		const struct layer_edit *edit =
			m->edit_at < m->dir->edit_count ? &m->dir->edits[m->edit_at] : NULL;
		struct tree_entry e = {0};
		int order = 1; /* of the base's entry to the edit's */

		if (m->base_at < base_count(m)) {
			tree_view_entry(m->dir->base, m->base_at, &e);
			order = edit ? tree_codec_compare(
					       e.name, e.name_len, edit->name, edit->name_len)
				     : -1;
		}
		if (order <= 0) {
			*ret_entry = from_base(m, &e);
			m->base_at++;
		}
		if (order < 0)
			return true;
		m->edit_at++;
		*ret_entry = from_edit(edit);
		if (edit->entry.mode)
			return true;
	}
	return false;
}

bool layer_tree_empty(const struct layer_dir *dir)
{
	struct merge m = {.dir = dir};
	struct tree_builder_entry e;

	return !next(&m, &e);
}

/* ---- as Git writes it ---- */

struct line {
	const char *name;
	uint8_t name_len;
	bool is_dir;
	const char *mode;
	struct oid oid;
};

static const char *git_mode(const struct tree_builder_entry *e)
{
	if (S_ISDIR(e->mode))
		return oid_is_none(&e->oid) ? "160000" : "40000";
	if (S_ISLNK(e->mode))
		return "120000";
	return e->mode & S_IXUSR ? "100755" : "100644";
}

static int by_git_order(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	size_t common = x->name_len < y->name_len ? x->name_len : y->name_len;
	int r = memcmp(x->name, y->name, common);
	uint8_t c, d;

	if (r)
		return r;
	c = x->name_len > common ? (uint8_t)x->name[common] : x->is_dir ? '/' : 0;
	d = y->name_len > common ? (uint8_t)y->name[common] : y->is_dir ? '/' : 0;
	return c < d ? -1 : c > d;
}

static struct line line_of(const struct tree_builder_entry *e, uint8_t oid_len)
{
	struct line line = {.name = e->name,
		.name_len = (uint8_t)e->name_len,
		.is_dir = S_ISDIR(e->mode) && !oid_is_none(&e->oid),
		.mode = git_mode(e),
		.oid = e->oid};

	line.oid.len = oid_len; /* zeros for a submodule */
	return line;
}

static int hash_lines(const struct line *lines, size_t count, uint8_t oid_len, struct oid *ret_id)
{
	enum digest_kind kind = oid_len == 20 ? DIGEST_SHA1 : DIGEST_SHA256;
	struct digest *d = NULL;
	struct oid id = {0};
	uint64_t size = 0;
	int r;

	for (size_t i = 0; i < count; i++)
		size += strlen(lines[i].mode) + 1 + lines[i].name_len + 1 + oid_len;
	r = digest_new_object(&d, kind, OBJECT_TREE, size);
	for (size_t i = 0; i < count && r == 0; i++) {
		r = digest_update(d, lines[i].mode, strlen(lines[i].mode));
		if (r == 0)
			r = digest_update(d, " ", 1);
		if (r == 0)
			r = digest_update(d, lines[i].name, lines[i].name_len);
		if (r == 0)
			r = digest_update(d, "", 1);
		if (r == 0)
			r = digest_update(d, lines[i].oid.bytes, oid_len);
	}
	if (r == 0)
		r = digest_final(d, id.bytes, &id.len);
	digest_free(d);
	if (r == 0)
		*ret_id = id;
	return r;
}

/* ---- both ---- */

static int collect(
	const struct layer_dir *dir, struct tree_builder *b, struct line *lines, size_t *ret_count)
{
	struct merge m = {.dir = dir};
	struct tree_builder_entry e;
	size_t count = 0;
	int r = 0;

	while (r == 0 && next(&m, &e)) {
		r = tree_builder_add(b, &e);
		lines[count++] = line_of(&e, dir->oid_len);
	}
	*ret_count = count;
	return r;
}

int layer_tree_build(const struct layer_dir *dir, struct tree_record *ret_record)
{
	size_t most = (dir->base ? dir->base->count : 0) + dir->edit_count, count = 0, len = 0;
	_cleanup_free_ struct line *lines = reallocarray(NULL, most ? most : 1, sizeof(*lines));
	struct tree_builder *b = tree_builder_new(dir->oid_len);
	struct tree_record record = {0};
	void *bytes = NULL;
	int r = lines && b ? 0 : -ENOMEM;

	if (r == 0)
		r = collect(dir, b, lines, &count);
	if (r == 0) {
		qsort(lines, count, sizeof(*lines), by_git_order);
		r = hash_lines(lines, count, dir->oid_len, &record.tree);
	}
	if (r == 0)
		r = tree_builder_finish(b, &bytes, &len);
	tree_builder_free(b);
	if (r == 0) {
		record.record = bytes;
		record.len = len;
		*ret_record = record;
	}
	return r;
}
