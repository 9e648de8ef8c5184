/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tree and commit objects of a local repository as they are. As in origin_git_read.c, what is
 * missing is asked for once more through a fresh handle. Threads: any that may block.
 */
#include "origin/origin_git_internal.h"

#include <errno.h>
#include <stdlib.h>

static int copy_object(git_odb_object *object, git_object_t type, void **ret_data, size_t *ret_len)
{
	size_t len = git_odb_object_size(object);
	char *data;

	if (git_odb_object_type(object) != type)
		return -EIO;
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	memcpy(data, git_odb_object_data(object), len);
	data[len] = '\0';
	*ret_data = data;
	*ret_len = len;
	return 0;
}

static int read_raw(struct gitrepo_handle *h, const struct origin_raw_request *rq, void **ret_data,
	size_t *ret_len)
{
	git_object_t type = rq->kind == OBJECT_TREE ? GIT_OBJECT_TREE : GIT_OBJECT_COMMIT;
	git_odb_object *object;
	git_oid id;
	int r;

	if (rq->oid.len != GIT_OID_RAWSZ || rq->kind == OBJECT_BLOB)
		return -EINVAL;
	memcpy(id.id, rq->oid.bytes, GIT_OID_RAWSZ);
	r = loose_check(&h->loose, &rq->oid);
	if (r < 0)
		return r;
	r = git_odb_read(&object, h->odb, &id); /* verifies the hash */
	if (r < 0)
		return gitrepo_errno(r);
	r = copy_object(object, type, ret_data, ret_len);
	git_odb_object_free(object);
	return r;
}

int gitrepo_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len)
{
	const struct gitrepo_wait wait = {rq->cancel, rq->deadline_ns};
	struct gitrepo *g = impl;

	for (bool again = false;; again = true) {
		struct gitrepo_handle *h;
		int r = gitrepo_take(g, again, &wait, &h);
		bool doubtful;

		if (r < 0)
			return r;
		r = read_raw(h, rq, ret_data, ret_len);
		doubtful = r == -ENOENT || r == -EIO;
		gitrepo_give(g, h, doubtful);
		if (!doubtful || again)
			return r;
	}
}
