/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading trees and blobs of a local repository.
 *
 * libgit2 looks at the disk again when it does not find an object, so new commits and repacks are
 * seen. What it has open may still be out of date in ways that it does not notice (a pack that gc
 * removed, a new alternate); so an object that is missing or unreadable is asked for once more
 * through a fresh handle before that becomes the answer. Deadline and cancellation are looked at
 * between libgit2's calls: those on a local disk cannot be interrupted.
 */
#include "origin/origin_git_internal.h"

#include "base/cancel.h"
#include "origin/git_cat.h"
#include "origin/raw_tree.h"
#include "storage/tree.h"

#include <errno.h>
#include <sys/stat.h>

#define PIECE       (256u << 10)
#define STREAM_MIN  (4u << 20) /* a child is started for blobs larger than this */
#define CHECK_EVERY 64u        /* entries between two looks at the deadline */

static bool worth_another_try(int r)
{
	return r == -ENOENT || r == -EIO;
}

static int to_git_oid(const struct oid *oid, git_oid *ret_id)
{
	if (oid->len != GIT_OID_RAWSZ)
		return -EINVAL;
	memcpy(ret_id->id, oid->bytes, GIT_OID_RAWSZ);
	return 0;
}

/* A file's or symlink's size. A blob that the tree names and the repository lacks is damage: no
 * size is made up for it. */
static int entry_size(git_odb *odb, const struct oid *oid, uint64_t *ret_size)
{
	git_object_t type;
	git_oid id;
	size_t size;
	int r;

	r = to_git_oid(oid, &id);
	if (r < 0)
		return r;
	r = git_odb_read_header(&size, &type, odb, &id);
	if (r < 0) {
		r = gitrepo_errno(r);
		return r == -ENOENT ? -EIO : r;
	}
	*ret_size = size;
	return type == GIT_OBJECT_BLOB ? 0 : -EIO;
}

static int add_entry(struct gitrepo *g, git_odb *odb, const struct raw_tree_entry *raw,
	struct tree_builder *builder)
{
	struct tree_builder_entry entry = {
		.name = raw->name,
		.name_len = raw->name_len,
		.mode = raw->mode,
		.oid = raw->oid,
		.size_known = true,
	};
	int r;

	if (!S_ISDIR(raw->mode) &&
		!(g->known_size && g->known_size(g->known_arg, &raw->oid, &entry.size))) {
		r = entry_size(odb, &raw->oid, &entry.size);
		if (r < 0)
			return r;
	}
	return tree_builder_add(builder, &entry);
}

struct filling {
	struct gitrepo *g;
	struct gitrepo_handle *h;
	struct tree_builder *builder;
};

static int add_entries(
	const struct filling *to, const git_odb_object *object, const struct gitrepo_wait *wait)
{
	struct raw_tree raw = raw_tree_begin(git_odb_object_data((git_odb_object *)object),
		git_odb_object_size((git_odb_object *)object), GIT_OID_RAWSZ);
	struct raw_tree_entry entry;
	int r;

	for (unsigned i = 0; (r = raw_tree_next(&raw, &entry)) > 0; i++) {
		r = i % CHECK_EVERY ? 0 : cancel_check(wait->cancel, wait->deadline_ns);
		if (r == 0)
			r = add_entry(to->g, to->h->odb, &entry, to->builder);
		if (r < 0)
			return r;
	}
	return r;
}

static int read_object(struct gitrepo_handle *h, const struct oid *oid, git_object_t type,
	git_odb_object **ret_object)
{
	git_odb_object *object;
	git_oid id;
	int r;

	r = to_git_oid(oid, &id);
	if (r < 0)
		return r;
	r = loose_check(&h->loose, oid);
	if (r < 0)
		return r;
	r = git_odb_read(&object, h->odb, &id); /* verifies the hash */
	if (r < 0)
		return gitrepo_errno(r);
	if (git_odb_object_type(object) != type) {
		git_odb_object_free(object);
		return -EIO;
	}
	*ret_object = object;
	return 0;
}

bool gitrepo_has(struct gitrepo_handle *h, const struct oid *oid)
{
	git_oid id;

	return to_git_oid(oid, &id) == 0 &&
	       git_odb_exists_ext(h->odb, &id, GIT_ODB_LOOKUP_NO_REFRESH);
}

int gitrepo_walk_tree(
	struct gitrepo_handle *h, const struct oid *tree, gitrepo_entry_fn fn, void *arg)
{
	struct raw_tree_entry entry;
	git_odb_object *object;
	struct raw_tree raw;
	int r = read_object(h, tree, GIT_OBJECT_TREE, &object);

