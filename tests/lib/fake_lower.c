/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-memory lower. Paths are kept in a sorted list; sealing walks it once, depth first, and
 * packs each directory twice: with sizes, and without any. Objects are found by binary search over
 * a sorted table of oids.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/list.h"
#include "fake_lower.h"

struct path {
	char *name;
	uint32_t mode;
	void *data;
	size_t len;
	uint64_t told;  /* its size, as its directory says */
	struct oid oid; /* blob, or tree once sealed; none for a submodule */
};

struct object {
	struct oid oid;
	bool is_tree;
	const void *data; /* blob: of its path; tree: packed record with sizes */
	size_t len;
	void *bare; /* tree: record without sizes */
	size_t bare_len;
	_Atomic bool fetched, digested;
};

struct fake_lower {
	struct path *path;
	size_t path_count;
	struct object *object;
	size_t object_count;
	struct oid root;
	_Atomic bool no_trees, no_blobs, no_sizes;
	_Atomic int fetch_error;
	_Atomic unsigned handles;
	struct fake_lower_stats stats;
};

struct handle {
	struct lower lower;
	struct fake_lower *f;
};

static void *checked(void *p)
{
	assert_non_null(p);
	return p;
}

static struct oid content_oid(const void *data, size_t len, uint64_t kind)
{
	struct oid oid = {.len = 20};
	uint64_t part[3];

	for (uint64_t i = 0; i < 3; i++)
		part[i] = io_hash(data, len, (const uint64_t[2]){kind, i});
	memcpy(oid.bytes, part, oid.len);
	return oid;
}

struct fake_lower *fake_lower_new(void)
{
	return checked(calloc(1, sizeof(struct fake_lower)));
}

struct fake_lower *fake_lower_free(struct fake_lower *f)
{
	if (!f)
		return NULL;
	assert_int_equal(f->handles, 0);
	for (size_t i = 0; i < f->object_count; i++)
		if (f->object[i].is_tree) {
			free((void *)f->object[i].data);
			free(f->object[i].bare);
		}
	for (size_t i = 0; i < f->path_count; i++) {
		free(f->path[i].name);
		free(f->path[i].data);
	}
	free(f->object);
	free(f->path);
	free(f);
	return NULL;
}

static void grow_paths(struct fake_lower *f)
{
	/* powers of two: full whenever the count is one */
	if ((f->path_count & (f->path_count - 1)) == 0) {
		size_t cap = f->path_count ? f->path_count * 2 : 1;

		f->path = checked(realloc(f->path, cap * sizeof(*f->path)));
	}
}

void fake_lower_add(
	struct fake_lower *f, const char *path, uint32_t mode, const void *data, size_t len)
{
	struct path *p;

	assert_int_equal(f->object_count, 0);
	grow_paths(f);
	p = &f->path[f->path_count++];
	*p = (struct path){.name = checked(strdup(path)),
		.mode = mode,
		.len = len,
		.told = len,
		.data = checked(malloc(len + 1))};
	if (len && !S_ISDIR(mode))
		memcpy(p->data, data, len);
	if (!S_ISDIR(mode))
		p->oid = content_oid(p->data, len, 1);
}

void fake_lower_tell_size(struct fake_lower *f, uint64_t size)
{
	assert_true(f->path_count > 0);
	f->path[f->path_count - 1].told = size;
}

/* Like strcmp with '/' before everything, so that a directory's entries are neighbours. */
static int compare_paths(const void *va, const void *vb)
{
	const unsigned char *a = (const unsigned char *)((const struct path *)va)->name;
	const unsigned char *b = (const unsigned char *)((const struct path *)vb)->name;

	while (*a && *a == *b)
		a++, b++;
	return (*a == '/' ? 1 : *a << 1) - (*b == '/' ? 1 : *b << 1);
}

static int compare_objects(const void *va, const void *vb)
{
	return memcmp(
		((const struct object *)va)->oid.bytes, ((const struct object *)vb)->oid.bytes, 20);
}

static void add_object(struct fake_lower *f, const struct object *o)
{
	if ((f->object_count & (f->object_count - 1)) == 0) {
		size_t cap = f->object_count ? f->object_count * 2 : 1;

		f->object = checked(realloc(f->object, cap * sizeof(*f->object)));
	}
	memcpy(&f->object[f->object_count++], o, sizeof(*o));
}

