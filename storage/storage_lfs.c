// SPDX-License-Identifier: Apache-2.0
/*
 * Git LFS in the storage. An origin with LFS shows another size and content for a blob that is a
 * pointer, so its view of a tree is a second record, under the tree's id changed by a constant; the
 * names in it are those of Git. A content is a blob of its own, named by its SHA-256 (digest.h), so
 * all origins, tenants and nodes share it.
 *
 * Which blobs are pointers: any regular file whose size a pointer has (LFS_POINTER_MIN to _MAX) and
 * whose text is one, whatever .gitattributes say. They say what becomes a pointer on commit; a
 * checkout whose attributes were changed later would else show pointers.
 *
 * A symbolic link is never one; but a blob that is a pointer somewhere is one everywhere, also as
 * the target of a link, which no Git LFS writes.
 *
 * Threads: keys: any, no waiting. The rest: the lanes' fetch threads.
 */
#include "storage_lfs.h"

#include "base/cleanup.h"
#include "origin/lfs_pointer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_BYTES 32 /* of a content; trees and blobs of a repository with LFS have 20 */

struct oid storage_tree_key(const struct oid *tree, bool lfs)
{
	static const char mask[] = "git lfs: the sizes of contents: ";
	struct oid key = *tree;

	for (unsigned i = 0; lfs && i < key.len; i++)
		key.bytes[i] ^= (uint8_t)mask[i];
	return key;
}

struct oid storage_blob_key(struct storage *st, const struct oid *blob, bool lfs)
{
	struct tree_lfs pointer;

	if (!lfs || tree_lfs(st->index, blob, &pointer) < 0)
		return *blob;
	return oid_of_sha256(pointer.sha256);
}

static bool may_be_pointer(const struct tree_entry *e)
{
	return e->oid && S_ISREG(e->mode) && e->size_known && e->size >= LFS_POINTER_MIN &&
	       e->size <= LFS_POINTER_MAX;
}

/* The blobs of a directory that may be pointers and are not known to be; malloc'ed. */
static int collect(
	struct storage *st, const struct oid *tree, struct oid **ret_blobs, size_t *ret_count)
{
	struct tree_view view;
	struct oid *blobs;
	size_t n = 0;
	int r = tree_view_begin(st->index, tree, &view);

	if (r < 0)
		return r == -EAGAIN ? -EIO : r;
	blobs = calloc(view.count ? view.count : 1, sizeof(*blobs));
	for (uint32_t i = 0; blobs && i < view.count; i++) {
		struct tree_lfs known;
		struct tree_entry e;

		tree_view_entry(&view, i, &e);
		if (!may_be_pointer(&e))
			continue;
		blobs[n] = oid_from_bytes(e.oid, view.oid_len);
		if (tree_lfs(st->index, &blobs[n], &known) < 0)
			n++;
	}
	tree_view_end(&view);
	if (!blobs)
		return -ENOMEM;
	*ret_blobs = blobs;
	*ret_count = n;
	return 0;
}

/* A blob that is here now: if it is a pointer, that is written down. */
static int learn(struct storage *st, const struct oid *blob)
{
	char text[LFS_POINTER_MAX + 1];
	struct lfs_pointer pointer;
	struct tree_lfs fact;
	struct oid content;
	ssize_t n = blob_read(st->blobs, blob, text, sizeof(text), 0);
	int r;

	if (n < 0)
		return n == -EAGAIN ? -EIO : (int)n;
	if (!lfs_pointer_parse(text, (size_t)n, &pointer))
		return 0;
	fact.size = pointer.size;
	memcpy(fact.sha256, pointer.sha256, sizeof(fact.sha256));
	content = oid_of_sha256(pointer.sha256);
	/* the size first: who finds the pointer will ask for it */
	r = tree_put_blob_size(st->index, &content, pointer.size);
	return r == 0 ? tree_put_lfs(st->index, blob, &fact) : r;
}

