/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workspace's own Git objects, through libgit2: loose ones in <workspace>/git/objects, which is
 * outside what the job sees. There are no alternates: what the base has stays in the storage.
 *
 * Every object is charged to the workspace's quota by its size before compression, in whole blocks,
 * so that a tenant cannot fill the node through commits.
 */
#include "mount/mounts_internal.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <string.h>

#define BLOCK     4096u
#define WHOLE_MAX (1u << 20) /* larger files are streamed */
#define PIECE     (256u << 10)

_Static_assert((int)WF_COMMIT == (int)GIT_OBJECT_COMMIT && (int)WF_BLOB == (int)GIT_OBJECT_BLOB,
	"object types are libgit2's");

struct wf_odb {
	git_odb *db;
};

struct wf_odb *wf_odb_free(struct wf_odb *odb)
{
	if (odb)
		git_odb_free(odb->db);
	free(odb);
	return NULL;
}

int wf_odb_open(int dirfd, struct wf_odb **ret_odb)
{
	struct wf_odb *odb = calloc(1, sizeof(*odb));
	char path[64], real[4096];
	ssize_t len;

	if (!odb)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	len = readlink(path, real, sizeof(real) - sizeof("/objects"));
	if (len < 0) {
		free(odb);
		return -errno;
	}
	memcpy(real + len, "/objects", sizeof("/objects"));
	if (git_odb_open(&odb->db, real) < 0) {
		free(odb);
		return -EIO;
	}
	*ret_odb = odb;
	return 0;
}

static int to_git(const struct oid *oid, git_oid *ret_id)
{
	if (oid->len != GIT_OID_RAWSZ)
		return -EINVAL;
	memcpy(ret_id->id, oid->bytes, GIT_OID_RAWSZ);
	return 0;
}

/* libgit2 leaves the errno of the call that failed in its message only; errno itself may be that of
 * what it cleaned up afterwards. */
static bool failed_with(int number)
{
	const git_error *last = git_error_last();

	return errno == number ||
	       (last && last->message && strstr(last->message, strerrordesc_np(number)));
}

static int errno_of(int code)
{
	if (code == GIT_ENOTFOUND)
		return -ENOENT;
	if (failed_with(ENOSPC) || failed_with(EDQUOT))
		return -ENOSPC;
	return failed_with(ENOMEM) ? -ENOMEM : -EIO;
}

bool wf_odb_has(struct wf *w, const struct oid *oid)
{
	git_oid id;

	return w->odb && to_git(oid, &id) == 0 &&
	       git_odb_exists_ext(w->odb->db, &id, GIT_ODB_LOOKUP_NO_REFRESH) == 1;
}

int wf_odb_read(
	struct wf *w, const struct oid *oid, enum wf_object type, void **ret_data, size_t *ret_len)
{
	git_odb_object *object = NULL;
	git_oid id;
	size_t len;
	char *data;
	int r = -ENOENT;

	if (!wf_odb_has(w, oid) || to_git(oid, &id) < 0)
		return -ENOENT;
	errno = 0;
	r = git_odb_read(&object, w->odb->db, &id);
	if (r < 0)
		return errno_of(r);
	len = git_odb_object_size(object);
	data = (int)git_odb_object_type(object) == (int)type ? malloc(len + 1) : NULL;
	if (data) {
		memcpy(data, git_odb_object_data(object), len);
		data[len] = '\0';
		*ret_data = data;
		*ret_len = len;
		r = 0;
	} else {
		r = (int)git_odb_object_type(object) == (int)type ? -ENOMEM : -EIO;
	}
	git_odb_object_free(object);
	return r;
}

int wf_odb_size(struct wf *w, const struct oid *oid, uint64_t *ret_size)
{
	git_object_t type;
	git_oid id;
	size_t size;

	if (!wf_odb_has(w, oid) || to_git(oid, &id) < 0)
		return -ENOENT;
	if (git_odb_read_header(&size, &type, w->odb->db, &id) < 0)
		return -EIO;
	*ret_size = size;
	return 0;
}