struct packing {
	struct tree_builder *with_sizes, *bare;
};

static void pack_entry(struct packing *p, struct tree_builder_entry *entry)
{
	assert_int_equal(tree_builder_add(p->with_sizes, entry), 0);
	if (!S_ISDIR(entry->mode)) {
		entry->size_known = false;
		entry->size = 0;
	}
	assert_int_equal(tree_builder_add(p->bare, entry), 0);
}

static struct oid pack_finish(struct fake_lower *f, struct packing *p)
{
	struct object o = {.is_tree = true};
	void *record;

	assert_int_equal(tree_builder_finish(p->with_sizes, &record, &o.len), 0);
	assert_int_equal(tree_builder_finish(p->bare, &o.bare, &o.bare_len), 0);
	tree_builder_free(p->with_sizes);
	tree_builder_free(p->bare);
	o.data = record;
	o.oid = content_oid(record, o.len, 2);
	add_object(f, &o);
	return o.oid;
}

/* Packs the directory whose entries are path[*at ...] with the first `prefix` bytes in common.
 * Leaves *at behind them. */
static struct oid pack(struct fake_lower *f, size_t *at, size_t prefix)
{
	struct packing p = {checked(tree_builder_new(20)), checked(tree_builder_new(20))};
	const char *first = *at < f->path_count ? f->path[*at].name : "";

	while (*at < f->path_count && strncmp(f->path[*at].name, first, prefix) == 0) {
		struct path *entry = &f->path[*at];
		const char *name = entry->name + prefix;
		size_t len = strcspn(name, "/");
		struct tree_builder_entry e = {
			.name = name, .name_len = len, .mode = S_IFDIR | 0755, .size_known = true};

		if (name[len] == '/') {
			e.oid = pack(f, at, prefix + len + 1);
		} else {
			if (S_ISDIR(entry->mode) && !entry->len)
				entry->oid = pack_finish(
					f, &(struct packing){checked(tree_builder_new(20)),
						   checked(tree_builder_new(20))});
			e.mode = entry->mode;
			e.size = S_ISDIR(entry->mode) ? 0 : entry->told;
			e.oid = entry->oid;
			(*at)++;
		}
		pack_entry(&p, &e);
	}
	return pack_finish(f, &p);
}

struct oid fake_lower_seal(struct fake_lower *f)
{
	size_t at = 0, kept = 0;

	if (f->path) /* qsort takes no NULL */
		qsort(f->path, f->path_count, sizeof(*f->path), compare_paths);
	f->root = pack(f, &at, 0);
	for (size_t i = 0; i < f->path_count; i++)
		if (!S_ISDIR(f->path[i].mode))
			add_object(f, &(struct object){.oid = f->path[i].oid,
					      .data = f->path[i].data,
					      .len = f->path[i].len});
	qsort(f->object, f->object_count, sizeof(*f->object), compare_objects);
	for (size_t i = 0; i < f->object_count; i++) { /* equal content once */
		struct object *o = &f->object[i];

		if (kept && compare_objects(&f->object[kept - 1], o) == 0) {
			if (o->is_tree)
				free((void *)o->data);
			free(o->bare);
			continue;
		}
		memmove(&f->object[kept++], o, sizeof(*o));
	}
	f->object_count = kept;
	return f->root;
}

static struct object *find_object(const struct fake_lower *f, const struct oid *oid)
{
	struct object key = {.oid = *oid};

	if (oid->len != 20 || !f->object_count)
		return NULL;
	return bsearch(&key, f->object, f->object_count, sizeof(key), compare_objects);
}

struct oid fake_lower_oid(const struct fake_lower *f, const char *path)
{
	struct oid oid = f->root;

	while (*path) {
		size_t len = strcspn(path, "/");
		struct object *o = checked(find_object(f, &oid));
		struct tree_view view;
		struct tree_entry entry;
		uint32_t idx = 0;

		assert_true(o->is_tree);
		assert_int_equal(tree_view_over(o->data, o->len, &view), 0);
		assert_true(tree_view_find(&view, path, len, &idx));
		tree_view_entry(&view, idx, &entry);
		oid = entry.oid ? oid_from_bytes(entry.oid, view.oid_len) : (struct oid){0};
		path += len + (path[len] == '/');
	}
	return oid;
}

