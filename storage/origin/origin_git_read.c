/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading trees and blobs of a local repository.
 *
 * libgit2 looks at the disk again when it does not find an object, so new commits and repacks are seen. What it has open may still be
 * out of date in ways that it does not notice (a pack that gc removed, a new alternate); so an object that is missing or unreadable
 * is asked for once more through a fresh handle before that becomes the answer.
 * Deadline and cancellation are looked at between libgit2's calls: those on a local disk cannot be interrupted.
 */
#include "origin/origin_git_internal.h"

#include "base/cancel.h"
#include "origin/raw_tree.h"
#include "storage/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define STREAM_FROM (1u << 20) /* below, one read is cheaper than a stream */
#define PIECE	    (256u << 10)
#define CHECK_EVERY 64u	       /* entries between two looks at the deadline */

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

/* A file's or symlink's size. A blob that the tree names and the repository lacks is damage: no size is made up for it. */
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

static int add_entry(git_odb *odb, const struct raw_tree_entry *raw, struct tree_builder *builder)
{
	struct tree_builder_entry entry = {
		.name = raw->name,
		.name_len = raw->name_len,
		.mode = raw->mode,
		.oid = raw->oid,
		.size_known = true,
	};
	int r;

	if (!S_ISDIR(raw->mode)) {
		r = entry_size(odb, &raw->oid, &entry.size);
		if (r < 0)
			return r;
	}
	return tree_builder_add(builder, &entry);
}

static int add_entries(git_odb *odb, const git_odb_object *object, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct raw_tree raw = raw_tree_begin(
		git_odb_object_data((git_odb_object *)object), git_odb_object_size((git_odb_object *)object),
		GIT_OID_RAWSZ);
	struct raw_tree_entry entry;
	int r;

	for (unsigned i = 0; (r = raw_tree_next(&raw, &entry)) > 0; i++) {
		r = i % CHECK_EVERY ? 0 : cancel_check(cancel, deadline_ns);
		if (r == 0)
			r = add_entry(odb, &entry, builder);
		if (r < 0)
			return r;
	}
	return r;
}

static int read_object(
	struct gitrepo_handle *h, const struct oid *oid, git_object_t type, git_odb_object **ret_object)
{
	git_odb_object *object;
	git_oid id;
	int r;

	r = to_git_oid(oid, &id);
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

int gitrepo_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct gitrepo *g = impl;

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		git_odb_object *object = NULL;
		int r;

		r = gitrepo_take(g, again, cancel, deadline_ns, &h);
		if (r < 0)
			return r;
		r = read_object(h, tree, GIT_OBJECT_TREE, &object);
		if (r == 0)
			r = add_entries(h->odb, object, builder, cancel, deadline_ns);
		else if (worth_another_try(r) && !again) {
			gitrepo_give(g, h, true);
			continue;
		}
		git_odb_object_free(object);
		gitrepo_give(g, h, worth_another_try(r));
		return r;
	}
}

static int pass_on(struct blob_sink *sink, const uint8_t *data, size_t len, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	for (size_t at = 0; at < len; at += PIECE) {
		int r = cancel_check(cancel, deadline_ns);

		if (r == 0)
			r = sink->write(sink, data + at, len - at < PIECE ? len - at : PIECE);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A blob as a whole in memory; *ret_begun: the sink has seen something of it. */
static int read_whole(struct gitrepo_handle *h, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	git_odb_object *object;
	size_t len;
	int r;

	r = read_object(h, blob, GIT_OBJECT_BLOB, &object);
	if (r < 0)
		return r;
	len = git_odb_object_size(object);
	r = sink->begin(sink, len);
	if (r == 0)
		r = pass_on(sink, git_odb_object_data(object), len, cancel, deadline_ns);
	git_odb_object_free(object);
	return r;
}

static int pump(git_odb_stream *stream, size_t len, struct blob_sink *sink, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	uint8_t *piece = malloc(PIECE);
	size_t done = 0;
	int r = piece ? sink->begin(sink, len) : -ENOMEM;

	while (r == 0 && done < len) {
		int n;

		r = cancel_check(cancel, deadline_ns);
		if (r < 0)
			break;
		n = git_odb_stream_read(stream, (char *)piece, PIECE);
		if (n <= 0 || (size_t)n > len - done) {
			r = -EIO; /* damaged, or not as long as it says */
			break;
		}
		r = sink->write(sink, piece, (size_t)n);
		done += (size_t)n;
	}
	free(piece);
	return r;
}

/* Piece by piece, where libgit2 can (loose objects). False: it cannot, nothing has happened. */
static bool read_streaming(struct gitrepo_handle *h, const git_oid *id, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns, int *ret_result)
{
	git_odb_stream *stream = NULL;
	git_object_t type;
	size_t len;

	if (git_odb_open_rstream(&stream, &len, &type, h->odb, id) < 0 || !stream)
		return false;
	if (type == GIT_OBJECT_BLOB)
		*ret_result = pump(stream, len, sink, cancel, deadline_ns);
	else
		*ret_result = -EIO;
	git_odb_stream_free(stream);
	return true;
}

/* A sink that tells whether it was touched: only before that may a read be tried again. */
struct noting_sink {
	struct blob_sink sink; /* first: the sink is this */
	struct blob_sink *to;
	bool begun;
};

static int noting_begin(struct blob_sink *s, uint64_t size)
{
	struct noting_sink *noting = (struct noting_sink *)s;

	noting->begun = true;
	return noting->to->begin(noting->to, size);
}

static int noting_write(struct blob_sink *s, const void *data, size_t len)
{
	struct noting_sink *noting = (struct noting_sink *)s;

	return noting->to->write(noting->to, data, len);
}

static int read_once(struct gitrepo_handle *h, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
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
	if (size >= STREAM_FROM && read_streaming(h, &id, sink, cancel, deadline_ns, &r))
		return r;
	return read_whole(h, blob, sink, cancel, deadline_ns);
}

int gitrepo_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct gitrepo *g = impl;
	struct noting_sink noting = {.sink = {.begin = noting_begin, .write = noting_write}, .to = sink};

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		bool doubtful;
		int r;

		r = gitrepo_take(g, again, cancel, deadline_ns, &h);
		if (r < 0)
			return r;
		r = read_once(h, blob, &noting.sink, cancel, deadline_ns);
		doubtful = worth_another_try(r);
		gitrepo_give(g, h, doubtful);
		if (!doubtful || again || noting.begun)
			return r;
	}
}