int wf_odb_charge(struct wf *w, uint64_t size)
{
	uint64_t bytes = (size / BLOCK + 1) * BLOCK;
	int r = quota_charge(&w->use->mount->quota, QUOTA_BYTES, bytes);

	if (r == 0)
		w->added_bytes += bytes;
	return r;
}

void wf_odb_uncharge(struct wf *w, uint64_t size)
{
	uint64_t bytes = (size / BLOCK + 1) * BLOCK;

	quota_release(&w->use->mount->quota, QUOTA_BYTES, bytes);
	w->added_bytes -= bytes;
}

int wf_odb_put(struct wf_odb *odb, enum wf_object type, const void *data, size_t len)
{
	git_oid id;

	errno = 0;
	return git_odb_write(&id, odb->db, data ? data : "", len, (git_object_t)type) < 0
		       ? errno_of(GIT_ERROR)
		       : 0;
}

int wf_odb_write(
	struct wf *w, enum wf_object type, const void *data, size_t len, struct oid *ret_oid)
{
	git_oid id;
	struct oid oid;
	int r;

	if (git_odb_hash(&id, data, len, (git_object_t)type) < 0)
		return -EIO;
	oid = oid_from_bytes(id.id, GIT_OID_RAWSZ);
	if (!wf_odb_has(w, &oid)) {
		r = wf_odb_charge(w, len);
		if (r < 0)
			return r;
		errno = 0;
		r = git_odb_write(&id, w->odb->db, data, len, (git_object_t)type);
		if (r < 0) {
			r = errno_of(r);
			wf_odb_uncharge(w, len);
			return r;
		}
	}
	*ret_oid = oid;
	return 0;
}

/* Both ends of the file are looked at: it may be written meanwhile. */
int wf_read_exactly(int fd, size_t size, char *data)
{
	size_t at = 0;

	while (at <= size) {
		ssize_t n = pread(fd, data + at, size + 1 - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return at == size ? 0 : -ESTALE;
}

static int stream_pieces(struct wf *w, git_odb_stream *stream, int fd, uint64_t size)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	uint64_t at = 0;

	if (!piece)
		return -ENOMEM;
	while (at < size) {
		size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		ssize_t n = pread(fd, piece, want, (off_t)at);
		int r = wf_check(w);

		if (n < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return r;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		errno = 0;
		r = git_odb_stream_write(stream, piece, (size_t)n);
		if (r < 0)
			return errno_of(r);
		at += (uint64_t)n;
	}
	return pread(fd, piece, 1, (off_t)at) == 0 ? 0 : -ESTALE;
}

static int write_large(struct wf *w, int fd, uint64_t size, struct oid *ret_oid)
{
	git_odb_stream *stream = NULL;
	git_oid id;
	int r = wf_odb_charge(w, size);

	if (r < 0)
		return r;
	errno = 0;
	r = git_odb_open_wstream(&stream, w->odb->db, (git_object_size_t)size, GIT_OBJECT_BLOB);
	r = r < 0 ? errno_of(r) : stream_pieces(w, stream, fd, size);
	if (r == 0) {
		errno = 0;
		r = git_odb_stream_finalize_write(&id, stream);
		r = r < 0 ? errno_of(r) : 0;
	}
	git_odb_stream_free(stream);
	if (r < 0)
		wf_odb_uncharge(w, size);
	else
		*ret_oid = oid_from_bytes(id.id, GIT_OID_RAWSZ);
	return r;
}

int wf_odb_write_file(struct wf *w, int fd, uint64_t size, struct oid *ret_oid)
{
	_cleanup_free_ char *data = NULL;
	int r;

	if (size > WHOLE_MAX)
		return write_large(w, fd, size, ret_oid);
	data = malloc((size_t)size + 1);
	if (!data)
		return -ENOMEM;
	r = wf_read_exactly(fd, (size_t)size, data);
	return r < 0 ? r : wf_odb_write(w, WF_BLOB, data, (size_t)size, ret_oid);
}