/* ---- what the overlay calls ---- */

static struct fake_lower *of(struct lower *l)
{
	return container_of(l, struct handle, lower)->f;
}

static int fake_tree(struct lower *l, const struct oid *tree, struct tree_view *ret_view)
{
	struct fake_lower *f = of(l);
	struct object *o = find_object(f, tree);
	bool fetched;

	f->stats.views++;
	if (!o || !o->is_tree)
		return -EIO;
	fetched = o->fetched;
	if (f->no_trees && !fetched)
		return -EAGAIN;
	if (f->no_sizes && !fetched)
		return tree_view_over(o->bare, o->bare_len, ret_view);
	return tree_view_over(o->data, o->len, ret_view);
}

static ssize_t fake_read(
	struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	struct fake_lower *f = of(l);
	struct object *o = find_object(f, blob);

	f->stats.reads++;
	if (!o || o->is_tree)
		return -EIO;
	if (f->no_blobs && !o->fetched)
		return -EAGAIN;
	if (offset >= o->len)
		return 0;
	if (len > o->len - offset)
		len = o->len - offset;
	memcpy(buf, (const char *)o->data + offset, len);
	return (ssize_t)len;
}

static int fake_copy(struct lower *l, const struct oid *blob, int out_fd, uint64_t len)
{
	struct fake_lower *f = of(l);
	struct object *o = find_object(f, blob);

	f->stats.copies++;
	if (!o || o->is_tree)
		return -EIO;
	if (f->no_blobs && !o->fetched)
		return -EAGAIN;
	return io_pwrite_full(out_fd, o->data, len < o->len ? len : o->len, 0);
}

static int fake_fetch(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
	uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct fake_lower *f = of(l);
	struct object *o = find_object(f, oid);
	int error = f->fetch_error;

	(void)deadline_ns; /* answered at once */
	f->stats.fetches++;
	assert_non_null(o);
	assert_int_equal(o->is_tree, kind == LOWER_NEED_TREE);
	if (!error)
		*(kind == LOWER_NEED_DIGESTS ? &o->digested : &o->fetched) = true;
	fn(arg, error);
	return 0;
}

static void fake_prefetch(struct lower *l, const struct oid *tree)
{
	assert_non_null(find_object(of(l), tree));
	of(l)->stats.prefetches++;
}

static ssize_t read_object(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct object *o = arg;

	if (offset >= o->len)
		return 0;
	if (len > o->len - offset)
		len = o->len - (size_t)offset;
	memcpy(buf, (const char *)o->data + offset, len);
	return (ssize_t)len;
}

/* Known once they were asked for. The oid is the fixture's, not Git's. */
static int fake_digests(struct lower *l, const struct oid *blob, struct content_digests *ret)
{
	struct object *o = find_object(of(l), blob);

	if (!o || o->is_tree)
		return -EIO;
	if (!o->digested)
		return -EAGAIN;
	assert_int_equal(content_digest(DIGEST_SHA1, o->len, read_object, o, ret), 0);
	ret->oid = *blob;
	return 0;
}

static void fake_free(struct lower *l)
{
	struct handle *h = container_of(l, struct handle, lower);

	h->f->handles--;
	free(h);
}

struct lower *fake_lower_open(struct fake_lower *f)
{
	static const struct lower_ops ops = {
		.tree = fake_tree,
		.read = fake_read,
		.copy = fake_copy,
		.fetch = fake_fetch,
		.prefetch = fake_prefetch,
		.digests = fake_digests,
		.free = fake_free,
	};
	struct handle *h = checked(calloc(1, sizeof(*h)));

	h->lower.ops = &ops;
	h->f = f;
	f->handles++;
	return &h->lower;
}

void fake_lower_set_missing(struct fake_lower *f, bool trees, bool blobs, bool sizes)
{
	f->no_trees = trees;
	f->no_blobs = blobs;
	f->no_sizes = sizes;
}

void fake_lower_set_fetch_error(struct fake_lower *f, int error)
{
	f->fetch_error = error;
}

const struct fake_lower_stats *fake_lower_stats(const struct fake_lower *f)
{
	return &f->stats;
}