static int learn_all(struct storage *st, struct origin *o, const struct oid *blobs, size_t count,
	const struct lfs_wait *wait)
{
	const struct blob_source source = origin_blob_source(o);
	int r = 0;

	/* optional: what did not come is fetched below */
	(void)origin_prepare_blobs(o, blobs, count, wait->cancel, wait->deadline_ns);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = blob_fetch(st->blobs, &blobs[i], &source, wait->cancel, wait->deadline_ns);
		if (r == 0)
			r = learn(st, &blobs[i]);
	}
	return r;
}

static int add_entry(
	struct storage *st, const struct tree_view *view, uint32_t i, struct tree_builder *b)
{
	struct tree_builder_entry entry = {0};
	struct tree_lfs pointer;
	struct tree_entry e;

	tree_view_entry(view, i, &e);
	entry.name = e.name;
	entry.name_len = e.name_len;
	entry.mode = e.mode;
	entry.size_known = e.size_known;
	entry.size = e.size;
	if (e.oid)
		entry.oid = oid_from_bytes(e.oid, view->oid_len);
	if (may_be_pointer(&e) && tree_lfs(st->index, &entry.oid, &pointer) == 0)
		entry.size = pointer.size;
	return tree_builder_add(b, &entry);
}

/* The record with the sizes of contents. */
static int build(struct storage *st, const struct oid *tree, void **ret_record, size_t *ret_len)
{
	struct tree_builder *b = tree_builder_new(tree->len);
	struct tree_view view;
	int r = b ? tree_view_begin(st->index, tree, &view) : -ENOMEM;

	if (r == 0) {
		for (uint32_t i = 0; r == 0 && i < view.count; i++)
			r = add_entry(st, &view, i, b);
		tree_view_end(&view);
	}
	if (r == 0)
		r = tree_builder_finish(b, ret_record, ret_len);
	tree_builder_free(b);
	return r == -EAGAIN ? -EIO : r;
}

int lfs_need_tree(
	struct storage *st, struct origin *o, const struct oid *tree, const struct lfs_wait *wait)
{
	struct oid key = storage_tree_key(tree, true);
	_cleanup_free_ struct oid *blobs = NULL;
	_cleanup_free_ void *record = NULL;
	struct tree_view view;
	size_t count, len;
	int r;

	if (tree_view_begin(st->index, &key, &view) == 0) {
		tree_view_end(&view);
		return 0;
	}
	r = collect(st, tree, &blobs, &count);
	if (r == 0)
		r = learn_all(st, o, blobs, count, wait);
	if (r == 0)
		r = build(st, tree, &record, &len);
	return r == 0 ? tree_put(st->index, &key, record, len) : r;
}

bool lfs_is_content(const struct origin *o, const struct oid *blob)
{
	return (origin_caps(o) & ORIGIN_CAP_LFS) && blob->len == KEY_BYTES;
}

void lfs_prepare(struct storage *st, struct origin *o, const struct oid *blobs, unsigned count,
	const struct lfs_wait *wait)
{
	_cleanup_free_ struct origin_lfs *contents = NULL;
	unsigned n = 0;

	if (!(origin_caps(o) & ORIGIN_CAP_LFS))
		return;
	contents = calloc(count ? count : 1, sizeof(*contents));
	for (unsigned i = 0; contents && i < count; i++) {
		if (!lfs_is_content(o, &blobs[i]) ||
			tree_blob_size(st->index, &blobs[i], &contents[n].size) < 0)
			continue;
		oid_to_sha256(&blobs[i], contents[n++].sha256);
	}
	if (n > 1)
		(void)origin_prepare_lfs(o, contents, n, wait->cancel, wait->deadline_ns);
}

int lfs_produce(struct storage *st, struct origin *o, const struct oid *content,
	struct blob_sink *sink, const struct lfs_wait *wait)
{
	struct origin_lfs lfs;
	int r = tree_blob_size(st->index, content, &lfs.size);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	oid_to_sha256(content, lfs.sha256);
	return origin_read_lfs(o, &lfs, sink, wait->cancel, wait->deadline_ns);
}