	if (r < 0)
		return r;
	raw = raw_tree_begin(
		git_odb_object_data(object), git_odb_object_size(object), GIT_OID_RAWSZ);
	while ((r = raw_tree_next(&raw, &entry)) > 0) {
		r = fn(arg, &entry);
		if (r < 0)
			break;
	}
	git_odb_object_free(object);
	return r;
}

int gitrepo_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitrepo *g = impl;

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		git_odb_object *object = NULL;
		int r;

		r = gitrepo_take(g, again, &wait, &h);
		if (r < 0)
			return r;
		r = read_object(h, tree, GIT_OBJECT_TREE, &object);
		if (r == 0)
			r = add_entries(&(struct filling){g, h, builder}, object, &wait);
		else if (worth_another_try(r) && !again) {
			gitrepo_give(g, h, true);
			continue;
		}
		git_odb_object_free(object);
		gitrepo_give(g, h, worth_another_try(r));
		return r;
	}
}

static int blob_header(struct gitrepo_handle *h, const struct oid *blob, uint64_t *ret_size)
{
	git_object_t type;
	git_oid id;
	size_t size;
	int r;

	r = to_git_oid(blob, &id);
	if (r < 0)
		return r;
	r = git_odb_read_header(&size, &type, h->odb, &id);
	if (r < 0)
		return gitrepo_errno(r);
	*ret_size = size;
	return type == GIT_OBJECT_BLOB ? 0 : -EIO;
}

/* The blob as one object in memory. libgit2 can stream loose objects, but its reader of a truncated
 * one never returns (1.5.1), so that is not used; instead the memory of all reads at once is
 * bounded. */
static int read_whole(struct gitrepo *g, struct gitrepo_handle *h, const struct git_cat *cat,
	struct gitrepo_loan *ret_loan)
{
	const struct gitrepo_wait wait = {cat->cancel, cat->deadline_ns};
	int r = gitrepo_borrow(g, cat->size, &wait, ret_loan);

	if (r < 0)
		return r;
	r = read_object(h, cat->blob, GIT_OBJECT_BLOB, &ret_loan->object);
	if (r < 0)
		gitrepo_pay_back(g, ret_loan);
	return r;
}

static int pass_on(
	const struct gitrepo_loan *loan, struct blob_sink *sink, const struct gitrepo_wait *wait)
{
	const uint8_t *data = git_odb_object_data(loan->object);
	size_t len = git_odb_object_size(loan->object);
	int r = sink->begin(sink, len);

	for (size_t at = 0; r == 0 && at < len; at += PIECE) {
		r = cancel_check(wait->cancel, wait->deadline_ns);
		if (r == 0)
			r = sink->write(sink, data + at, len - at < PIECE ? len - at : PIECE);
	}
	return r;
}

/* The blob's size, and the blob itself unless it is to be streamed: then -EFBIG. */
static int measure_and_read(struct gitrepo *g, struct gitrepo_handle *h, struct git_cat *cat,
	bool whole, struct gitrepo_loan *ret_loan)
{
	int r = blob_header(h, cat->blob, &cat->size);

	if (r == 0 && !whole && cat->size > STREAM_MIN)
		return -EFBIG;
	return r < 0 ? r : read_whole(g, h, cat, ret_loan);
}

static int read_small(
	struct gitrepo *g, struct git_cat *cat, bool whole, struct gitrepo_loan *ret_loan)
{
	const struct gitrepo_wait wait = {cat->cancel, cat->deadline_ns};

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		int r = gitrepo_take(g, again, &wait, &h);

		if (r < 0)
			return r;
		r = measure_and_read(g, h, cat, whole, ret_loan);
		gitrepo_give(g, h, worth_another_try(r));
		if (!worth_another_try(r) || again)
			return r;
	}
}

int gitrepo_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitrepo *g = impl;
	struct git_cat cat = {
		.git_dir = g->git_dir, .blob = blob, .cancel = cancel, .deadline_ns = deadline_ns};
	struct gitrepo_loan loan = {0};
	int r = read_small(g, &cat, false, &loan);

	if (r == -EFBIG) {
		r = git_cat(&cat, sink);
		if (r != -ENOSYS)
			return r;
		r = read_small(g, &cat, true, &loan); /* no git program here */
	}
	if (r < 0)
		return r;
	r = pass_on(&loan, sink, &wait);
	gitrepo_pay_back(g, &loan);
	return r;
}
